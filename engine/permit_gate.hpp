#pragma once

#include "engine/awaitable.hpp"
#include "engine/event.hpp"
#include "engine/permit_queue.hpp"

#include <map>
#include <string>
#include <utility>

namespace lazypull {

class PermitGate;

/// A place in the line of a gate and then a permit, given up on destruction. Move-only.
class GatePermit {
 public:
  GatePermit() = default;
  GatePermit(GatePermit&& other) noexcept
      : gate_(std::exchange(other.gate_, nullptr)), ticket_(other.ticket_) {}
  GatePermit& operator=(GatePermit&& other) noexcept {
    if (this != &other) {
      release();
      gate_ = std::exchange(other.gate_, nullptr);
      ticket_ = other.ticket_;
    }
    return *this;
  }
  ~GatePermit() { release(); }

  /// Waits until it is granted; at once if it is. Throws Error{cancelled}.
  Awaitable<> granted();
  /// At a border of the work: true if the permit went to somebody more urgent, and `granted` is to be awaited
  /// before the work goes on.
  bool give_way();
  void release();

  PermitQueue::Ticket ticket() const noexcept { return ticket_; }

 private:
  friend class PermitGate;
  GatePermit(PermitGate* gate, PermitQueue::Ticket ticket) : gate_(gate), ticket_(ticket) {}
  PermitGate* gate_ = nullptr;
  PermitQueue::Ticket ticket_ = 0;
};

/// Lets coroutines of the home thread wait in a PermitQueue. Must outlive its permits.
class PermitGate {
 public:
  explicit PermitGate(PermitLimits limits) : queue_(limits) {}
  PermitGate(const PermitGate&) = delete;
  PermitGate& operator=(const PermitGate&) = delete;

  /// Gets in line; the permit's `granted` is what waits.
  GatePermit join(PullRank rank, std::string registry, std::uint64_t bytes);
  void promote(PermitQueue::Ticket ticket, PullRank rank);
  void set_limits(PermitLimits limits);
  const PermitQueue& queue() const noexcept { return queue_; }

 private:
  friend class GatePermit;
  void wake();

  PermitQueue queue_;
  std::map<PermitQueue::Ticket, Event*> waiters_;
};

}  // namespace lazypull
