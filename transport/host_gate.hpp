#pragma once

#include "engine/awaitable.hpp"
#include "engine/event.hpp"
#include "transport/adaptive_limit.hpp"

#include <cstddef>
#include <list>
#include <utility>

namespace lazypull {

class HostGate;

/// One request's place among those that are under way to a host, given up on destruction. Move-only.
class GatePass {
 public:
  GatePass() = default;
  GatePass(GatePass&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)) {}
  GatePass& operator=(GatePass&& other) noexcept {
    std::swap(gate_, other.gate_);
    return *this;
  }
  ~GatePass() { release(); }
  void release() noexcept;

 private:
  friend class HostGate;
  explicit GatePass(HostGate* gate) : gate_(gate) {}
  HostGate* gate_ = nullptr;
};

/// Holds requests to a host back while as many as its limit allows are under way. First come, first served; a
/// waiter that is cancelled leaves the queue. Must outlive its passes.
class HostGate {
 public:
  explicit HostGate(std::size_t most) : limit_(most) {}
  HostGate(const HostGate&) = delete;
  HostGate& operator=(const HostGate&) = delete;

  /// Throws Error{cancelled} if cancelled while waiting.
  Awaitable<GatePass> enter();

  /// What is learned from answers and their bodies, see AdaptiveLimit.
  void on_status(int status);
  void on_bytes(std::size_t bytes);

  std::size_t limit() const noexcept { return limit_.limit(); }
  std::size_t active() const noexcept { return active_; }

 private:
  friend class GatePass;
  struct Waiter {
    explicit Waiter(const asio::any_io_executor& executor) : admitted(executor) {}
    Event admitted;
  };

  bool has_room() const noexcept { return limit_.limit() == 0 || active_ < limit_.limit(); }
  void leave() noexcept;
  void admit_waiters();

  AdaptiveLimit limit_;
  std::size_t active_ = 0;
  std::list<Waiter*> waiters_;
};

}  // namespace lazypull
