#pragma once

#include "snapshot/remote/remote_layers.hpp"
#include "snapshot/unpack/unique_fd.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace lazypull {

/// Looks at the first blocks of an EROFS or squashfs image: whether it is one, and whether it ends before it
/// says. Throws failed_precondition.
void check_superblock(const UniqueFd& image, LayerFormat format, std::uint64_t size,
                      const std::filesystem::path& name);

/// Mounts an image read-only on an existing directory through a loop device, which goes with the mount.
/// Throws permission_denied without root, failed_precondition for what the kernel refuses.
void mount_image_file(const UniqueFd& image, LayerFormat format, const std::filesystem::path& name,
                      const std::filesystem::path& target);

struct MountedFileSystem {
  std::filesystem::path target;
  std::string type;
  std::string source;
};

/// Those of this process's mount namespace whose target is directly in `folder`, which is free of links.
std::vector<MountedFileSystem> mounts_in(const std::filesystem::path& folder);

/// Of the text of /proc/self/mountinfo (proc(5)), in its order; lines that are not understood are left out.
std::vector<MountedFileSystem> parse_mountinfo(std::string_view text);

}  // namespace lazypull
