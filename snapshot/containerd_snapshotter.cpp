#include "snapshot/containerd_snapshotter.hpp"

#include "snapshot/mounts.hpp"
#include "transport/containerd/convert.hpp"
#include "transport/containerd/steady_call.hpp"
#include "transport/grpc_stream.hpp"

#include <containerd/services/snapshots.grpc.pb.h>

namespace lazypull {

namespace {

namespace api = ::containerd::services::snapshots::v1;
using Async = api::Snapshots::StubInterface::async_interface;

SnapshotKind kind_of(api::Kind kind) {
  switch (kind) {
    case api::VIEW:
      return SnapshotKind::view;
    case api::ACTIVE:
      return SnapshotKind::active;
    case api::COMMITTED:
      return SnapshotKind::committed;
    default:
      return SnapshotKind::unknown;
  }
}

SnapshotInfo info_of(const api::Info& message) {
  SnapshotInfo info;
  info.name = message.name();
  info.parent = message.parent();
  info.kind = kind_of(message.kind());
  info.labels = labels_of(message.labels());
  return info;
}

}  // namespace

struct ContainerdSnapshotter::Impl {
  template <class Request, class Response>
  Awaitable<SteadyReply<Response>> call(void (Async::*method)(grpc::ClientContext*, const Request*, Response*,
                                                              std::function<void(grpc::Status)>),
                                        const std::type_identity_t<Request>& request,
                                        const CallOptions& options) {
    return steady_call(contact, client.deadlines().reconnect, stub->async(), method, request, options);
  }
  Awaitable<std::vector<Mount>> mounts(const std::string& key);

