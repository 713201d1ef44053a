#pragma once

#include "engine/platform.hpp"
#include "snapshot/embedded/store.hpp"

#include <filesystem>
#include <optional>
#include <string>

namespace lazypull {

struct MountOptions {
  std::optional<Platform> platform;
  bool writable = false;
  bool copy = false;  ///< copy the files, as is done without root
};

/// Makes an image's files visible in a directory and remembers that it has. As root they are mounted: one
/// layer as a bind mount, several by overlayfs, read-only or with an active snapshot to write to; else they
/// are copied. Returns what it has recorded. Throws Error{not_found} for an image that is not unpacked and
/// Error{failed_precondition} where something is in the way.
MountRow mount_image(EmbeddedStore& store, const std::string& image, const std::filesystem::path& directory,
                     const MountOptions& options);

/// Undoes what `mount_image` has done there, and nothing else: Error{not_found} if it was not that.
/// Error{failed_precondition} if files are in use.
MountRow unmount_image(EmbeddedStore& store, const std::filesystem::path& directory);

}  // namespace lazypull
