#include "transport/containerd/images.hpp"

#include "transport/containerd/convert.hpp"
#include "transport/grpc_bridge.hpp"

#include <containerd/services/images.grpc.pb.h>

namespace lazypull {

namespace {

namespace api = ::containerd::services::images::v1;
using Async = api::Images::StubInterface::async_interface;

// Created, taken and removed again by somebody else, over and over, is not something to keep up with.
constexpr int put_attempts = 5;

api::Image message_of(const ImageRecord& image) {
  api::Image message;
  message.set_name(image.name);
  set_labels(*message.mutable_labels(), image.labels);
  to_wire(image.target, *message.mutable_target());
  return message;
}

}  // namespace

struct ContainerdImages::Impl {
  ContainerdClient client;
  std::unique_ptr<api::Images::Stub> stub;
};

ContainerdImages::ContainerdImages(ContainerdClient client) {
  auto stub = api::Images::NewStub(client.channel());
  impl_ = std::make_unique<Impl>(Impl{std::move(client), std::move(stub)});
}
ContainerdImages::~ContainerdImages() = default;

Awaitable<std::optional<ImageRecord>> ContainerdImages::get(const std::string& name) {
  api::GetImageRequest request;
  request.set_name(name);
  const CallOptions options = impl_->client.call("Images/Get " + name);
  const auto reply = co_await unary_call(impl_->stub->async(), &Async::Get, request, options);
  std::optional<ImageRecord> found;
  if (reply.status.error_code() == grpc::StatusCode::NOT_FOUND) co_return found;
  require_ok(reply.status, options.name);
  const auto& image = reply.message.image();
  found.emplace();
  found->name = image.name();
  found->target = from_wire(image.target(), options.name);
  found->labels = labels_of(image.labels());
  co_return found;
}

Awaitable<void> ContainerdImages::put(const ImageRecord& image) {
  const auto message = message_of(image);
  for (int attempt = 1;; ++attempt) {
    api::CreateImageRequest create;
    *create.mutable_image() = message;
    const CallOptions creating = impl_->client.call("Images/Create " + image.name);
    const auto created = co_await unary_call(impl_->stub->async(), &Async::Create, create, creating);
    if (created.status.ok()) co_return;
    if (created.status.error_code() != grpc::StatusCode::ALREADY_EXISTS)
      require_ok(created.status, creating.name);

    api::UpdateImageRequest update;
    *update.mutable_image() = message;
    const CallOptions updating = impl_->client.call("Images/Update " + image.name);
    const auto updated = co_await unary_call(impl_->stub->async(), &Async::Update, update, updating);
    if (updated.status.ok()) co_return;
    // Removed in between: create it after all.
    if (updated.status.error_code() != grpc::StatusCode::NOT_FOUND || attempt == put_attempts) {
      require_ok(updated.status, updating.name);
    }
  }
}

Awaitable<void> ContainerdImages::remove(const std::string& name, bool synchronous) {
  api::DeleteImageRequest request;
  request.set_name(name);
  request.set_sync(synchronous);
  const CallOptions options = impl_->client.call("Images/Delete " + name, impl_->client.deadlines().collect);
  const auto reply = co_await unary_call(impl_->stub->async(), &Async::Delete, request, options);
  if (reply.status.error_code() == grpc::StatusCode::NOT_FOUND) co_return;
  require_ok(reply.status, options.name);
}

}  // namespace lazypull
