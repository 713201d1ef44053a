#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace lazypull {

/// How many requests to a host may be under way at once: additive increase, multiplicative decrease. Halved
/// where the host says that it is too much (429, 503), reduced by a quarter where its throughput falls by
/// more than a third although as much is asked for as before, and one more after each round of requests that
/// went well. Pure: the caller says what time it is.
class AdaptiveLimit {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// `most` is also what it starts with; 0 is no limit.
  explicit AdaptiveLimit(std::size_t most) : most_(most), limit_(most) {}

  /// 0 is no limit.
  std::size_t limit() const noexcept { return limit_; }

  void on_success();
  /// Answers to requests of the same moment count once: for a second nothing further is taken off.
  void on_overload(Time now);
  /// Bytes came while `active` requests were under way.
  void on_bytes(std::uint64_t bytes, std::size_t active, Time now);

 private:
  void judge_window(double rate);
  void reduce_to(std::size_t limit);

  std::size_t most_;
  std::size_t limit_;
  std::size_t successes_ = 0;  // since the limit has changed
  bool overloaded_ = false;
  Time last_overload_{};
  // The window of the throughput that is being measured. Only those count in which the limit was exhausted
  // all the time, since otherwise fewer bytes only mean that fewer were asked for.
  bool measuring_ = false;
  Time window_start_{};
  std::uint64_t window_bytes_ = 0;
  double best_rate_ = 0;  // of late
  std::size_t best_limit_ = 0;
};

}  // namespace lazypull