  ContainerdClient client;
  std::unique_ptr<api::Snapshots::Stub> stub;
  std::string name;
  // A proxy snapshotter is a daemon of its own.
  std::shared_ptr<DaemonContact> contact = std::make_shared<DaemonContact>();
};

Awaitable<std::vector<Mount>> ContainerdSnapshotter::Impl::mounts(const std::string& key) {
  api::MountsRequest request;
  request.set_snapshotter(name);
  request.set_key(key);
  const CallOptions options = client.call("Snapshots/Mounts " + key, client.deadlines().snapshot);
  const auto reply = co_await call(&Async::Mounts, request, options);
  require_ok(reply.status, options.name);
  co_return mounts_of(reply.message.mounts());
}

ContainerdSnapshotter::ContainerdSnapshotter(ContainerdClient client, std::string name) {
  auto stub = api::Snapshots::NewStub(client.channel());
  impl_ = std::make_unique<Impl>(
      Impl{.client = std::move(client), .stub = std::move(stub), .name = std::move(name)});
}
ContainerdSnapshotter::~ContainerdSnapshotter() = default;

const std::string& ContainerdSnapshotter::name() const noexcept {
  return impl_->name;
}

Awaitable<std::optional<SnapshotInfo>> ContainerdSnapshotter::stat(const std::string& key) {
  api::StatSnapshotRequest request;
  request.set_snapshotter(impl_->name);
  request.set_key(key);
  const CallOptions options = impl_->client.call("Snapshots/Stat " + key);
  const auto reply = co_await impl_->call(&Async::Stat, request, options);
  std::optional<SnapshotInfo> found;
  if (reply.status.error_code() == grpc::StatusCode::NOT_FOUND) co_return found;
  require_ok(reply.status, options.name);
  found = info_of(reply.message.info());
  co_return found;
}

Awaitable<PrepareOutcome> ContainerdSnapshotter::prepare(const std::string& key, const std::string& parent,
                                                         const Labels& labels) {
  api::PrepareSnapshotRequest request;
  request.set_snapshotter(impl_->name);
  request.set_key(key);
  request.set_parent(parent);
  set_labels(*request.mutable_labels(), labels);
  const CallOptions options =
      impl_->client.call("Snapshots/Prepare " + key, impl_->client.deadlines().snapshot);
  const auto reply = co_await impl_->call(&Async::Prepare, request, options);
  PrepareOutcome outcome;
  outcome.already_exists = reply.status.error_code() == grpc::StatusCode::ALREADY_EXISTS;
  if (outcome.already_exists && reply.repeated) {
    // Keys are of one use: what has this one was made by a try whose answer was lost.
    const auto own = co_await stat(key);
    if (own && own->kind == SnapshotKind::active) {
      outcome.already_exists = false;
      outcome.mounts = co_await impl_->mounts(key);
      co_return outcome;
    }
  }
  if (outcome.already_exists) co_return outcome;
  require_ok(reply.status, options.name);
  outcome.mounts = mounts_of(reply.message.mounts());
  co_return outcome;
}

Awaitable<CommitOutcome> ContainerdSnapshotter::commit(const std::string& name, const std::string& key,
                                                       const Labels& labels) {
  api::CommitSnapshotRequest request;
  request.set_snapshotter(impl_->name);
  request.set_name(name);
  request.set_key(key);
  set_labels(*request.mutable_labels(), labels);
  const CallOptions options =
      impl_->client.call("Snapshots/Commit " + name + " from " + key, impl_->client.deadlines().snapshot);
  const auto reply = co_await impl_->call(&Async::Commit, request, options);
  if (reply.status.error_code() == grpc::StatusCode::ALREADY_EXISTS) co_return CommitOutcome::already_exists;
  if (reply.repeated && reply.status.error_code() == grpc::StatusCode::NOT_FOUND) {
    // The key may be gone because a try whose answer was lost has committed it.
    const auto made = co_await stat(name);
    if (made && made->kind == SnapshotKind::committed) co_return CommitOutcome::committed;
  }
  require_ok(reply.status, options.name);
  co_return CommitOutcome::committed;
}

Awaitable<void> ContainerdSnapshotter::remove(const std::string& key) {
  api::RemoveSnapshotRequest request;
  request.set_snapshotter(impl_->name);
  request.set_key(key);
  const CallOptions options =
      impl_->client.call("Snapshots/Remove " + key, impl_->client.deadlines().snapshot);
  const auto reply = co_await impl_->call(&Async::Remove, request, options);
  if (reply.status.error_code() == grpc::StatusCode::NOT_FOUND) co_return;
  require_ok(reply.status, options.name);
}

Awaitable<std::vector<SnapshotInfo>> ContainerdSnapshotter::list(const std::vector<std::string>& filters) {
  api::ListSnapshotsRequest request;
  request.set_snapshotter(impl_->name);
  request.mutable_filters()->Add(filters.begin(), filters.end());
  const CallOptions options =
      impl_->client.call("Snapshots/List " + impl_->name, impl_->client.deadlines().stream_step);
  const auto home = co_await asio::this_coro::executor;
  const auto stream = open_read_stream(home, impl_->stub->async(), &Async::List, request, options);
  std::vector<SnapshotInfo> all;
  for (;;) {
    const auto part = co_await stream->read();
    if (!part) break;
    for (const auto& info : part->info()) all.push_back(info_of(info));
  }
  const auto status = co_await stream->finish();
  require_ok(status, options.name);
  co_return all;
}

Awaitable<std::optional<SnapshotUsage>> ContainerdSnapshotter::usage(const std::string& key) {
  api::UsageRequest request;
  request.set_snapshotter(impl_->name);
  request.set_key(key);
  const CallOptions options =
      impl_->client.call("Snapshots/Usage " + key, impl_->client.deadlines().stream_step);
  const auto reply = co_await impl_->call(&Async::Usage, request, options);
  std::optional<SnapshotUsage> usage;
  if (reply.status.error_code() == grpc::StatusCode::NOT_FOUND) co_return usage;
  require_ok(reply.status, options.name);
  usage.emplace();
  usage->bytes = from_wire_size(reply.message.size(), options.name);
  usage->inodes = from_wire_size(reply.message.inodes(), options.name);
  co_return usage;
}

}  // namespace lazypull
