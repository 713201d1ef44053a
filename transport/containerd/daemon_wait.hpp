#pragma once

#include "engine/awaitable.hpp"

#include <chrono>

namespace lazypull {

/// Whether a daemon has answered yet. One that has and is gone now is worth waiting for, since daemons are
/// restarted; one that never has is not there.
struct DaemonContact {
  bool answered = false;
};

/// The patience of one whose daemon has gone away in the middle: pauses that grow, up to a limit that is
/// counted from the first of them.
class DaemonWait {
 public:
  using Clock = std::chrono::steady_clock;

  explicit DaemonWait(std::chrono::milliseconds patience) : patience_(patience) {}

  /// What is to be slept before the next try, at `now`; zero once it has been waited long enough.
  std::chrono::milliseconds next(Clock::time_point now);
  /// Sleeps; false, and at once, when it has been waited long enough.
  Awaitable<bool> pause();

 private:
  std::chrono::milliseconds patience_;
  std::chrono::milliseconds backoff_{50};
  Clock::time_point give_up_{};
};

}  // namespace lazypull
