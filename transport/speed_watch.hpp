#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace lazypull {

/// Finds out whether a body comes more slowly than it must. Only the time spent waiting for bytes counts, so
/// that a reader which is held back blames nobody else. Pure.
class SpeedWatch {
 public:
  using Duration = std::chrono::steady_clock::duration;

  /// Of every `window` of waiting the mean is to be `bytes_per_second`; 0 is no limit.
  SpeedWatch(std::uint64_t bytes_per_second, Duration window) : rate_(bytes_per_second), window_(window) {}

  bool limited() const noexcept { return rate_ > 0; }
  std::uint64_t rate() const noexcept { return rate_; }
  Duration window() const noexcept { return window_; }

  /// How long the next bytes may take at most: without them it is too slow by then.
  Duration patience() const noexcept;
  /// Bytes have come after a wait. False if that was too slow.
  bool note(std::size_t bytes, Duration waited) noexcept;

 private:
  Duration time_for_bytes() const noexcept;

  std::uint64_t rate_;
  Duration window_;
  Duration waited_{0};
  std::uint64_t bytes_ = 0;
};

}  // namespace lazypull
