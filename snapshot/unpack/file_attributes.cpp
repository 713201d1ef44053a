#include "snapshot/unpack/file_attributes.hpp"

#include "snapshot/unpack/file_error.hpp"

#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>

namespace lazypull {
namespace {

/// Go keeps times that files may have in 63 bits of nanoseconds; containerd takes the epoch for all others.
timespec bounded(TarTime time) noexcept {
  constexpr TarTime first{0, 0};
  constexpr TarTime last{9'223'372'036, 854'775'807};
  if (time < first || time > last) return {0, 0};
  return {static_cast<std::time_t>(time.seconds), static_cast<long>(time.nanoseconds)};
}

bool is_left_out(std::string_view name, XattrPolicy policy) noexcept {
  if (name.starts_with("trusted.")) return true;
  if (!policy.privileged && name.starts_with("security.")) return true;
  return !policy.user_overlay && name.starts_with("user.overlay.");
}

bool is_ignored(int error, std::string_view name, mode_t type, XattrPolicy policy) noexcept {
  if (error == ENOTSUP) return true;
  const bool cannot_have_it = type != S_IFREG && type != S_IFDIR && name.starts_with("user.");
  if (error == EPERM && cannot_have_it) return true;
  return !policy.privileged && (error == EPERM || error == EACCES);
}

}  // namespace

std::array<timespec, 2> file_times(const TarEntry& entry) noexcept {
  return {bounded(std::max(entry.accessed, entry.modified)), bounded(entry.modified)};
}

void set_xattrs(int folder, std::string_view name, mode_t type, const TarEntry& entry, XattrPolicy policy,
                std::string_view path) {
  if (entry.xattrs.empty()) return;
  // There is no call that takes a directory and a name; through /proc the name is looked up in that
  // directory.
  std::string place = "/proc/self/fd/" + std::to_string(folder) + "/";
  place += name;
  std::string key;
  for (const auto& xattr : entry.xattrs) {
    if (is_left_out(xattr.name, policy)) continue;
    key = xattr.name;
    const auto& value = xattr.value;
    const int result = name.empty() ? ::fsetxattr(folder, key.c_str(), value.data(), value.size(), 0)
                                    : ::lsetxattr(place.c_str(), key.c_str(), value.data(), value.size(), 0);
    if (result == 0 || is_ignored(errno, key, type, policy)) continue;
    throw_file_error(path, "set attribute " + key, errno);
  }
}

mode_t current_umask() {
  constexpr mode_t unknown = 0777;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    constexpr std::string_view key = "Umask:\t";
    if (!line.starts_with(key)) continue;
    unsigned value = unknown;
    std::from_chars(line.data() + key.size(), line.data() + line.size(), value, 8);
    return value;
  }
  return unknown;
}

}  // namespace lazypull
