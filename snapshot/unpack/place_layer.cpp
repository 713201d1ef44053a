#include "snapshot/unpack/place_layer.hpp"

#include "engine/error.hpp"
#include "snapshot/unpack/remove_tree.hpp"
#include "snapshot/unpack/unique_fd.hpp"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string_view>
#include <unistd.h>

namespace lazypull {
namespace {

[[noreturn]] void fail(const std::string& what, int error) {
  const bool full = error == ENOSPC || error == EDQUOT;
  const bool denied = error == EACCES || error == EPERM;
  const auto code = full ? Errc::out_of_space : denied ? Errc::permission_denied : Errc::internal;
  throw Error(code, what + ": " + std::strerror(error));
}

UniqueFd open_directory(const std::string& path, int flags) {
  UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags));
  if (!directory) fail("open " + path, errno);
  return directory;
}

/// Resolves `path` as if `root` were the root directory. Invalid, with errno set, if there is nothing.
UniqueFd open_below(int root, const std::string& path) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  return UniqueFd(static_cast<int>(::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how)));
}

std::string proc_path(int descriptor) {
  return "/proc/self/fd/" + std::to_string(descriptor);
}

void copy_attributes(const UniqueFd& from, const UniqueFd& to, const std::string& path, int flags) {
  // Descriptors that only name a path have no f*xattr calls.
  const std::string source = proc_path(from.get());
  const std::string target = proc_path(to.get());
  std::vector<char> names(64U << 10U);
  const auto length = ::listxattr(source.c_str(), names.data(), names.size());
  if (length < 0 && errno != ENOTSUP) fail("list attributes of " + path, errno);
  std::vector<char> value(64U << 10U);
  for (std::ptrdiff_t at = 0; at < length;) {
    const std::string name(names.data() + at);
    at += static_cast<std::ptrdiff_t>(name.size()) + 1;
    if (name.starts_with("trusted.") || name.starts_with("user.overlay.")) continue;
    const auto size = ::getxattr(source.c_str(), name.c_str(), value.data(), value.size());
    if (size < 0) continue;
    const int set =
        ::setxattr(target.c_str(), name.c_str(), value.data(), static_cast<std::size_t>(size), flags);
    const bool harmless = errno == ENOTSUP || errno == EPERM || errno == EEXIST;
    if (set != 0 && !harmless)
      fail(std::string("set attribute ").append(name).append(" of ").append(path), errno);
  }
}

/// The folder in the highest layer that has it. Invalid if none has, or if it is something else there.
UniqueFd folder_below(const std::vector<UniqueFd>& lower, const std::string& path, struct stat& info) {
  for (const auto& layer : lower) {
    UniqueFd below = open_below(layer.get(), path);
    if (!below && errno == ENOENT) continue;
    if (!below) fail("look for " + path + " in a layer below", errno);
    if (::fstat(below.get(), &info) != 0) fail("stat " + path, errno);
    if (!S_ISDIR(info.st_mode)) break;
    return below;
  }
  return {};
}

/// One folder that no entry named: as it is below, but with the time at which it was made.
void inherit(int root, const std::vector<UniqueFd>& lower, const std::string& path) {
  struct stat info{};
  const UniqueFd below = folder_below(lower, path, info);
  if (!below) return;
  const UniqueFd own = open_below(root, path);
  if (!own) fail("open " + path, errno);
  const std::string target = proc_path(own.get());
  if (::geteuid() == 0 && ::chown(target.c_str(), info.st_uid, info.st_gid) != 0) {
    fail("chown " + path, errno);
  }
  copy_attributes(below, own, path, 0);
  if (::chmod(target.c_str(), info.st_mode & 07777U) != 0) fail("chmod " + path, errno);
}

void inherit_attributes(int root, const std::vector<UniqueFd>& lower, const std::string& path) {
  struct stat info{};
  const UniqueFd below = folder_below(lower, path, info);
  const UniqueFd own = open_below(root, path);
  if (below && own) copy_attributes(below, own, path, XATTR_CREATE);
}

/// A layer that hides everything below it says so with an attribute of its root.
void carry_opaque(const UniqueFd& from, const UniqueFd& to, bool user_xattr, const std::string& path) {
  const char* name = user_xattr ? "user.overlay.opaque" : "trusted.overlay.opaque";
  std::array<char, 8> value{};
  const auto size = ::fgetxattr(from.get(), name, value.data(), value.size());
  if (size < 0) return;
  if (::fsetxattr(to.get(), name, value.data(), static_cast<std::size_t>(size), 0) != 0) {
    fail("make " + path + " opaque", errno);
  }
}

std::vector<std::string> split(std::string_view text, char by) {
  std::vector<std::string> parts;
  for (;;) {
    const auto end = text.find(by);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

/// Options that do not change what a file in the upperdir means.
bool is_harmless(std::string_view option) {
  static constexpr std::array plain{"rw",       "bind",    "rbind",    "index=off", "index=on",
                                    "volatile", "xino=on", "xino=off", "xino=auto", "nosuid",
                                    "nodev",    "noatime", "relatime"};
  return std::ranges::find(plain, option) != plain.end() || option.starts_with("workdir=");
}

}  // namespace

std::optional<SnapshotPlace> snapshot_place(const std::vector<Mount>& mounts) {
  if (mounts.size() != 1) return std::nullopt;
  const auto& mount = mounts.front();
  SnapshotPlace place;
  if (mount.type == "bind") {
    place.directory = mount.source;
  } else if (mount.type == "overlay") {
    place.overlay = true;
  } else {
    return std::nullopt;
  }
  for (const std::string_view option : mount.options) {
    if (place.overlay && option.starts_with("upperdir=")) {
      place.directory = option.substr(9);
    } else if (place.overlay && option.starts_with("lowerdir=")) {
      place.lower = split(option.substr(9), ':');
    } else if (place.overlay && option == "userxattr") {
      place.user_xattr = true;
    } else if (!is_harmless(option)) {
      return std::nullopt;
    }
  }
  const auto is_absolute = [](const std::string& path) { return path.starts_with('/'); };
  if (!is_absolute(place.directory) || !std::ranges::all_of(place.lower, is_absolute)) return std::nullopt;
  return place;
}

bool place_layer(const std::string& from, const SnapshotPlace& to,
                 const std::vector<std::string>& implicit_directories,
                 const std::vector<std::string>& named_later) {
  const UniqueFd source = open_directory(from, O_NOFOLLOW);
  const UniqueFd target(::open(to.directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!target) return false;  // the snapshotter's folders are not ours to see
  struct stat here{};
  struct stat there{};
  if (::fstat(source.get(), &here) != 0 || ::fstat(target.get(), &there) != 0) fail("stat " + from, errno);
  if (here.st_dev != there.st_dev || !names_in(target.get(), to.directory).empty()) return false;

  std::vector<UniqueFd> lower;
  if (!implicit_directories.empty() || !named_later.empty()) {
    // overlayfs follows links to its layers, and a snapshotter may have them.
    for (const auto& layer : to.lower) lower.push_back(open_directory(layer, 0));
  }
  for (const auto& path : implicit_directories) inherit(source.get(), lower, path);
  for (const auto& path : named_later) inherit_attributes(source.get(), lower, path);
  carry_opaque(source, target, to.user_xattr, to.directory);
  for (const auto& name : names_in(source.get(), from)) {
    if (::renameat(source.get(), name.c_str(), target.get(), name.c_str()) != 0) {
      fail("move " + name + " into the snapshot", errno);
    }
  }
  return true;
}

}  // namespace lazypull
