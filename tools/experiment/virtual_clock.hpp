#pragma once

#include "engine/awaitable.hpp"
#include "engine/event.hpp"

#include <boost/asio/io_context.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <utility>

namespace lazypull::experiment {

/// Time that passes only when everybody waits for it: coroutines take none, and it jumps from one end of a
/// sleep to the next. So what happens is the same on every machine, however slow, and hours take moments.
class VirtualClock {
 public:
  using Time = std::chrono::nanoseconds;  ///< since the beginning

  Time now() const noexcept { return now_; }
  Awaitable<> sleep(Time length) { return sleep_until(now_ + length); }
  /// Sleeps that end at the same time end in the order in which they began.
  Awaitable<> sleep_until(Time end);

  /// Runs a coroutine to its end and returns how long it took. Throws what it throws, and Error{internal} if
  /// everybody waits for something else than time.
  Time run(Awaitable<> root);

 private:
  Time now_{0};
  std::uint64_t sleeps_ = 0;
  std::map<std::pair<Time, std::uint64_t>, Event*> sleepers_;
  asio::io_context home_{1};  // last, since coroutines that it takes with it leave the sleepers
};

}  // namespace lazypull::experiment
