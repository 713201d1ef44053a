#pragma once

#include "engine/prewarm.hpp"
#include "tools/progress_view.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace lazypull {

/// How fast all images together come, as an average over about the last second.
class PrewarmRate {
 public:
  void sample(const PrewarmReport& report, Rates::Clock::time_point now);
  double bytes_a_second() const noexcept { return rate_; }

 private:
  std::uint64_t bytes_ = 0;
  double rate_ = 0;
  Rates::Clock::time_point last_{};
};

/// One frame of the live view: a line of totals, and below it a line for each image in progress, as many as
/// there is room for. Fits the screen as render_progress does.
std::vector<std::string> render_prewarm(const PrewarmReport& report, const PrewarmRate& rate, Screen screen,
                                        std::chrono::nanoseconds elapsed);

/// One line an image, once it has ended.
class PlainPrewarm {
 public:
  /// The lines that are new since the last call.
  std::vector<std::string> update(const PrewarmReport& report);

 private:
  std::vector<bool> told_;
  std::size_t count_ = 0;
};

}  // namespace lazypull
