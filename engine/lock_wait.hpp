#pragma once

#include "engine/awaitable.hpp"

#include <chrono>
#include <exception>

namespace lazypull {

Awaitable<> sleep_for(std::chrono::milliseconds duration);

/// The patience of one that finds content locked, since another process writes it: pauses that grow, up to a
/// limit.
class LockWait {
 public:
  LockWait();
  /// Sleeps; rethrows `locked` once it has been waited long enough.
  Awaitable<> pause(std::exception_ptr locked);

 private:
  std::chrono::steady_clock::time_point give_up_;
  std::chrono::milliseconds backoff_;
};

}  // namespace lazypull
