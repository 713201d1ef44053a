#pragma once

#include "snapshot/unpack/tar_entry.hpp"

#include <sys/stat.h>
#include <sys/types.h>

#include <array>
#include <ctime>
#include <string>
#include <string_view>

namespace lazypull {

/// The mode bits that an entry may set.
inline constexpr mode_t all_mode_bits = 07777;

/// As they are given to utimensat: access and modification. Times that a file cannot have become the epoch,
/// and the access is not before the modification.
std::array<timespec, 2> file_times(const TarEntry& entry) noexcept;

/// Which extended attributes of archives are set.
struct XattrPolicy {
  bool privileged = true;    ///< false: security.* is left out, and what is not permitted
  bool user_overlay = true;  ///< false: user.overlay.* is left out, because overlayfs gives it a meaning
};

/// Sets an entry's extended attributes on `name` in the open directory `folder`, or on the open file `folder`
/// if `name` is empty. A final symbolic link is not followed. trusted.* is never set, and what the file
/// system cannot hold is left out, as is user.* on files that cannot have it (`type`: S_IFMT bits). `path` is
/// for errors.
void set_xattrs(int folder, std::string_view name, mode_t type, const TarEntry& entry, XattrPolicy policy,
                std::string_view path);

/// The umask of this process, read without changing it; all bits if that is impossible.
mode_t current_umask();

}  // namespace lazypull
