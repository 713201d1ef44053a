#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace lazypull {

/// What a pull is for, the more urgent first.
enum class PullClass {
  serving,  ///< somebody waits for the image, such as a pod
  prewarm,  ///< the image may be wanted later
};

/// How urgent a pull is: first by its class, then by its priority, of which the higher goes first.
struct PullRank {
  PullClass pull_class = PullClass::serving;
  int priority = 0;

  friend bool operator==(const PullRank&, const PullRank&) = default;
  /// The more urgent is the smaller.
  friend bool operator<(const PullRank& a, const PullRank& b) noexcept {
    if (a.pull_class != b.pull_class) return a.pull_class < b.pull_class;
    return a.priority > b.priority;
  }
};

/// 0 is no limit.
struct PermitLimits {
  std::size_t total = 0;         ///< permits at once
  std::size_t per_registry = 0;  ///< permits at once for one registry
  std::uint64_t bytes = 0;       ///< sum of what the permits are for; a larger one goes alone
};

/// Decides who may go next under limits. The most urgent rank goes first; within a rank those of one registry
/// go in the order in which they came, and the registries take turns. Nobody waits for ever: after so many
/// grants that went by rank, one goes to whoever waits longest.
///
/// Someone less urgent who holds a permit can be asked to give way at a border of its work (`give_way`), and
/// then waits at its old place. Pure: no I/O, no clock. Cost of a call: the number of registries, and the
/// logarithm of the number of tickets.
class PermitQueue {
 public:
  using Ticket = std::uint64_t;

  /// Each grant out of `favours_in_turn` + 1 is by age while somebody less urgent waits.
  static constexpr int favours_in_turn = 15;
  /// What was granted by age need not give way at so many borders.
  static constexpr int undisturbed_borders = 64;

  explicit PermitQueue(PermitLimits limits) : limits_(limits) {}

  /// Waits in line from now on; may be granted at once.
  Ticket join(PullRank rank, std::string registry, std::uint64_t bytes);
  /// Leaves the line, or gives its permit back. A ticket that has left already is ignored.
  void leave(Ticket ticket);
  /// At a border: true if the permit went to somebody of a more urgent class, so that its holder is to wait
  /// until it is granted again.
  bool give_way(Ticket ticket);
  /// From now on at least as urgent as `rank`. A ticket that has left already is ignored.
  void promote(Ticket ticket, PullRank rank);
  /// Takes effect for what is granted from now on; nobody loses a permit.
  void set_limits(PermitLimits limits);

  bool holds(Ticket ticket) const;
  /// Those who were granted since the last call, in order.
  std::vector<Ticket> take_granted() { return std::exchange(granted_, {}); }

  std::size_t in_use() const noexcept { return in_use_; }
  std::size_t waiting() const noexcept { return entries_.size() - in_use_; }
  std::size_t in_use(const std::string& registry) const;
  std::uint64_t bytes_in_use() const noexcept { return bytes_in_use_; }
  const PermitLimits& limits() const noexcept { return limits_; }

 private:
  struct Entry {
    PullRank rank;
    std::string registry;
    std::uint64_t bytes = 0;
    bool granted = false;
    int undisturbed = 0;
  };
  struct Registry {
    std::set<std::pair<PullRank, Ticket>> line;  ///< who waits, the next one first
    std::set<Ticket> ages;                       ///< the same, the oldest first
    std::size_t in_use = 0;
    std::uint64_t last_turn = 0;
  };

  void enter_line(Ticket ticket, const Entry& entry);
  void leave_line(Ticket ticket, const Entry& entry);
  void release(const Entry& entry);
  void grant(Ticket ticket);
  void grant_all();
  bool has_room(const Registry& registry) const noexcept;
  bool fits(std::uint64_t bytes) const noexcept;
  Ticket next_by_rank(bool& passes_over) const;
  Ticket next_by_age() const;
  bool is_awaited(const Entry& holder) const;
  void forget_if_idle(const std::string& name);

  PermitLimits limits_;
  std::unordered_map<Ticket, Entry> entries_;
  std::map<std::string, Registry> registries_;
  std::vector<Ticket> granted_;
  Ticket last_ticket_ = 0;
  std::uint64_t turns_ = 0;
  std::size_t in_use_ = 0;
  std::uint64_t bytes_in_use_ = 0;
  std::map<PullClass, std::size_t> waiting_in_class_;
  int favours_ = 0;
};

}  // namespace lazypull
