#include "transport/circuit_breaker.hpp"

#include <algorithm>

namespace lazypull {

std::string_view to_string(CircuitBreaker::State state) noexcept {
  switch (state) {
    case CircuitBreaker::State::closed:
      return "closed";
    case CircuitBreaker::State::open:
      return "open";
    case CircuitBreaker::State::half_open:
      return "half open";
  }
  return "?";
}

CircuitBreaker::State CircuitBreaker::state(Time now) const noexcept {
  if (!tripped_) return State::closed;
  return now < until_ ? State::open : State::half_open;
}

bool CircuitBreaker::admit(Time now) {
  const auto current = state(now);
  if (current == State::closed) return true;
  if (current == State::open || probing_) return false;
  probing_ = true;
  return true;
}

void CircuitBreaker::note(HostVerdict verdict, Time now) {
  const bool was_half_open = state(now) == State::half_open;
  switch (verdict) {
    case HostVerdict::unknown:
      break;
    case HostVerdict::alive:
      tripped_ = false;
      faults_ = 0;
      pause_ = {};
      break;
    case HostVerdict::faulty:
      ++faults_;
      if (was_half_open || (!tripped_ && faults_ >= policy_.faults_in_a_row)) open(now);
      break;
    case HostVerdict::dead:
      // Those that were under way together when the host died count once.
      if (was_half_open || !tripped_) open(now);
      break;
  }
  probing_ = false;
}

void CircuitBreaker::open(Time now) {
  tripped_ = true;
  faults_ = 0;
  pause_ = pause_.count() == 0 ? policy_.first_pause : std::min(pause_ * 2, policy_.longest_pause);
  until_ = now + pause_;
}

}  // namespace lazypull
