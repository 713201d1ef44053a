#include "snapshot/containerd_applier.hpp"

#include "snapshot/mounts.hpp"
#include "transport/containerd/convert.hpp"
#include "transport/grpc_bridge.hpp"

#include <containerd/services/diff.grpc.pb.h>

namespace lazypull {

namespace {

namespace api = ::containerd::services::diff::v1;
using Async = api::Diff::StubInterface::async_interface;

}  // namespace

struct ContainerdApplier::Impl {
  ContainerdClient client;
  std::unique_ptr<api::Diff::Stub> stub;
};

ContainerdApplier::ContainerdApplier(ContainerdClient client) {
  auto stub = api::Diff::NewStub(client.channel());
  impl_ = std::make_unique<Impl>(Impl{std::move(client), std::move(stub)});
}
ContainerdApplier::~ContainerdApplier() = default;

Awaitable<AppliedLayer> ContainerdApplier::apply(const Descriptor& layer, const std::vector<Mount>& mounts) {
  api::ApplyRequest request;
  to_wire(layer, *request.mutable_diff());
  for (const auto& mount : mounts) to_wire(mount, *request.add_mounts());
  const CallOptions options =
      impl_->client.call("Diff/Apply " + layer.digest.str(), impl_->client.deadlines().apply);
  const auto reply = co_await unary_call(impl_->stub->async(), &Async::Apply, request, options);
  require_ok(reply.status, options.name);
  AppliedLayer applied;
  applied.diff_id = digest_from_wire(reply.message.applied().digest(), options.name);
  applied.size = from_wire_size(reply.message.applied().size(), options.name);
  co_return applied;
}

Awaitable<std::unique_ptr<LayerUnpack>> ContainerdApplier::start(const Descriptor&, UnpackTraits) {
  co_return nullptr;
}

}  // namespace lazypull
