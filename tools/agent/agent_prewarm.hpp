#pragma once

#include "engine/event.hpp"
#include "engine/prewarm.hpp"
#include "tools/agent/agent_pulls.hpp"

#include <chrono>
#include <cstddef>
#include <lazypull/agent/v1/agent.pb.h>
#include <map>
#include <vector>

namespace lazypull {

/// Prewarming at a client's request: the images go through AgentPulls, so they share everything with other
/// pulls. Of the home thread; must outlive `run`.
class AgentPrewarm {
 public:
  AgentPrewarm(const asio::any_io_executor& home, AgentPulls& pulls, std::vector<PrewarmItem> items,
               PrewarmOptions options)
      : pulls_(pulls), options_(std::move(options)), report_(std::move(items)), ended_(home) {}
  AgentPrewarm(const AgentPrewarm&) = delete;
  AgentPrewarm& operator=(const AgentPrewarm&) = delete;

  /// Pulls all of them; failures of images are in the summary. Throws Error{cancelled}, and then leaves the
  /// pulls under way.
  Awaitable<> run();
  bool ended() const noexcept { return ended_.happened(); }
  /// Until it has ended, or for as long as the limit.
  Awaitable<> wait_a_while(std::chrono::milliseconds limit);

  std::size_t size() const noexcept { return report_.images.size(); }
  void fill(agent::v1::PrewarmProgress& message) const;
  /// From the image `first` on; the first one that is left out is returned.
  std::size_t fill_summary(agent::v1::PrewarmSummary& message, std::size_t first) const;

 private:
  Awaitable<> pull_one(const PrewarmItem& item, PullRank rank, PullReport& report);
  std::chrono::nanoseconds age() const;

  AgentPulls& pulls_;
  PrewarmOptions options_;
  PrewarmReport report_;
  Event ended_;
  /// Of the images under way: what their pull is doing, by the report that it will be copied to.
  std::map<const PullReport*, const PullTicket*> tickets_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace lazypull
