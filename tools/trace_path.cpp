#include "tools/trace_path.hpp"

#include <algorithm>
#include <cstddef>
#include <map>
#include <string_view>
#include <utility>

namespace lazypull {
namespace {

using std::chrono::nanoseconds;

// What one thing waits for and what comes of it are not seen at the same moment.
constexpr nanoseconds slack{std::chrono::milliseconds{1}};
// Waits lead from one to the next; a file that somebody has made up is not to exhaust the stack.
constexpr std::size_t max_jumps = 100;
// Events about the same object that are looked at for one wait.
constexpr std::ptrdiff_t max_candidates = 200;

class CriticalPath {
 public:
  explicit CriticalPath(const TraceFile& file)
      : events_(file.events), children_(events_.size()), on_path_(events_.size(), false) {
    for (std::size_t i = 0; i < events_.size(); ++i) {
      const auto& event = events_[i];
      if (event.parent != TraceEvent::none) children_[event.parent].push_back(i);
      if (!event.object.empty()) by_object_[event.object].push_back(i);
    }
    const auto ends_later = [&](std::size_t a, std::size_t b) {
      return std::pair(events_[b].end(), b) < std::pair(events_[a].end(), a);
    };
    for (auto& list : children_) std::ranges::sort(list, ends_later);
    for (auto& [object, list] : by_object_) std::ranges::sort(list, ends_later);
  }

  std::vector<bool> find() {
    std::size_t last = 0;
    for (std::size_t i = 0; i < events_.size(); ++i) {
      if (events_[i].parent == TraceEvent::none && events_[i].end() > events_[last].end()) last = i;
    }
    if (!events_.empty()) walk(last, events_[last].end());
    return std::move(on_path_);
  }

 private:
  /// Marks what the end of the event, or the moment `until` in the middle of it, hangs on. Returns the moment
  /// before which nothing of that has happened.
  nanoseconds walk(std::size_t index, nanoseconds until) {
    if (on_path_[index]) return std::min(until, events_[index].start);
    on_path_[index] = true;
    nanoseconds time = until;
    for (const auto child : children_[index]) {
      const auto& event = events_[child];
      if (event.end() <= time + slack && event.start < time) time = walk(child, event.end());
    }
    const auto cause = awaited_by(index);
    if (cause != TraceEvent::none && jumps_ < max_jumps) {
      ++jumps_;
      time = std::min(time, walk(cause, events_[cause].end()));
      --jumps_;
    }
    return std::min(time, events_[index].start);
  }

  /// What a wait has waited for.
  std::size_t awaited_by(std::size_t index) const {
    const auto& wait = events_[index];
    if (!std::string_view(wait.name).starts_with("wait for ")) return TraceEvent::none;
    const auto found = by_object_.find(wait.object);
    if (found == by_object_.end()) return TraceEvent::none;
    const auto& same = found->second;
    const auto limit = wait.end() + slack;
    auto next = std::ranges::partition_point(same, [&](std::size_t i) { return events_[i].end() > limit; });
    const auto stop = next + std::min(max_candidates, same.end() - next);
    for (; next != stop; ++next) {
      const auto candidate = *next;
      const auto& event = events_[candidate];
      if (event.end() < wait.start) break;
      if (candidate != index && !on_path_[candidate] && event.name != wait.name) return candidate;
    }
    return TraceEvent::none;
  }

  const std::vector<TraceEvent>& events_;
  std::vector<std::vector<std::size_t>> children_;                  // those that end last first
  std::map<std::string_view, std::vector<std::size_t>> by_object_;  // likewise
  std::vector<bool> on_path_;
  std::size_t jumps_ = 0;
};

}  // namespace

std::vector<bool> critical_path(const TraceFile& file) {
  return CriticalPath(file).find();
}

}  // namespace lazypull
