#include "snapshot/unpack/remove_tree.hpp"

#include "snapshot/unpack/file_error.hpp"
#include "snapshot/unpack/unique_fd.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace lazypull {
namespace {

struct CloseDirectory {
  void operator()(DIR* stream) const noexcept { ::closedir(stream); }
};

struct Level {
  std::string name;
  dev_t device;
  ino_t inode;
};

UniqueFd open_directory(int folder, const char* name, const std::string& path) {
  UniqueFd opened(::openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!opened) throw_file_error(path, "open to remove", errno);
  return opened;
}

struct stat status_of(int descriptor, const std::string& path) {
  struct stat info{};
  if (::fstat(descriptor, &info) != 0) throw_file_error(path, "stat", errno);
  return info;
}

/// Calls `visit` with the names in a directory until it returns false.
template <class Visit>
void for_each_name(int directory, const std::string& path, Visit visit) {
  const int copy = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) throw_file_error(path, "open to list", errno);
  const std::unique_ptr<DIR, CloseDirectory> stream(::fdopendir(copy));
  if (!stream) throw_file_error(path, "list", errno);
  for (;;) {
    errno = 0;
    // readdir is only unsafe where threads share the stream. NOLINTNEXTLINE(concurrency-mt-unsafe)
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr && errno != 0) throw_file_error(path, "list", errno);
    if (entry == nullptr) return;
    const std::string_view name = entry->d_name;
    if (name != "." && name != ".." && !visit(entry->d_name)) return;
  }
}

/// Unlinks what is no directory; the name of the first directory that it meets.
std::optional<std::string> unlink_files(int directory, const std::string& path) {
  std::optional<std::string> inner;
  for_each_name(directory, path, [&](const char* name) {
    if (::unlinkat(directory, name, 0) == 0) return true;
    if (errno != EISDIR && errno != EPERM) throw_file_error(path, "remove", errno);
    inner = name;
    return false;
  });
  return inner;
}

}  // namespace

void remove_tree(int folder, const std::string& name, const std::string& path) {
  if (::unlinkat(folder, name.c_str(), 0) == 0) return;
  if (errno != EISDIR && errno != EPERM) throw_file_error(path, "remove", errno);
  if (::unlinkat(folder, name.c_str(), AT_REMOVEDIR) == 0) return;
  if (errno != ENOTEMPTY && errno != EEXIST) throw_file_error(path, "remove", errno);

  UniqueFd directory = open_directory(folder, name.c_str(), path);
  std::vector<Level> above;  // the directories between `name`, included, and the open one
  for (;;) {
    if (auto inner = unlink_files(directory.get(), path)) {
      if (::unlinkat(directory.get(), inner->c_str(), AT_REMOVEDIR) == 0) continue;
      if (errno != ENOTEMPTY && errno != EEXIST) throw_file_error(path, "remove", errno);
      const auto here = status_of(directory.get(), path);
      directory = open_directory(directory.get(), inner->c_str(), path);
      above.push_back({*std::move(inner), here.st_dev, here.st_ino});
      continue;
    }
    if (above.empty()) break;
    const Level level = std::move(above.back());
    above.pop_back();
    directory = open_directory(directory.get(), "..", path);
    const auto here = status_of(directory.get(), path);
    const bool moved = here.st_dev != level.device || here.st_ino != level.inode;
    if (moved) throw_bad_entry(path, "somebody else moves directories of the layer");
    if (::unlinkat(directory.get(), level.name.c_str(), AT_REMOVEDIR) != 0) {
      throw_file_error(path, "remove", errno);
    }
  }
  if (::unlinkat(folder, name.c_str(), AT_REMOVEDIR) != 0) throw_file_error(path, "remove", errno);
}

std::vector<std::string> names_in(int directory, const std::string& path) {
  std::vector<std::string> names;
  for_each_name(directory, path, [&](const char* name) {
    names.emplace_back(name);
    return true;
  });
  return names;
}

}  // namespace lazypull
