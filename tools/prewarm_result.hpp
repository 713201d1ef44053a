#pragma once

#include "engine/prewarm.hpp"
#include "tools/exit_code.hpp"
#include "tools/prewarm_plan.hpp"

#include <optional>
#include <string>
#include <vector>

namespace lazypull {

/// What came of `lazypull prewarm`.
struct PrewarmResult {
  explicit PrewarmResult(std::vector<PrewarmItem> items) : report(std::move(items)) {}

  PrewarmReport report;
  bool past_deadline = false;
  bool dry_run = false;
  PrewarmPlan plan;                   ///< of a dry run
  std::vector<SpacePreflight> disks;  ///< of a dry run
};

/// 0 if every image is there (or, dry, could be pulled and has room); 124 past the deadline; 8 where the disk
/// is full, has less left than must stay free, or has no room for the plan; else 10 and the number of images
/// that failed, which counts no further than 100.
int prewarm_exit_code(const PrewarmResult& result);

/// A line for each image, the failures, and the sums.
std::string prewarm_text(const PrewarmResult& result);
/// The same as one JSON object with a line end.
std::string prewarm_json(const PrewarmResult& result);

}  // namespace lazypull
