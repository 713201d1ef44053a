#pragma once

#include "engine/trace.hpp"
#include "tools/agent/agent_pulls.hpp"

#include <chrono>
#include <cstddef>
#include <functional>
#include <lazypull/agent/v1/agent.grpc.pb.h>
#include <string>

namespace lazypull {

template <class Response>
class ServerStream;

/// What the service works with; all of it must outlive the service.
struct AgentServiceParts {
  AgentPulls& pulls;
  const Tracer& tracer;
  std::string version;
  std::size_t prewarm_images = 8;  ///< of one request at once, unless it says so; 0 is no limit
  /// Reads credentials, hosts.toml and TLS files anew. Throws Error.
  std::function<void()> reload = {};
  std::chrono::milliseconds progress_interval{200};  ///< between states that are streamed
};

/// The agent's own gRPC service, lazypull.agent.v1.Agent. gRPC's threads hand calls over to the home thread.
/// Must outlive the server, which must have been shut down before.
class AgentService final : public ::lazypull::agent::v1::Agent::CallbackService {
 public:
  AgentService(asio::any_io_executor home, AgentServiceParts parts);
  AgentService(const AgentService&) = delete;
  AgentService& operator=(const AgentService&) = delete;

  grpc::ServerWriteReactor<agent::v1::PullProgress>* Pull(grpc::CallbackServerContext* context,
                                                          const agent::v1::PullRequest* request) override;
  grpc::ServerWriteReactor<agent::v1::PrewarmProgress>* Prewarm(
      grpc::CallbackServerContext* context, const agent::v1::PrewarmRequest* request) override;
  grpc::ServerUnaryReactor* Status(grpc::CallbackServerContext* context,
                                   const agent::v1::StatusRequest* request,
                                   agent::v1::StatusResponse* response) override;
  grpc::ServerUnaryReactor* ListPulls(grpc::CallbackServerContext* context,
                                      const agent::v1::ListPullsRequest* request,
                                      agent::v1::ListPullsResponse* response) override;
  grpc::ServerUnaryReactor* SetBandwidth(grpc::CallbackServerContext* context,
                                         const agent::v1::SetBandwidthRequest* request,
                                         agent::v1::SetBandwidthResponse* response) override;
  grpc::ServerUnaryReactor* Reload(grpc::CallbackServerContext* context,
                                   const agent::v1::ReloadRequest* request,
                                   agent::v1::ReloadResponse* response) override;
  grpc::ServerUnaryReactor* Debug(grpc::CallbackServerContext* context,
                                  const agent::v1::DebugRequest* request,
                                  agent::v1::DebugResponse* response) override;

 private:
  Awaitable<> pull(ServerStream<agent::v1::PullProgress>& stream, const agent::v1::PullRequest& request);
  Awaitable<> prewarm(ServerStream<agent::v1::PrewarmProgress>& stream,
                      const agent::v1::PrewarmRequest& request);
  Awaitable<> status(agent::v1::StatusResponse& response);
  Awaitable<> list_pulls(agent::v1::ListPullsResponse& response);
  Awaitable<> set_bandwidth(const agent::v1::SetBandwidthRequest& request,
                            agent::v1::SetBandwidthResponse& response);
  Awaitable<> reload();
  Awaitable<> debug(agent::v1::DebugResponse& response);

  asio::any_io_executor home_;
  AgentServiceParts parts_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
};

}  // namespace lazypull
