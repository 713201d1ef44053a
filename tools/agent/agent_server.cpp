#include "tools/agent/agent_server.hpp"

#include "engine/error.hpp"
#include "transport/grpc_event.hpp"

#include <grpc/health/v1/health.pb.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>

#include <utility>

namespace lazypull {
namespace {

/// A request of the prewarm service may name 100,000 images.
constexpr int max_request_bytes = 32 << 20;
/// Calls of one connection at once.
constexpr int most_calls = 256;

}  // namespace

struct AgentServer::Impl {
  std::shared_ptr<grpc::Server> server;
};

AgentServer::AgentServer(const std::vector<grpc::Service*>& services) : impl_(std::make_unique<Impl>()) {
  keep_grpc_running();
  // Both are settings of the process, so that they must be there before the server. What the linker has no
  // other reason to take in, such as the description of the health service, is named here.
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::health::v1::HealthCheckRequest::descriptor();
  grpc::ServerBuilder builder;
  for (auto* service : services) builder.RegisterService(service);
  builder.SetMaxReceiveMessageSize(max_request_bytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, most_calls);
  impl_->server = builder.BuildAndStart();
  if (!impl_->server) throw Error(Errc::unavailable, "the gRPC server does not start");
  set_healthy(true);
}

AgentServer::~AgentServer() = default;

void AgentServer::adopt(UniqueFd connection) {
  if (impl_->server) grpc::AddInsecureChannelFromFd(impl_->server.get(), connection.release());
}

void AgentServer::set_healthy(bool healthy) {
  auto* health = impl_->server ? impl_->server->GetHealthCheckService() : nullptr;
  if (health == nullptr) return;
  health->SetServingStatus(healthy);
  for (const auto* service : {"runtime.v1.ImageService", "lazypull.agent.v1.Agent"}) {
    health->SetServingStatus(service, healthy);
  }
}

Awaitable<> AgentServer::stop(BlockingPool& pool, std::chrono::milliseconds patience) {
  auto server = std::move(impl_->server);
  // It waits for calls that answer from home, so it must not wait there.
  std::function<void()> shut_down = [&server, patience] {
    if (!server) return;
    server->Shutdown(std::chrono::system_clock::now() + patience);
    server->Wait();
    server.reset();
  };
  co_await pool.run(std::move(shut_down));
}

}  // namespace lazypull
