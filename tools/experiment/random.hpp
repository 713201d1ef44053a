#pragma once

#include <cstdint>

namespace lazypull::experiment {

/// Numbers that are the same for the same seed on every machine and with every standard library (SplitMix64).
class Random {
 public:
  explicit Random(std::uint64_t seed) noexcept : state_(seed) {}

  std::uint64_t next() noexcept {
    state_ += 0x9e3779b97f4a7c15ULL;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31U);
  }
  /// Less than `bound`, which is not 0.
  std::uint64_t below(std::uint64_t bound) noexcept {
    // Numbers of an incomplete last cycle are left out, so that all results are equally likely.
    const std::uint64_t rest = (0 - bound) % bound;
    for (;;) {
      const auto number = next();
      if (number >= rest) return number % bound;
    }
  }
  /// From 0, less than 1.
  double unit() noexcept { return static_cast<double>(next() >> 11U) * 0x1.0p-53; }

 private:
  std::uint64_t state_;
};

}  // namespace lazypull::experiment
