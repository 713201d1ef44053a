#include "engine/permit_gate.hpp"

namespace lazypull {

Awaitable<> GatePermit::granted() {
  if (gate_->queue_.holds(ticket_)) co_return;
  const auto executor = co_await asio::this_coro::executor;
  Event event(executor);
  gate_->waiters_[ticket_] = &event;
  struct Forget {
    PermitGate& gate;
    PermitQueue::Ticket ticket;
    ~Forget() { gate.waiters_.erase(ticket); }
  };
  const Forget forget{*gate_, ticket_};
  co_await event.wait();
}

bool GatePermit::give_way() {
  const bool gave = gate_->queue_.give_way(ticket_);
  gate_->wake();
  return gave;
}

void GatePermit::release() {
  if (auto* gate = std::exchange(gate_, nullptr)) {
    gate->queue_.leave(ticket_);
    gate->wake();
  }
}

GatePermit PermitGate::join(PullRank rank, std::string registry, std::uint64_t bytes) {
  const auto ticket = queue_.join(rank, std::move(registry), bytes);
  wake();
  return {this, ticket};
}

void PermitGate::promote(PermitQueue::Ticket ticket, PullRank rank) {
  queue_.promote(ticket, rank);
  wake();
}

void PermitGate::set_limits(PermitLimits limits) {
  queue_.set_limits(limits);
  wake();
}

void PermitGate::wake() {
  for (const auto ticket : queue_.take_granted()) {
    if (const auto found = waiters_.find(ticket); found != waiters_.end()) found->second->set();
  }
}

}  // namespace lazypull
