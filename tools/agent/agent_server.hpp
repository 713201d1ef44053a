#pragma once

#include "engine/awaitable.hpp"
#include "engine/offload.hpp"
#include "snapshot/unpack/unique_fd.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace grpc {
class Service;
}

namespace lazypull {

/// A gRPC server, with health checks and reflection, over connections that it is handed. Of the home thread.
class AgentServer {
 public:
  /// The services must outlive it. Healthy from now on. Throws Error{unavailable}.
  explicit AgentServer(const std::vector<grpc::Service*>& services);
  AgentServer(const AgentServer&) = delete;
  AgentServer& operator=(const AgentServer&) = delete;
  /// Without `stop` before, calls are cancelled; home must be able to run meanwhile.
  ~AgentServer();

  /// Serves a connected socket, which does not block.
  void adopt(UniqueFd connection);
  void set_healthy(bool healthy);
  /// Takes no more calls; those that run longer than `patience` are cancelled. Returns when all have ended.
  Awaitable<> stop(BlockingPool& pool, std::chrono::milliseconds patience);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lazypull
