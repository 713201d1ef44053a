#pragma once

#include "tools/disk_space.hpp"
#include "tools/prewarm_rates.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace lazypull {

enum class PrewarmFormat {
  automatic,  ///< YAML where the file's name ends with .yaml or .yml, else lines
  lines,
  yaml,
};

/// `lazypull prewarm …` (docs/prewarm.md), beside the flags that it shares with `pull`.
struct PrewarmCommand {
  std::vector<std::string> files;   ///< lists of images; `-` is standard input
  std::vector<std::string> images;  ///< named on the command line
  PrewarmFormat format = PrewarmFormat::automatic;
  std::size_t max_concurrent_images = 8;
  std::size_t max_concurrent_unpacks = 8;
  std::size_t max_concurrent_downloads_per_registry = 0;
  std::uint64_t max_bytes_in_flight = 0;
  ClassRates class_rates;
  std::string rates_file;  ///< read anew at SIGHUP
  bool fail_fast = false;
  bool dry_run = false;
  std::chrono::nanoseconds deadline{0};
  MinFree min_free;
};

}  // namespace lazypull
