#include "tools/agent/cri_service.hpp"

#include "engine/error.hpp"
#include "tools/agent/cri_auth.hpp"

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <utility>

namespace lazypull {
namespace {

namespace cri = ::runtime::v1;
namespace json = boost::json;

/// Images of one message of a stream, which stays far below gRPC's limit of 4 MiB.
constexpr int images_a_message = 1000;

cri::Image message_of(const CriImage& image) {
  cri::Image message;
  message.set_id(image.details->id.str());
  for (const auto& tag : image.repo_tags) message.add_repo_tags(tag);
  for (const auto& digest : image.repo_digests) message.add_repo_digests(digest);
  message.set_size(image.details->size);
  const auto user = cri_user(image.details->user);
  if (user.uid) message.mutable_uid()->set_value(*user.uid);
  message.set_username(user.name);
  message.set_pinned(image.pinned);
  return message;
}

/// What a client of containerd's CRI plugin finds under "info" when it asks for all there is.
std::string verbose_info(const CriImage& image, const std::string& config) {
  json::object info;
  info["chainID"] = image.details->chain_id.str();
  boost::system::error_code failure;
  auto spec = json::parse(config, failure);
  info["imageSpec"] = failure ? json::value() : std::move(spec);
  return json::serialize(info);
}

CriAuth auth_of(const cri::AuthConfig& message) {
  CriAuth auth;
  auth.username = message.username();
  auth.password = message.password();
  auth.auth = message.auth();
  auth.server_address = message.server_address();
  auth.identity_token = message.identity_token();
  auth.registry_token = message.registry_token();
  return auth;
}

}  // namespace

grpc::ServerUnaryReactor* CriService::ListImages(grpc::CallbackServerContext*,
                                                 const cri::ListImagesRequest* request,
                                                 cri::ListImagesResponse* response) {
  return serve_call(home_, [this, request, response] { return list(*request, *response); });
}

grpc::ServerWriteReactor<cri::StreamImagesResponse>* CriService::StreamImages(
    grpc::CallbackServerContext* context, const cri::StreamImagesRequest* request) {
  return serve_stream<cri::StreamImagesResponse>(
      home_, context, [this, filter = request->filter()](ServerStream<cri::StreamImagesResponse>& into) {
        return stream(filter, into);
      });
}

grpc::ServerUnaryReactor* CriService::ImageStatus(grpc::CallbackServerContext*,
                                                  const cri::ImageStatusRequest* request,
                                                  cri::ImageStatusResponse* response) {
  return serve_call(home_, [this, request, response] { return status(*request, *response); });
}

grpc::ServerUnaryReactor* CriService::PullImage(grpc::CallbackServerContext*,
                                                const cri::PullImageRequest* request,
                                                cri::PullImageResponse* response) {
  return serve_call(home_, [this, request, response] { return pull(*request, *response); });
}

grpc::ServerUnaryReactor* CriService::RemoveImage(grpc::CallbackServerContext*,
                                                  const cri::RemoveImageRequest* request,
                                                  cri::RemoveImageResponse*) {
  return serve_call(home_, [this, request] { return remove(*request); });
}

grpc::ServerUnaryReactor* CriService::ImageFsInfo(grpc::CallbackServerContext*,
                                                  const cri::ImageFsInfoRequest*,
                                                  cri::ImageFsInfoResponse* response) {
  return serve_call(home_, [this, response] { return filesystem(*response); });
}

Awaitable<std::vector<CriImage>> CriService::matching(const cri::ImageFilter& filter) {
  const auto& wanted = filter.image().image();
  if (wanted.empty()) {
    auto all = co_await parts_.images.list();
    co_return all;
  }
  std::vector<CriImage> images;
  auto found = co_await parts_.images.find(wanted);
  if (found) images.push_back(std::move(*found));
  co_return images;
}

Awaitable<> CriService::list(const cri::ListImagesRequest& request, cri::ListImagesResponse& response) {
  const auto images = co_await matching(request.filter());
  for (const auto& image : images) *response.add_images() = message_of(image);
}

Awaitable<> CriService::stream(cri::ImageFilter filter, ServerStream<cri::StreamImagesResponse>& into) {
  const auto images = co_await matching(filter);
  cri::StreamImagesResponse message;
  for (const auto& image : images) {
    *message.add_images() = message_of(image);
    if (message.images_size() < images_a_message) continue;
    co_await into.write(message);
    message.Clear();
  }
  if (message.images_size() > 0) co_await into.write(message);
}

Awaitable<> CriService::status(const cri::ImageStatusRequest& request, cri::ImageStatusResponse& response) {
  const auto found = co_await parts_.images.find(request.image().image());
  // An image that is not there is an answer without one, not a failure.
  if (!found) co_return;
  *response.mutable_image() = message_of(*found);
  if (!request.verbose()) co_return;
  const auto config = co_await parts_.images.config(found->details->id);
  (*response.mutable_info())["info"] = verbose_info(*found, config);
}

Awaitable<> CriService::pull(const cri::PullImageRequest& request, cri::PullImageResponse& response) {
  AgentPullRequest wanted(cri_reference(request.image().image()));
  wanted.asker = "cri";
  wanted.credentials = credentials_of(auth_of(request.auth()), wanted.reference);
  const auto by_handler = parts_.runtime_snapshotters.find(request.image().runtime_handler());
  if (by_handler != parts_.runtime_snapshotters.end()) wanted.snapshotter = by_handler->second;
  const auto image = co_await parts_.pulls.pull(std::move(wanted));
  response.set_image_ref(image.image_id.str());
}

Awaitable<> CriService::remove(const cri::RemoveImageRequest& request) {
  std::string id;
  const bool removed = co_await parts_.images.remove(request.image().image(), id);
  if (!removed) co_return;
  parts_.pulls.image_removed(id);
}

Awaitable<> CriService::filesystem(cri::ImageFsInfoResponse& response) {
  const auto usage = co_await parts_.filesystem.usage();
  auto& message = *response.add_image_filesystems();
  message.set_timestamp(
      std::chrono::duration_cast<std::chrono::nanoseconds>(usage.time.time_since_epoch()).count());
  message.mutable_fs_id()->set_mountpoint(usage.mountpoint);
  message.mutable_used_bytes()->set_value(usage.used_bytes);
  message.mutable_inodes_used()->set_value(usage.inodes_used);
}

}  // namespace lazypull
