#pragma once

#include "tools/agent/agent_log.hpp"
#include "tools/agent/agent_pulls.hpp"
#include "tools/agent/cri_filesystem.hpp"
#include "tools/agent/cri_images.hpp"
#include "tools/agent/grpc_server_call.hpp"
#include "tools/agent/grpc_server_stream.hpp"

#include <cri/api.grpc.pb.h>
#include <map>
#include <string>
#include <vector>

namespace lazypull {

/// What the service works with. All must outlive it.
struct CriServiceParts {
  AgentPulls& pulls;
  CriImages& images;
  CriFilesystemUsage& filesystem;
  std::map<std::string, std::string> runtime_snapshotters;  ///< by runtime handler
};

/// The CRI's image service, runtime.v1, as containerd's own CRI plugin has it. Must outlive the server, which
/// must have been shut down before home ends.
class CriService final : public ::runtime::v1::ImageService::CallbackService {
 public:
  CriService(asio::any_io_executor home, CriServiceParts parts)
      : home_(std::move(home)), parts_(std::move(parts)) {}

  grpc::ServerUnaryReactor* ListImages(grpc::CallbackServerContext* context,
                                       const ::runtime::v1::ListImagesRequest* request,
                                       ::runtime::v1::ListImagesResponse* response) override;
  grpc::ServerWriteReactor<::runtime::v1::StreamImagesResponse>* StreamImages(
      grpc::CallbackServerContext* context, const ::runtime::v1::StreamImagesRequest* request) override;
  grpc::ServerUnaryReactor* ImageStatus(grpc::CallbackServerContext* context,
                                        const ::runtime::v1::ImageStatusRequest* request,
                                        ::runtime::v1::ImageStatusResponse* response) override;
  grpc::ServerUnaryReactor* PullImage(grpc::CallbackServerContext* context,
                                      const ::runtime::v1::PullImageRequest* request,
                                      ::runtime::v1::PullImageResponse* response) override;
  grpc::ServerUnaryReactor* RemoveImage(grpc::CallbackServerContext* context,
                                        const ::runtime::v1::RemoveImageRequest* request,
                                        ::runtime::v1::RemoveImageResponse* response) override;
  grpc::ServerUnaryReactor* ImageFsInfo(grpc::CallbackServerContext* context,
                                        const ::runtime::v1::ImageFsInfoRequest* request,
                                        ::runtime::v1::ImageFsInfoResponse* response) override;

 private:
  Awaitable<std::vector<CriImage>> matching(const ::runtime::v1::ImageFilter& filter);
  Awaitable<> list(const ::runtime::v1::ListImagesRequest& request,
                   ::runtime::v1::ListImagesResponse& response);
  Awaitable<> stream(::runtime::v1::ImageFilter filter,
                     ServerStream<::runtime::v1::StreamImagesResponse>& into);
  Awaitable<> status(const ::runtime::v1::ImageStatusRequest& request,
                     ::runtime::v1::ImageStatusResponse& response);
  Awaitable<> pull(const ::runtime::v1::PullImageRequest& request,
                   ::runtime::v1::PullImageResponse& response);
  Awaitable<> remove(const ::runtime::v1::RemoveImageRequest& request);
  Awaitable<> filesystem(::runtime::v1::ImageFsInfoResponse& response);

  asio::any_io_executor home_;
  CriServiceParts parts_;
};

}  // namespace lazypull
