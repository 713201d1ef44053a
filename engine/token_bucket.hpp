#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace lazypull {

/// Limits bytes a second. Pure: the caller says what time it is, and waits. What has been read cannot be
/// unread, so bytes are taken at once and paid for afterwards; a tenth of a second's worth may be saved up.
class TokenBucket {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  /// 0 is no limit.
  TokenBucket(std::uint64_t bytes_per_second, Time now) : rate_(bytes_per_second), since_(now) {}

  /// Takes the bytes; how long whoever took them must wait before going on.
  Duration take(std::uint64_t bytes, Time now);
  /// For what is taken from now on; debts are paid at the new rate.
  void set_rate(std::uint64_t bytes_per_second, Time now);

  bool limited() const noexcept { return rate_ > 0; }
  /// How much to take at once so that waits are short: from 1 KiB to 256 KiB.
  std::size_t piece() const noexcept;

 private:
  void settle(Time now);

  std::uint64_t rate_;
  double balance_ = 0;  // bytes; negative is a debt
  Time since_;
};

}  // namespace lazypull
