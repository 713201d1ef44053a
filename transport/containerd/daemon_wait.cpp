#include "transport/containerd/daemon_wait.hpp"

#include "engine/lock_wait.hpp"

#include <algorithm>

namespace lazypull {

namespace {
constexpr std::chrono::milliseconds longest_backoff{1000};
}

std::chrono::milliseconds DaemonWait::next(Clock::time_point now) {
  if (give_up_ == Clock::time_point()) give_up_ = now + patience_;
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(give_up_ - now);
  const auto pause = std::clamp(left, std::chrono::milliseconds(0), backoff_);
  backoff_ = std::min(backoff_ * 2, longest_backoff);
  return pause;
}

Awaitable<bool> DaemonWait::pause() {
  const auto duration = next(Clock::now());
  if (duration.count() == 0) co_return false;
  co_await sleep_for(duration);
  co_return true;
}

}  // namespace lazypull
