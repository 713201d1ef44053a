#pragma once

#include "tools/disk_space.hpp"

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

namespace lazypull {

/// `lazypull prewarm …` (docs/prewarm.md), beside the flags that it shares with `pull`.
struct PrewarmCommand {
  std::vector<std::string> files;   ///< lists of images; `-` is standard input
  std::vector<std::string> images;  ///< named on the command line
  std::size_t max_concurrent_images = 8;
  std::size_t max_concurrent_unpacks = 4;
  std::size_t max_concurrent_downloads_per_registry = 0;
  bool fail_fast = false;
  bool dry_run = false;
  std::chrono::nanoseconds deadline{0};
  MinFree min_free;
};

}  // namespace lazypull
