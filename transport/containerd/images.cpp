#include "transport/containerd/images.hpp"

#include "transport/containerd/convert.hpp"
#include "transport/containerd/steady_call.hpp"

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

ImageRecord record_of(const api::Image& image, const std::string& of) {
  ImageRecord record;
  record.name = image.name();
  record.target = from_wire(image.target(), of);
  record.labels = labels_of(image.labels());
  return record;
}

}  // namespace

struct ContainerdImages::Impl {
  /// Creates it, or updates the parts, all of them where none is named.
  Awaitable<void> write(ImageRecord image, std::vector<std::string> parts);

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
  const auto reply = co_await steady_call(impl_->client, impl_->stub->async(), &Async::Get, request, options);
  std::optional<ImageRecord> found;
  if (reply.status.error_code() == grpc::StatusCode::NOT_FOUND) co_return found;
  require_ok(reply.status, options.name);
  found = record_of(reply.message.image(), options.name);
  co_return found;
}

Awaitable<void> ContainerdImages::put(const ImageRecord& image) {
  return impl_->write(image, {});
}

Awaitable<void> ContainerdImages::merge(const ImageRecord& image) {
  std::vector<std::string> parts{"target"};
  for (const auto& [key, value] : image.labels) parts.push_back("labels." + key);
  return impl_->write(image, std::move(parts));
}

Awaitable<void> ContainerdImages::Impl::write(ImageRecord image, std::vector<std::string> parts) {
  const auto message = message_of(image);
  for (int attempt = 1;; ++attempt) {
    api::CreateImageRequest create;
    *create.mutable_image() = message;
    const CallOptions creating = client.call("Images/Create " + image.name);
    const auto created = co_await steady_call(client, stub->async(), &Async::Create, create, creating);
    if (created.status.ok()) co_return;
    if (created.status.error_code() != grpc::StatusCode::ALREADY_EXISTS)
      require_ok(created.status, creating.name);

    api::UpdateImageRequest update;
    *update.mutable_image() = message;
    for (const auto& part : parts) update.mutable_update_mask()->add_paths(part);
    const CallOptions updating = client.call("Images/Update " + image.name);
    const auto updated = co_await steady_call(client, stub->async(), &Async::Update, update, updating);
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
  const auto reply =
      co_await steady_call(impl_->client, impl_->stub->async(), &Async::Delete, request, options);
  if (reply.status.error_code() == grpc::StatusCode::NOT_FOUND) co_return;
  require_ok(reply.status, options.name);
}

Awaitable<std::vector<ImageRecord>> ContainerdImages::list(const std::vector<std::string>& filters) {
  api::ListImagesRequest request;
  request.mutable_filters()->Add(filters.begin(), filters.end());
  const CallOptions options = impl_->client.call("Images/List");
  const auto reply =
      co_await steady_call(impl_->client, impl_->stub->async(), &Async::List, request, options);
  require_ok(reply.status, options.name);
  std::vector<ImageRecord> all;
  all.reserve(static_cast<std::size_t>(reply.message.images_size()));
  for (const auto& image : reply.message.images()) all.push_back(record_of(image, options.name));
  co_return all;
}

}  // namespace lazypull
