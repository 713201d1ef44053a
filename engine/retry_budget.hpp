#pragma once

#include "engine/error.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>

namespace lazypull {

/// How often one pull may try again, all its requests together, so that many layers which each are patient do
/// not add up to a pull that never ends. What comes earns retries back, one for every 64 KiB and never more
/// than there were in the beginning: a long download over a bad line may break as often as it likes while it
/// gets on. Pure.
class RetryBudget {
 public:
  static constexpr std::size_t default_retries = 100;
  static constexpr std::uint64_t bytes_per_retry = 64U << 10U;

  explicit RetryBudget(std::size_t retries = default_retries) : most_(retries), left_(retries) {}

  /// Takes one; false if none is left.
  bool take() noexcept;
  void earn(std::uint64_t bytes) noexcept;

  std::size_t most() const noexcept { return most_; }
  std::size_t left() const noexcept { return left_; }
  /// The failure that there was no retry left for, which it names.
  Error spent(const Error& failure) const;

 private:
  std::size_t most_;
  std::size_t left_;
  std::uint64_t earned_bytes_ = 0;  // of the next retry
};

/// How the download of one blob goes on after its connection has broken. Pure.
class DownloadRetry {
 public:
  static constexpr int max_fruitless = 3;  ///< in a row
  /// A connection that has brought so much was none that failed: trying again costs nothing.
  static constexpr std::uint64_t fruitful_bytes = 4U << 10U;

  /// `budget` must outlive it.
  explicit DownloadRetry(RetryBudget& budget) : budget_(budget) {}

  /// Bytes have come.
  void progress(std::uint64_t bytes) noexcept {
    brought(bytes);
    budget_.earn(bytes);
  }
  /// Bytes have come for which somebody else earns.
  void brought(std::uint64_t bytes) noexcept { gained_ += bytes; }
  /// How long to wait before trying again. Rethrows `broken` where that does not help, or too often has not
  /// helped; throws it with the budget's name where that is spent.
  std::chrono::milliseconds pause_after(const std::exception_ptr& broken);

 private:
  RetryBudget& budget_;
  std::uint64_t gained_ = 0;  // by the last connection
  int fruitless_ = 0;
};

}  // namespace lazypull
