#include "snapshot/containerd_snapshotter.hpp"

#include "snapshot/mounts.hpp"
#include "transport/containerd/convert.hpp"
#include "transport/grpc_bridge.hpp"
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
  ContainerdClient client;
  std::unique_ptr<api::Snapshots::Stub> stub;
  std::string name;
};

ContainerdSnapshotter::ContainerdSnapshotter(ContainerdClient client, std::string name) {
  auto stub = api::Snapshots::NewStub(client.channel());
  impl_ = std::make_unique<Impl>(Impl{std::move(client), std::move(stub), std::move(name)});
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
  const auto reply = co_await unary_call(impl_->stub->async(), &Async::Stat, request, options);
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
  const auto reply = co_await unary_call(impl_->stub->async(), &Async::Prepare, request, options);
  PrepareOutcome outcome;
  outcome.already_exists = reply.status.error_code() == grpc::StatusCode::ALREADY_EXISTS;
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
  const auto reply = co_await unary_call(impl_->stub->async(), &Async::Commit, request, options);
  if (reply.status.error_code() == grpc::StatusCode::ALREADY_EXISTS) co_return CommitOutcome::already_exists;
  require_ok(reply.status, options.name);
  co_return CommitOutcome::committed;
}

Awaitable<void> ContainerdSnapshotter::remove(const std::string& key) {
  api::RemoveSnapshotRequest request;
  request.set_snapshotter(impl_->name);
  request.set_key(key);
  const CallOptions options =
      impl_->client.call("Snapshots/Remove " + key, impl_->client.deadlines().snapshot);
  const auto reply = co_await unary_call(impl_->stub->async(), &Async::Remove, request, options);
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

}  // namespace lazypull
