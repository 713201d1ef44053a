#include "transport/host_gate.hpp"

#include <chrono>

namespace lazypull {

void GatePass::release() noexcept {
  if (auto* gate = std::exchange(gate_, nullptr)) gate->leave();
}

void HostGate::leave() noexcept {
  --active_;
  admit_waiters();
}

void HostGate::admit_waiters() {
  while (!waiters_.empty() && has_room()) {
    auto* waiter = waiters_.front();
    waiters_.pop_front();
    ++active_;
    waiter->admitted.set();
  }
}

Awaitable<GatePass> HostGate::enter() {
  if (waiters_.empty() && has_room()) {
    ++active_;
    co_return GatePass(this);
  }
  const auto executor = co_await asio::this_coro::executor;
  Waiter waiter(executor);
  waiters_.push_back(&waiter);
  // Whatever ends the wait: out of the queue, or the place that has been given meanwhile back.
  struct Leave {
    HostGate* gate;
    Waiter& waiter;
    ~Leave() {
      if (gate == nullptr) return;
      if (waiter.admitted.happened()) {
        gate->leave();
      } else {
        gate->waiters_.remove(&waiter);
      }
    }
  };
  Leave leave{this, waiter};
  co_await waiter.admitted.wait();
  leave.gate = nullptr;
  co_return GatePass(this);
}

void HostGate::on_status(int status) {
  if (status == 429 || status == 503) {
    limit_.on_overload(std::chrono::steady_clock::now());
  } else {
    limit_.on_success();
    admit_waiters();
  }
}

void HostGate::on_bytes(std::size_t bytes) {
  limit_.on_bytes(bytes, active_, std::chrono::steady_clock::now());
}

}  // namespace lazypull
