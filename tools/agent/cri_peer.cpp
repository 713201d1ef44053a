#include "tools/agent/cri_peer.hpp"

#include "engine/error.hpp"
#include "transport/grpc_bridge.hpp"

#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <cri/api.grpc.pb.h>

namespace lazypull {
namespace {

namespace cri = ::runtime::v1;
using Async = cri::ImageService::StubInterface::async_interface;

bool knows(const cri::Image& image, const std::string& image_id, const std::vector<std::string>& names) {
  return image.id() == image_id && std::ranges::all_of(names, [&](const std::string& name) {
           return name == image_id || std::ranges::find(image.repo_tags(), name) != image.repo_tags().end() ||
                  std::ranges::find(image.repo_digests(), name) != image.repo_digests().end();
         });
}

}  // namespace

struct CriPeer::Impl {
  ContainerdClient client;
  std::unique_ptr<cri::ImageService::Stub> stub;
};

CriPeer::CriPeer(const ContainerdClient& client)
    : impl_(std::make_unique<Impl>(Impl{client, cri::ImageService::NewStub(client.channel())})) {}
CriPeer::~CriPeer() = default;

Awaitable<CriPeer::Sight> CriPeer::await_image(std::string image_id, std::vector<std::string> names,
                                               std::chrono::milliseconds patience) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + patience;
  const auto home = co_await asio::this_coro::executor;
  std::chrono::milliseconds pause{2};
  for (;;) {
    cri::ImageStatusRequest request;
    request.mutable_image()->set_image(image_id);
    const CallOptions options = impl_->client.call("ImageService/ImageStatus " + image_id);
    const auto reply = co_await unary_call(impl_->stub->async(), &Async::ImageStatus, request, options);
    const auto code = reply.status.error_code();
    if (code == grpc::StatusCode::UNIMPLEMENTED) co_return Sight::none;
    if (code == grpc::StatusCode::CANCELLED) require_ok(reply.status, options.name);
    if (code == grpc::StatusCode::OK && knows(reply.message.image(), image_id, names)) co_return Sight::seen;
    if (Clock::now() + pause > end) co_return Sight::not_seen;
    asio::steady_timer timer(home, pause);
    co_await timer.async_wait(asio::use_awaitable);
    pause = std::min(pause * 2, std::chrono::milliseconds(100));
  }
}

}  // namespace lazypull
