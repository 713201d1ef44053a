#include "transport/containerd/leases.hpp"

#include "engine/deadline.hpp"
#include "engine/labels.hpp"
#include "transport/containerd/steady_call.hpp"

#include <containerd/services/leases.grpc.pb.h>

#include <ctime>
#include <exception>
#include <map>
#include <random>
#include <vector>

namespace lazypull {

namespace {

namespace api = ::containerd::services::leases::v1;
using Clock = std::chrono::steady_clock;
using Async = api::Leases::StubInterface::async_interface;

// Like containerd's own: the nanosecond of the second and four characters that no URL must escape.
std::string random_id() {
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
  const auto nanoseconds =
      std::chrono::duration_cast<std::chrono::nanoseconds>(since_epoch).count() % 1'000'000'000;
  std::random_device device;
  std::uniform_int_distribution<std::size_t> choose(0, alphabet.size() - 1);
  std::string id = std::to_string(nanoseconds) + '-';
  for (int i = 0; i < 4; ++i) id += alphabet[choose(device)];
  return id;
}

}  // namespace

std::string rfc3339_seconds(std::chrono::system_clock::time_point time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  std::string text(sizeof "0000-00-00T00:00:00Z" + 8, '\0');
  text.resize(std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc));
  return text;
}

struct ContainerdLeases::Impl {
  ContainerdClient client;
  std::unique_ptr<api::Leases::Stub> stub;
  /// What could not be removed, such as while containerd was being restarted, or may have been made after its
  /// removal, and when to try again.
  std::map<std::string, Clock::time_point> left_over = {};
};

ContainerdLeases::ContainerdLeases(ContainerdClient client) {
  auto stub = api::Leases::NewStub(client.channel());
  impl_ = std::make_unique<Impl>(Impl{std::move(client), std::move(stub)});
}
ContainerdLeases::~ContainerdLeases() = default;

Awaitable<> ContainerdLeases::remove_left_over() {
  std::vector<std::string> due;
  for (const auto& [lease, time] : impl_->left_over) {
    if (time <= Clock::now()) due.push_back(lease);
  }
  for (const auto& lease : due) {
    try {
      co_await remove(lease, false);
    } catch (const Error&) {
      continue;
    }
    impl_->left_over.erase(lease);
  }
}

void ContainerdLeases::keep_for_later(const std::string& lease, std::chrono::milliseconds pause) {
  // They expire by themselves, but a process that goes on for long need not wait for that.
  constexpr std::size_t most = 10'000;
  if (impl_->left_over.size() < most) impl_->left_over.insert_or_assign(lease, Clock::now() + pause);
}

Awaitable<std::string> ContainerdLeases::create(std::chrono::seconds lifetime) {
  co_await remove_left_over();
  api::CreateRequest request;
  request.set_id(random_id());
  (*request.mutable_labels())[std::string(label::gc_expire)] =
      rfc3339_seconds(std::chrono::system_clock::now() + lifetime);
  const CallOptions options = impl_->client.call("Leases/Create " + request.id());
  std::exception_ptr failure;
  try {
    const auto reply =
        co_await steady_call(impl_->client, impl_->stub->async(), &Async::Create, request, options);
    // The id is ours alone, so what is there already is what a lost try has made.
    const bool made = reply.repeated && reply.status.error_code() == grpc::StatusCode::ALREADY_EXISTS;
    if (!made) require_ok(reply.status, options.name);
    co_return request.id();
  } catch (...) {
    failure = std::current_exception();
  }
  // A call that was cancelled or timed out may have made the lease all the same, or will until its deadline,
  // after the removal.
  auto removal = remove(request.id(), false);
  co_await asio::this_coro::throw_if_cancelled(false);
  co_await run_cleanup(std::move(removal), std::chrono::milliseconds(500), "remove lease");
  co_await asio::this_coro::throw_if_cancelled(true);
  keep_for_later(request.id(), impl_->client.deadlines().call);
  std::rethrow_exception(failure);
}

Awaitable<void> ContainerdLeases::add(const std::string& lease, const LeasedResource& resource) {
  api::AddResourceRequest request;
  request.set_id(lease);
  request.mutable_resource()->set_id(resource.id);
  request.mutable_resource()->set_type(resource.type);
  const CallOptions options =
      impl_->client.call("Leases/AddResource " + lease + ' ' + resource.type + ' ' + resource.id);
  const auto reply =
      co_await steady_call(impl_->client, impl_->stub->async(), &Async::AddResource, request, options);
  require_ok(reply.status, options.name);
}

Awaitable<void> ContainerdLeases::remove(const std::string& lease, bool synchronous) {
  api::DeleteRequest request;
  request.set_id(lease);
  request.set_sync(synchronous);
  const auto& deadlines = impl_->client.deadlines();
  const CallOptions options =
      impl_->client.call("Leases/Delete " + lease, synchronous ? deadlines.collect : deadlines.call);
  try {
    const auto reply =
        co_await steady_call(impl_->client, impl_->stub->async(), &Async::Delete, request, options);
    if (reply.status.error_code() == grpc::StatusCode::NOT_FOUND) co_return;
    require_ok(reply.status, options.name);
  } catch (...) {
    keep_for_later(lease, std::chrono::seconds(1));
    throw;
  }
}

Awaitable<std::vector<std::string>> ContainerdLeases::list() {
  const CallOptions options = impl_->client.call("Leases/List");
  const auto reply =
      co_await steady_call(impl_->client, impl_->stub->async(), &Async::List, api::ListRequest(), options);
  require_ok(reply.status, options.name);
  std::vector<std::string> ids;
  for (const auto& lease : reply.message.leases()) ids.push_back(lease.id());
  co_return ids;
}

}  // namespace lazypull
