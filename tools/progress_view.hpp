#pragma once

#include "engine/pull_report.hpp"

#include <chrono>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace lazypull {

/// How fast each layer comes, as an average over about the last second.
class Rates {
 public:
  using Clock = std::chrono::steady_clock;

  void sample(const PullReport& report, Clock::time_point now);
  /// Bytes a second; 0 for a layer that was sampled fewer than two times.
  double of(const LayerReport& layer) const;
  double total() const;

 private:
  struct Entry {
    std::uint64_t bytes = 0;
    double rate = 0;
  };
  std::map<const LayerReport*, Entry> entries_;
  Clock::time_point last_{};
};

struct Screen {
  int columns = 80;
  int rows = 24;
};

/// One frame of the live view: a line for what the pull is doing, a line for each layer, and a line of sums.
/// No line is as long as the screen is wide, and there are fewer lines than the screen has rows: where the
/// layers do not fit, those that are done and then those that wait share a line.
std::vector<std::string> render_progress(const PullReport& report, const Rates& rates, Screen screen,
                                         std::chrono::nanoseconds elapsed);

/// What there is to say where lines cannot be drawn anew: one line when the reference is resolved and one
/// when a layer has come to its end.
class PlainProgress {
 public:
  /// The lines that are new since the last call.
  std::vector<std::string> update(const PullReport& report);

 private:
  bool resolved_ = false;
  std::set<const LayerReport*> ended_;
};

}  // namespace lazypull
