#include "transport/adaptive_limit.hpp"

#include <algorithm>

namespace lazypull {

namespace {

constexpr std::chrono::seconds cool_down{1};
constexpr std::chrono::seconds window{2};
constexpr double tolerated_fall = 0.66;
constexpr double forgetting = 0.95;  // so that an old record is no yardstick for ever
constexpr std::size_t least_by_throughput = 2;

}  // namespace

void AdaptiveLimit::reduce_to(std::size_t limit) {
  limit_ = std::max<std::size_t>(limit, 1);
  successes_ = 0;
  measuring_ = false;
}

void AdaptiveLimit::on_success() {
  if (limit_ >= most_) return;
  if (++successes_ < limit_) return;
  ++limit_;
  successes_ = 0;
  measuring_ = false;
}

void AdaptiveLimit::on_overload(Time now) {
  if (limit_ == 0) return;
  if (overloaded_ && now - last_overload_ < cool_down) return;
  overloaded_ = true;
  last_overload_ = now;
  reduce_to(limit_ / 2);
}

void AdaptiveLimit::on_bytes(std::uint64_t bytes, std::size_t active, Time now) {
  if (limit_ == 0) return;
  if (active < limit_) {
    measuring_ = false;
    return;
  }
  if (!measuring_) {
    measuring_ = true;
    window_start_ = now;
    window_bytes_ = 0;
    return;
  }
  window_bytes_ += bytes;
  const auto elapsed = now - window_start_;
  if (elapsed < window) return;
  const double rate = static_cast<double>(window_bytes_) / std::chrono::duration<double>(elapsed).count();
  window_start_ = now;
  window_bytes_ = 0;
  judge_window(rate);
}

void AdaptiveLimit::judge_window(double rate) {
  const bool fallen = limit_ >= best_limit_ && rate < best_rate_ * tolerated_fall;
  if (fallen && limit_ > least_by_throughput) {
    reduce_to(std::max(limit_ * 3 / 4, least_by_throughput));
    best_rate_ = rate;
    best_limit_ = limit_;
    return;
  }
  best_rate_ *= forgetting;
  if (fallen || rate > best_rate_) {
    best_rate_ = rate;
    best_limit_ = limit_;
  }
}

}  // namespace lazypull
