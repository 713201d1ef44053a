#pragma once

#include <cstdint>
#include <filesystem>

namespace lazypull {

/// What files take of the disk.
struct DiskUsage {
  std::uint64_t bytes = 0;   ///< of blocks in use
  std::uint64_t inodes = 0;  ///< files of any kind, each once however many names it has

  friend bool operator==(const DiskUsage&, const DiskUsage&) = default;
};

/// Of a tree with its root, counted as containerd does (continuity's fs.DiskUsage). Follows no symbolic link,
/// also not if the root is one. A directory that may not be read counts without what is in it, and what is
/// deleted meanwhile may count or not. Throws Error.
DiskUsage disk_usage(const std::filesystem::path& root);

}  // namespace lazypull
