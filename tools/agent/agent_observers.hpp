#pragma once

#include "engine/trace.hpp"
#include "tools/agent/agent_log.hpp"
#include "tools/agent/agent_pulls.hpp"
#include "tools/agent/agent_registries.hpp"
#include "tools/agent/metrics.hpp"
#include "tools/agent/pull_observer.hpp"

#include <string>

namespace lazypull {

/// Adds what the agent does up for Prometheus. `metrics` must outlive it.
class MetricsObserver final : public PullObserver {
 public:
  explicit MetricsObserver(Metrics& metrics) : metrics_(metrics) {}

  void pull_requested(const PullSubject& subject, bool shared) override;
  void pull_started(const PullSubject& subject) override;
  void pull_ended(const PullEnding& ending) override;
  void image_removed(const std::string& image_id) override;

 private:
  Metrics& metrics_;
};

/// A line at the start and one at the end of each pull. `log` must outlive it.
class LogObserver final : public PullObserver {
 public:
  explicit LogObserver(AgentLog& log) : log_(log) {}

  void pull_started(const PullSubject& subject) override;
  void pull_ended(const PullEnding& ending) override;
  void image_removed(const std::string& image_id) override;

 private:
  AgentLog& log_;
};

/// What a scrape is to find.
MetricsSnapshot metrics_snapshot(AgentPulls& pulls, const AgentRegistries& registries, const Tracer& tracer);

/// The queues of all pulls: "pulls serving", "pulls prewarm", "downloads" and "unpacks".
struct AgentQueue {
  std::string name;
  std::size_t running = 0;
  std::size_t waiting = 0;
  std::size_t limit = 0;  ///< 0 is none
};
std::vector<AgentQueue> agent_queues(AgentPulls& pulls);

std::string_view name_of(PullClass pull_class) noexcept;

}  // namespace lazypull
