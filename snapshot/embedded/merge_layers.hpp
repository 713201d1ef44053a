#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace lazypull {

struct MergedLayers {
  std::uint64_t files = 0;    ///< of any kind, directories included
  std::uint64_t skipped = 0;  ///< devices, which only root can make
};

/// Copies what overlayfs would show of these layers (the topmost first) into an empty directory: whiteouts
/// hide what lies below, and so do opaque directories. Files share their blocks with the layers where the
/// file system can do that, and not their contents ever after. Owners, and attributes of which the kernel
/// does not let this process make use, are left out without root. Blocking. Throws Error{failed_precondition}
/// if the directory is not empty.
MergedLayers merge_layers(const std::vector<std::filesystem::path>& layers,
                          const std::filesystem::path& target);

}  // namespace lazypull
