#include "tools/agent/agent_prewarm.hpp"

#include "engine/deadline.hpp"
#include "tools/agent/agent_messages.hpp"

#include <exception>
#include <utility>

namespace lazypull {

namespace {

constexpr int most_running = 100;
constexpr int images_a_summary = 1000;

/// What a pull that was shared has fetched is counted by who began it.
void leave_out_fetched(PullReport& report) {
  report.metadata_bytes = 0;
  for (auto& image : report.images) {
    for (auto& layer : image.layers) layer.bytes_fetched = 0;
  }
}

}  // namespace

Awaitable<> AgentPrewarm::run() {
  const PullOne pull = [this](const PrewarmItem& item, PullRank rank, PullReport& report) {
    return pull_one(item, rank, report);
  };
  co_await prewarm_images(options_, pull, report_);
  ended_.set();
}

Awaitable<> AgentPrewarm::pull_one(const PrewarmItem& item, PullRank rank, PullReport& report) {
  AgentPullRequest request(item.reference);
  if (!item.platforms.empty()) request.platform = item.platforms.front();
  request.rank = rank;
  request.asker = "prewarm";
  auto ticket = pulls_.join(std::move(request));
  tickets_.emplace(&report, &ticket);
  std::exception_ptr failure;
  try {
    co_await ticket.wait();
  } catch (...) {
    failure = std::current_exception();
  }
  tickets_.erase(&report);
  // Also where it failed: how far it came belongs to the summary.
  report = ticket.report();
  if (ticket.shared()) leave_out_fetched(report);
  if (failure) std::rethrow_exception(failure);
}

Awaitable<> AgentPrewarm::wait_a_while(std::chrono::milliseconds limit) {
  try {
    co_await with_deadline(ended_.wait(), limit, "prewarm");
  } catch (const Error& error) {
    if (error.code() != Errc::timed_out) throw;
  }
}

std::chrono::nanoseconds AgentPrewarm::age() const {
  return ended() ? report_.duration : std::chrono::steady_clock::now() - start_;
}

void AgentPrewarm::fill(agent::v1::PrewarmProgress& message) const {
  lazypull::fill(message, report_, age());
  auto fetched = report_.fetched_bytes;
  for (const auto index : report_.running) {
    const auto& image = report_.images.at(index);
    const auto found = tickets_.find(image.report.get());
    if (found == tickets_.end()) continue;
    const auto state = found->second->state();
    const auto bytes = state.report.fetched_bytes() + state.report.metadata_bytes;
    if (!found->second->shared()) fetched += bytes;
    if (message.running_size() == most_running) continue;
    auto& running = *message.add_running();
    running.set_reference(image.item.reference.name());
    running.set_phase(state.queued || state.report.phase.empty() ? "queued" : state.report.phase);
    running.set_fetched_bytes(bytes);
  }
  message.set_fetched_bytes(fetched);
}

std::size_t AgentPrewarm::fill_summary(agent::v1::PrewarmSummary& message, std::size_t first) const {
  while (first < report_.images.size() && message.images_size() < images_a_summary) {
    lazypull::fill(*message.add_images(), report_.images[first++]);
  }
  if (report_.stopped) message.set_stopped(report_.stopped->message());
  message.set_complete(first == report_.images.size());
  return first;
}

}  // namespace lazypull
