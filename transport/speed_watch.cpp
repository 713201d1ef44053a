#include "transport/speed_watch.hpp"

#include <algorithm>

namespace lazypull {

SpeedWatch::Duration SpeedWatch::time_for_bytes() const noexcept {
  constexpr double longest_seconds = 1e9;
  const double seconds = static_cast<double>(bytes_) / static_cast<double>(rate_);
  return std::chrono::duration_cast<Duration>(
      std::chrono::duration<double>(std::min(seconds, longest_seconds)));
}

SpeedWatch::Duration SpeedWatch::patience() const noexcept {
  return std::max(window_, time_for_bytes()) - waited_;
}

bool SpeedWatch::note(std::size_t bytes, Duration waited) noexcept {
  if (!limited()) return true;
  bytes_ += bytes;
  waited_ += waited;
  if (waited_ < window_) return true;
  const bool fast_enough = time_for_bytes() >= waited_;
  bytes_ = 0;
  waited_ = {};
  return fast_enough;
}

}  // namespace lazypull
