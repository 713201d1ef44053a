#include "snapshot/unpack/directory_times.hpp"

#include "snapshot/unpack/file_error.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <fcntl.h>
#include <ranges>

namespace lazypull {
namespace {

bool is_link(int folder, const std::string& base) {
  struct stat info{};
  return ::fstatat(folder, base.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(info.st_mode);
}

bool set_times(int folder, const std::string& base, const std::array<timespec, 2>& times) {
  return ::utimensat(folder, base.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) == 0;
}

void set_times_of_resolved(const ConfinedRoot& root, Folders& folders, std::string_view name,
                           const std::array<timespec, 2>& times) {
  const auto path = root.resolve(name);
  const auto [parent, base] = split_path(path);
  Folder* folder = folders.find(parent);
  if (folder == nullptr) throw_bad_entry(name, "is gone when its times are to be set");
  if (!set_times(folder->get(), base.empty() ? "." : std::string(base), times)) {
    throw_file_error(name, "set times", errno);
  }
}

}  // namespace

void DirectoryTimes::add(std::string_view name, const std::array<timespec, 2>& times,
                         std::optional<mode_t> mode) {
  if (name.size() > limit_ - names_.size()) throw_bad_entry(name, "more directories than allowed");
  directories_.push_back({names_.size(), name.size(), times, mode});
  names_ += name;
}

std::string_view DirectoryTimes::name_of(const Directory& directory) const {
  return std::string_view(names_).substr(directory.offset, directory.size);
}

void DirectoryTimes::apply(const ConfinedRoot& root, Folders& folders, bool replaced) const {
  for (const auto& directory : directories_) {
    const auto name = name_of(directory);
    const auto [parent, base_view] = split_path(name);
    const std::string base(base_view);
    const Folder* folder = folders.find(parent);
    const bool direct = folder != nullptr && !(replaced && is_link(folder->get(), base));
    if (direct && set_times(folder->get(), base, directory.times)) continue;
    set_times_of_resolved(root, folders, name, directory.times);
  }
  // Innermost first: a mode may close a directory for us.
  for (const auto& directory : directories_ | std::views::reverse) {
    if (!directory.mode) continue;
    const auto resolved = root.resolve(name_of(directory));
    const auto descriptor = root.open_directory(resolved);
    if (descriptor && ::fchmod(descriptor.get(), *directory.mode) != 0) {
      throw_file_error(resolved, "chmod", errno);
    }
  }
}

}  // namespace lazypull
