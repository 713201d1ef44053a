#include "transport/registry_client.hpp"

#include "engine/retry_budget.hpp"
#include "transport/blob_reader.hpp"
#include "transport/failover_reader.hpp"
#include "transport/host_blob.hpp"
#include "transport/registry_error.hpp"
#include "transport/resolved_manifest.hpp"

#include <algorithm>
#include <chrono>

namespace lazypull {

namespace {

// The last one is for registries that refuse to serve what they are not asked for by name.
constexpr std::string_view accepted_manifests =
    "application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*";

constexpr int max_broken_answers = 3;

// Refusals after which GET may do better, or at least tell why.
bool worth_a_get(int status) {
  return status >= 400 && status < 500 && status != 404 && status != 408 && status != 429;
}

}  // namespace

Origin registry_origin(const Reference& reference, const RegistryOptions& options) {
  const auto host = reference.api_host();
  auto origin = parse_origin(false, host);
  const bool local = is_loopback_host(host) && origin.port != 443 && !options.http.tls.any();
  return options.plain_http || local ? origin : parse_origin(true, host);
}

RegistryClient::RegistryClient(asio::any_io_executor home, RegistryOptions options)
    : core_(std::make_shared<RegistryCore>(std::move(home), std::move(options))) {}

RegistryClient RegistryClient::with_budget(std::shared_ptr<RetryBudget> budget) const {
  auto client = *this;
  client.budget_ = std::move(budget);
  return client;
}

void RegistryClient::reload() {
  core_->hosts.reload();
}

std::size_t RegistryClient::distrusted() const noexcept {
  return core_->health.distrusted();
}

std::size_t RegistryClient::broken_hosts() const noexcept {
  return core_->health.broken(std::chrono::steady_clock::now());
}

Awaitable<Descriptor> RegistryClient::resolve(const Reference& reference) {
  // A mirror may be trusted with what a digest says and yet not with what a tag means.
  const auto need = reference.digest() ? HostNeed::pull : HostNeed::resolve;
  HostTrial trial(core_->hosts.of(reference), need, core_->health, reference.name(), reference.digest());
  while (const auto* host = trial.next()) {
    std::exception_ptr failure;
    try {
      auto descriptor = co_await resolve_at(*host, trial.is_last(), reference);
      trial.succeeded();
      co_return descriptor;
    } catch (...) {
      failure = std::current_exception();
    }
    trial.failed(failure);
  }
  trial.give_up();
}

Awaitable<Descriptor> RegistryClient::resolve_at(RegistryHost host, bool is_last, Reference reference) {
  // Only a body shows that a mirror tells the truth about size and digest: a lie would fail the pull at every
  // other host. A registry is asked by HEAD, which does not count against limits of pulls.
  if (!host.upstream) {
    auto verified = co_await resolve_by_get(std::move(host), is_last, std::move(reference));
    co_return verified;
  }
  auto call = co_await core_->make_call(host, reference, "HEAD", "/manifests/" + reference.object(), is_last);
  call.budget = budget_;
  call.fields.add("Accept", std::string(accepted_manifests));
  auto response = co_await core_->transport.send(std::move(call));
  const int status = response.http->status();
  if (status != 200 && !worth_a_get(status)) {
    const auto failure = co_await failure_of(*response.http, response.what);
    throw failure;
  }
  if (status == 200) {
    try {
      auto described = descriptor_of_head(response.http->head(), reference, core_->options.manifest_limit);
      if (described) co_return std::move(*described);
    } catch (const Error& error) {
      throw error.with_context(response.what);
    }
  }
  response.http.reset();
  auto descriptor = co_await resolve_by_get(std::move(host), is_last, std::move(reference));
  co_return descriptor;
}

Awaitable<Descriptor> RegistryClient::resolve_by_get(RegistryHost host, bool is_last, Reference reference) {
  std::string body;
  for (int tries = 1;; ++tries) {
    const auto response = co_await get_manifest(host, is_last, reference);
    std::exception_ptr failure;
    try {
      body = co_await response.http->read_all(static_cast<std::size_t>(core_->options.manifest_limit));
    } catch (...) {
      failure = std::current_exception();
    }
    if (failure) {
      const bool again = is_last && response.http->broke_off() && tries < max_broken_answers;
      if (!again || (budget_ && !budget_->take())) std::rethrow_exception(failure);
      continue;
    }
    try {
      co_return descriptor_of_body(response.http->head(), body, reference);
    } catch (const Error& error) {
      throw error.with_context(response.what);
    }
  }
}

Awaitable<RegistryResponse> RegistryClient::get_manifest(RegistryHost host, bool is_last,
                                                         Reference reference) {
  const auto limit = core_->options.manifest_limit;
  auto call = co_await core_->make_call(std::move(host), reference, "GET", "/manifests/" + reference.object(),
                                        is_last);
  call.budget = budget_;
  call.fields.add("Accept", std::string(accepted_manifests));
  call.fields.add("Accept-Encoding", "identity");
  auto response = co_await core_->transport.send(std::move(call));
  if (response.http->status() != 200) {
    const auto failure = co_await failure_of(*response.http, response.what);
    throw failure;
  }
  const auto announced = response.http->head().content_length().value_or(0);
  if (announced > limit) throw manifest_too_large(announced, limit).with_context(response.what);
  co_return response;
}

Awaitable<std::unique_ptr<BlobReader>> RegistryClient::open(const Reference& repository,
                                                            const Descriptor& descriptor,
                                                            std::uint64_t offset) {
  if (offset > descriptor.size) {
    throw Error(Errc::invalid_argument, "open " + descriptor.digest.str() + ": offset " +
                                            std::to_string(offset) + " is beyond its " +
                                            std::to_string(descriptor.size) + " bytes");
  }
  if (descriptor.data && descriptor.data->size() == descriptor.size) {
    co_return make_inline_reader(*descriptor.data, offset);
  }
  if (offset == descriptor.size) co_return make_inline_reader({}, 0);
  std::string foreign_failures;
  if (media_type::is_foreign_layer(descriptor.media_type)) {
    auto reader = co_await open_foreign(descriptor, offset, foreign_failures);
    if (reader) co_return reader;
  }
  try {
    RemoteBlob blob(core_, repository, descriptor, budget_);
    auto reader = co_await open_at_hosts(std::move(blob), offset);
    co_return reader;
  } catch (const Error& error) {
    if (foreign_failures.empty() || error.code() == Errc::cancelled) throw;
    throw Error(error.code(), error.message() + "; before that" + foreign_failures);
  }
}

// Null where none of the URLs has it. They come from the image's author, so they get no credentials.
Awaitable<std::unique_ptr<BlobReader>> RegistryClient::open_foreign(const Descriptor& descriptor,
                                                                    std::uint64_t offset,
                                                                    std::string& failures) {
  constexpr std::size_t max_urls = 8;
  for (std::size_t i = 0; i < std::min(descriptor.urls.size(), max_urls); ++i) {
    try {
      RegistryCall call("GET", Url::parse(descriptor.urls[i]));
      call.fields = blob_fields(descriptor, offset);
      call.budget = budget_;
      if (core_->options.tracer) call.trace = core_->options.tracer->taker_of(descriptor.digest.str(), {});
      auto response = co_await core_->transport.send_anonymously(std::move(call));
      auto reader = co_await read_response(std::move(response), descriptor, offset);
      co_return reader;
    } catch (const Error& error) {
      if (error.code() == Errc::cancelled) throw;
      failures += (failures.empty() ? ": " : "; ") + error.message();
    }
  }
  co_return nullptr;
}

}  // namespace lazypull
