#pragma once

#include "tools/trace_file.hpp"

#include <vector>

namespace lazypull {

/// Which events the whole duration hangs on. From the end of each one backwards: the child that ended last
/// before is on the path, then what ended last before that one began, and so on. An event that is a wait
/// ("wait for …") leads to what it has waited for: the event about the same object that ended when it did.
std::vector<bool> critical_path(const TraceFile& file);

}  // namespace lazypull
