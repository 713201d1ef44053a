#pragma once

#include "engine/awaitable.hpp"
#include "engine/trace.hpp"
#include "tools/agent/agent_config.hpp"
#include "tools/agent/agent_log.hpp"
#include "tools/agent/agent_observers.hpp"
#include "tools/agent/agent_pulls.hpp"
#include "tools/agent/agent_registries.hpp"
#include "tools/agent/metrics.hpp"
#include "tools/agent/status_server.hpp"
#include "transport/http_message.hpp"

#include <optional>
#include <string>

namespace lazypull {

/// What an operator sees of a running agent: metrics at /metrics of the metrics address, what is under way at
/// /debug/tasks of the debug address, and the log's lines about pulls. Of the home thread; all that it is
/// given must outlive it, and it must outlive the pulls.
class AgentStatus {
 public:
  /// Listens where the config says so. Throws as StatusServer, and {invalid_argument} for a debug address
  /// that is reachable from other hosts.
  AgentStatus(const asio::any_io_executor& home, const AgentConfig& config, const Tracer& tracer,
              AgentLog& log, std::string version);
  AgentStatus(const AgentStatus&) = delete;
  AgentStatus& operator=(const AgentStatus&) = delete;

  /// For HttpOptions::log of all registry clients.
  RequestLogger request_logger();
  /// Watches these from now on; once.
  void watch(AgentPulls& pulls, AgentRegistries& registries);

  /// Answers until it is cancelled, which throws Error{cancelled}; returns at once where nothing is served.
  Awaitable<> serve();

 private:
  MetricsSnapshot snapshot() const;
  std::string debug_page() const;

  const Tracer& tracer_;
  AgentLog& log_;
  Metrics metrics_;
  MetricsObserver count_;
  LogObserver write_;
  AgentPulls* pulls_ = nullptr;
  AgentRegistries* registries_ = nullptr;
  std::optional<StatusServer> metrics_server_;
  std::optional<StatusServer> debug_server_;
};

}  // namespace lazypull
