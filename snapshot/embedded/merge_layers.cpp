#include "snapshot/embedded/merge_layers.hpp"

#include "engine/error.hpp"
#include "snapshot/embedded/files.hpp"

#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <linux/fs.h>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unistd.h>
#include <utility>

namespace lazypull {

namespace {

namespace fs = std::filesystem;

/// One name of one layer.
struct Entry {
  fs::path path;
  struct ::stat status{};
};

/// Empty if there is no such attribute, or none at all on this file system.
std::string attribute(const fs::path& file, const char* name) {
  std::string value(1024, '\0');
  for (;;) {
    const auto size = ::lgetxattr(file.c_str(), name, value.data(), value.size());
    if (size >= 0) {
      value.resize(static_cast<std::size_t>(size));
      return value;
    }
    if (errno != ERANGE) return {};
    value.resize(value.size() * 64);
  }
}

bool has_attribute(const fs::path& file, const char* name) {
  return ::lgetxattr(file.c_str(), name, nullptr, 0) >= 0;
}

bool is_whiteout(const Entry& entry) {
  if (S_ISCHR(entry.status.st_mode) && entry.status.st_rdev == 0) return true;
  if (!S_ISREG(entry.status.st_mode) || entry.status.st_size != 0) return false;
  return has_attribute(entry.path, "trusted.overlay.whiteout") ||
         has_attribute(entry.path, "user.overlay.whiteout");
}

bool is_opaque(const fs::path& directory) {
  return attribute(directory, "trusted.overlay.opaque") == "y" ||
         attribute(directory, "user.overlay.opaque") == "y";
}

std::vector<std::string> attribute_names(const fs::path& file) {
  std::string list(4096, '\0');
  for (;;) {
    const auto size = ::llistxattr(file.c_str(), list.data(), list.size());
    if (size >= 0) {
      list.resize(static_cast<std::size_t>(size));
      break;
    }
    if (errno != ERANGE) return {};
    list.resize(list.size() * 16);
  }
  std::vector<std::string> names;
  std::string_view rest(list);
  while (!rest.empty()) {
    const auto end = std::min(rest.find('\0'), rest.size());
    names.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return names;
}

/// What is overlayfs's own business is not the merged file's.
void copy_attributes(const fs::path& from, const fs::path& to) {
  for (const auto& name : attribute_names(from)) {
    if (name.starts_with("trusted.overlay.") || name.starts_with("user.overlay.")) continue;
    const auto value = attribute(from, name.c_str());
    if (::lsetxattr(to.c_str(), name.c_str(), value.data(), value.size(), 0) == 0) continue;
    if (errno != EPERM && errno != ENOTSUP && errno != EACCES) {
      throw_errno("set attribute " + name + " of " + to.string());
    }
  }
}

class Merger {
 public:
  MergedLayers run(std::vector<fs::path> layers, const fs::path& target) {
    merge_directory(std::move(layers), target);
    return merged_;
  }

 private:
  /// `sources` are the directories of this name that show, topmost first; at least one.
  void merge_directory(std::vector<fs::path> sources, const fs::path& target) {
    cut_below_opaque(sources);
    std::set<std::string> seen;
    for (std::size_t i = 0; i < sources.size(); ++i) {
      for (const auto& name : names_in(sources[i])) {
        if (!seen.insert(name).second) continue;
        const auto entry = entry_at(sources[i] / name);
        if (is_whiteout(entry)) continue;
        if (S_ISDIR(entry.status.st_mode)) {
          make_directory(target / name);
          merge_directory(directories_from(sources, i, name), target / name);
        } else {
          copy(entry, target / name);
        }
      }
    }
    finish(entry_at(sources.front()), target);
  }

  static void cut_below_opaque(std::vector<fs::path>& sources) {
    for (std::size_t i = 0; i + 1 < sources.size(); ++i) {
      if (is_opaque(sources[i])) sources.resize(i + 1);
    }
  }

  static Entry entry_at(fs::path path) {
    auto status = stat_of(path);
    if (!status) throw Error(Errc::not_found, path.string() + " has vanished");
    return {.path = std::move(path), .status = *status};
  }

  /// From layer `first` down, until something that is no directory hides what lies below.
  static std::vector<fs::path> directories_from(const std::vector<fs::path>& sources, std::size_t first,
                                                const std::string& name) {
    std::vector<fs::path> directories;
    for (std::size_t i = first; i < sources.size(); ++i) {
      auto path = sources[i] / name;
      const auto status = stat_of(path);
      if (!status) continue;
      if (!S_ISDIR(status->st_mode)) break;
      directories.push_back(std::move(path));
    }
    return directories;
  }

  static void make_directory(const fs::path& target) {
    // Its own mode might keep us out; it gets that at the end.
    if (::mkdir(target.c_str(), 0700) != 0) throw_errno("mkdir " + target.string());
  }

  void copy(const Entry& entry, const fs::path& target) {
    const auto& status = entry.status;
    const std::pair identity(status.st_dev, status.st_ino);
    if (status.st_nlink > 1) {
      if (const auto found = links_.find(identity); found != links_.end()) {
        if (::link(found->second.c_str(), target.c_str()) != 0) throw_errno("link " + target.string());
        return;
      }
    }
    if (!make(entry, target)) {
      ++merged_.skipped;
      return;
    }
    if (status.st_nlink > 1) links_.emplace(identity, target);
    finish(entry, target);
  }

  /// False for a device, which this process must not make.
  static bool make(const Entry& entry, const fs::path& target) {
    const auto mode = entry.status.st_mode;
    if (S_ISREG(mode)) {
      copy_bytes(entry, target);
    } else if (S_ISLNK(mode)) {
      const auto text = fs::read_symlink(entry.path);
      if (::symlink(text.c_str(), target.c_str()) != 0) throw_errno("symlink " + target.string());
    } else if (::mknod(target.c_str(), (mode & S_IFMT) | 0600U, entry.status.st_rdev) != 0) {
      if (errno == EPERM) return false;
      throw_errno("mknod " + target.string());
    }
    return true;
  }

  static void copy_bytes(const Entry& entry, const fs::path& target) {
    const auto from = open_file(entry.path, O_RDONLY | O_NOFOLLOW);
    const auto to = open_file(target, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (::ioctl(to.get(), FICLONE, from.get()) == 0) return;
    auto left = static_cast<std::uint64_t>(entry.status.st_size);
    while (left > 0) {
      const auto moved = ::copy_file_range(from.get(), nullptr, to.get(), nullptr, left, 0);
      if (moved <= 0) break;
      left -= static_cast<std::uint64_t>(moved);
    }
    if (left > 0)
      copy_through_memory(from, to, static_cast<std::uint64_t>(entry.status.st_size) - left, target);
  }

  static void copy_through_memory(const UniqueFd& from, const UniqueFd& to, std::uint64_t offset,
                                  const fs::path& target) {
    std::vector<std::byte> buffer(1U << 20U);
    for (;;) {
      const auto got = read_at(from, buffer, offset, target);
      if (got == 0) return;
      write_at(to, std::span(buffer).first(got), offset, target);
      offset += got;
    }
  }

  void finish(const Entry& entry, const fs::path& target) {
    const auto& status = entry.status;
    ++merged_.files;
    if (::lchown(target.c_str(), status.st_uid, status.st_gid) != 0 && errno != EPERM) {
      throw_errno("chown " + target.string());
    }
    copy_attributes(entry.path, target);
    if (!S_ISLNK(status.st_mode) && ::chmod(target.c_str(), status.st_mode & 07777U) != 0) {
      throw_errno("chmod " + target.string());
    }
    const std::array<::timespec, 2> times{status.st_atim, status.st_mtim};
    if (::utimensat(AT_FDCWD, target.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) != 0) {
      throw_errno("set the times of " + target.string());
    }
  }

  MergedLayers merged_;
  std::map<std::pair<::dev_t, ::ino_t>, fs::path> links_;
};

}  // namespace

MergedLayers merge_layers(const std::vector<fs::path>& layers, const fs::path& target) {
  if (!names_in(target).empty()) {
    throw Error(Errc::failed_precondition, target.string() + " is not empty");
  }
  if (layers.empty()) return {};
  return Merger().run(layers, target);
}

}  // namespace lazypull
