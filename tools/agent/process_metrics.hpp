#pragma once

#include <cstdint>

namespace lazypull {

/// What this process uses, from /proc. What cannot be read is 0.
struct ProcessUsage {
  double cpu_seconds = 0;  ///< user and system
  std::uint64_t resident_bytes = 0;
  std::uint64_t virtual_bytes = 0;
  std::uint64_t open_fds = 0;
  std::uint64_t max_fds = 0;
  std::uint64_t threads = 0;
};

ProcessUsage process_usage();

}  // namespace lazypull
