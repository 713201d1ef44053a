#include "engine/token_bucket.hpp"

#include <algorithm>

namespace lazypull {

namespace {

constexpr double savings_seconds = 0.1;
constexpr std::uint64_t pieces_per_second = 20;

}  // namespace

void TokenBucket::settle(Time now) {
  const double seconds = std::chrono::duration<double>(now - since_).count();
  since_ = std::max(since_, now);
  if (seconds <= 0) return;
  const auto rate = static_cast<double>(rate_);
  balance_ = std::min(balance_ + seconds * rate, savings_seconds * rate);
}

TokenBucket::Duration TokenBucket::take(std::uint64_t bytes, Time now) {
  if (!limited()) return Duration{0};
  settle(now);
  balance_ -= static_cast<double>(bytes);
  if (balance_ >= 0) return Duration{0};
  const std::chrono::duration<double> debt(-balance_ / static_cast<double>(rate_));
  return std::chrono::ceil<Duration>(debt);
}

void TokenBucket::set_rate(std::uint64_t bytes_per_second, Time now) {
  settle(now);
  if (rate_ == 0 || bytes_per_second == 0) balance_ = 0;
  rate_ = bytes_per_second;
  balance_ = std::min(balance_, savings_seconds * static_cast<double>(rate_));
}

std::size_t TokenBucket::piece() const noexcept {
  constexpr std::uint64_t least = 1U << 10U;
  constexpr std::uint64_t most = 256U << 10U;
  if (!limited()) return most;
  return static_cast<std::size_t>(std::clamp(rate_ / pieces_per_second, least, most));
}

}  // namespace lazypull
