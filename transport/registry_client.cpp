#include "transport/registry_client.hpp"

#include "transport/blob_reader.hpp"
#include "transport/registry_error.hpp"
#include "transport/resolved_manifest.hpp"

#include <algorithm>

namespace lazypull {

namespace {

// The last one is for registries that refuse to serve what they are not asked for by name.
constexpr std::string_view accepted_manifests =
    "application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*";

HttpFields blob_fields(const Descriptor& descriptor, std::uint64_t offset) {
  HttpFields fields;
  const bool known = !descriptor.media_type.empty();
  fields.add("Accept", known ? descriptor.media_type + ", */*" : "*/*");
  // Ranges and sizes are of the blob itself, and its digest too.
  fields.add("Accept-Encoding", "identity");
  if (offset > 0) fields.add("Range", "bytes=" + std::to_string(offset) + "-");
  return fields;
}

Awaitable<std::unique_ptr<BlobReader>> read_response(RegistryResponse response, const Descriptor& descriptor,
                                                     std::uint64_t offset) {
  const int status = response.http->status();
  if (status != 200 && status != 206 && status != 416) {
    const auto failure = co_await failure_of(*response.http, response.what);
    throw failure;
  }
  try {
    const auto plan = plan_body(response.http->head(), descriptor.size, offset);
    co_return make_blob_reader(std::move(response), plan);
  } catch (const Error& error) {
    throw error.with_context(response.what);
  }
}

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
    : options_(std::move(options)),
      transport_(std::move(home), options_.http, options_.retry, options_.max_redirects) {}

Awaitable<RegistryCall> RegistryClient::make_call(const Reference& reference, const std::string& method,
                                                  const std::string& path) {
  RegistryCall call(method,
                    Url(registry_origin(reference, options_), "/v2/" + reference.repository() + path));
  call.repository = reference.repository();
  if (options_.user) {
    call.credentials = *options_.user;
  } else if (options_.credentials) {
    call.credentials = co_await options_.credentials->find(reference.domain(), reference.repository());
  }
  co_return call;
}

Awaitable<Descriptor> RegistryClient::resolve(const Reference& reference) {
  auto call = co_await make_call(reference, "HEAD", "/manifests/" + reference.object());
  call.fields.add("Accept", std::string(accepted_manifests));
  const auto response = co_await transport_.send(std::move(call));
  const int status = response.http->status();
  if (status != 200 && !worth_a_get(status)) {
    const auto failure = co_await failure_of(*response.http, response.what);
    throw failure;
  }
  if (status == 200) {
    try {
      auto described = descriptor_of_head(response.http->head(), reference, options_.manifest_limit);
      if (described) co_return std::move(*described);
    } catch (const Error& error) {
      throw error.with_context(response.what);
    }
  }
  auto descriptor = co_await resolve_by_get(reference);
  co_return descriptor;
}

Awaitable<Descriptor> RegistryClient::resolve_by_get(const Reference& reference) {
  auto call = co_await make_call(reference, "GET", "/manifests/" + reference.object());
  call.fields.add("Accept", std::string(accepted_manifests));
  call.fields.add("Accept-Encoding", "identity");
  const auto response = co_await transport_.send(std::move(call));
  if (response.http->status() != 200) {
    const auto failure = co_await failure_of(*response.http, response.what);
    throw failure;
  }
  const auto announced = response.http->head().content_length().value_or(0);
  if (announced > options_.manifest_limit) {
    throw manifest_too_large(announced, options_.manifest_limit).with_context(response.what);
  }
  const auto body = co_await response.http->read_all(static_cast<std::size_t>(options_.manifest_limit));
  try {
    co_return descriptor_of_body(response.http->head(), body, reference);
  } catch (const Error& error) {
    throw error.with_context(response.what);
  }
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
  const bool manifest =
      media_type::is_manifest(descriptor.media_type) || media_type::is_index(descriptor.media_type);
  const std::string path = (manifest ? "/manifests/" : "/blobs/") + descriptor.digest.str();
  auto call = co_await make_call(repository, "GET", path);
  call.fields = blob_fields(descriptor, offset);
  try {
    auto response = co_await transport_.send(std::move(call));
    auto reader = co_await read_response(std::move(response), descriptor, offset);
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
      auto response = co_await transport_.send_anonymously(std::move(call));
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
