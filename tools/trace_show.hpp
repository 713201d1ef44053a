#pragma once

#include "tools/trace_file.hpp"

#include <chrono>
#include <cstddef>
#include <string>

namespace lazypull {

struct WaterfallOptions {
  std::size_t columns = 100;  ///< of the screen; at least 60 are used
  bool colour = false;
  bool critical_only = false;
  std::chrono::nanoseconds shortest{0};  ///< shorter events are left out
};

/// A line for each event, in the order in which they began: name, object, duration, and a bar where it lies
/// in the whole. The critical path is marked with `*` and has bars of `#`, failures are marked with `!`. No
/// line is longer than the screen is wide.
std::string render_waterfall(const TraceFile& file, const WaterfallOptions& options);

}  // namespace lazypull
