#include "snapshot/embedded/files.hpp"

#include "engine/error.hpp"

#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <system_error>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <dirent.h>
#include <exception>
#include <fcntl.h>
#include <limits>
#include <linux/openat2.h>
#include <memory>
#include <unistd.h>

namespace lazypull {

void throw_errno(const std::string& what) {
  const auto failure = std::make_exception_ptr(std::system_error(errno, std::generic_category(), what));
  throw as_error(failure);
}

std::string random_name() {
  std::array<unsigned char, 16> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<::ssize_t>(bytes.size())) {
    throw_errno("getrandom");
  }
  constexpr std::string_view digits = "0123456789abcdef";
  std::string name;
  for (const unsigned char byte : bytes) {
    name += digits[byte >> 4U];
    name += digits[byte & 0x0fU];
  }
  return name;
}

UniqueFd open_file(const std::filesystem::path& file, int flags, ::mode_t mode) {
  UniqueFd descriptor(::open(file.c_str(), flags | O_CLOEXEC, mode));
  if (!descriptor) throw_errno("open " + file.string());
  return descriptor;
}

std::optional<struct ::stat> stat_of(const std::filesystem::path& file) {
  struct ::stat status{};
  if (::lstat(file.c_str(), &status) == 0) return status;
  if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
  throw_errno("stat " + file.string());
}

void make_directory_with_mode(const std::filesystem::path& directory, ::mode_t mode) {
  if (::mkdir(directory.c_str(), mode) != 0) throw_errno("mkdir " + directory.string());
  if (::chmod(directory.c_str(), mode) != 0) throw_errno("chmod " + directory.string());
}

bool lock_file(const UniqueFd& file, bool wait, const std::filesystem::path& name) {
  for (;;) {
    if (::flock(file.get(), wait ? LOCK_EX : LOCK_EX | LOCK_NB) == 0) return true;
    if (errno == EWOULDBLOCK) return false;
    if (errno != EINTR) throw_errno("lock " + name.string());
  }
}

void write_at(const UniqueFd& file, std::span<const std::byte> bytes, std::uint64_t offset,
              const std::filesystem::path& name) {
  while (!bytes.empty()) {
    const auto written = ::pwrite(file.get(), bytes.data(), bytes.size(), static_cast<::off_t>(offset));
    if (written < 0) {
      if (errno == EINTR) continue;
      throw_errno("write " + name.string());
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
  }
}

std::size_t read_at(const UniqueFd& file, std::span<std::byte> into, std::uint64_t offset,
                    const std::filesystem::path& name) {
  std::size_t done = 0;
  while (done < into.size()) {
    const auto got =
        ::pread(file.get(), into.data() + done, into.size() - done, static_cast<::off_t>(offset + done));
    if (got < 0) {
      if (errno == EINTR) continue;
      throw_errno("read " + name.string());
    }
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

std::string read_text(const std::filesystem::path& file, std::uint64_t limit) {
  const auto descriptor = open_file(file, O_RDONLY);
  struct ::stat status{};
  if (::fstat(descriptor.get(), &status) != 0) throw_errno("stat " + file.string());
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > limit) {
    throw Error(Errc::size_mismatch, file.string() + " has " + std::to_string(size) + " bytes, more than " +
                                         std::to_string(limit));
  }
  std::string text(static_cast<std::size_t>(size), '\0');
  text.resize(read_at(descriptor, std::as_writable_bytes(std::span(text)), 0, file));
  return text;
}

void replace_text(const std::filesystem::path& file, std::string_view text) {
  auto beside = file;
  beside += "." + random_name();
  {
    const auto descriptor = open_file(beside, O_WRONLY | O_CREAT | O_EXCL, 0644);
    write_at(descriptor, std::as_bytes(std::span(text)), 0, beside);
  }
  if (::rename(beside.c_str(), file.c_str()) == 0) return;
  const int number = errno;
  ::unlink(beside.c_str());
  errno = number;
  throw_errno("rename " + beside.string() + " to " + file.string());
}

namespace {

struct CloseDirectory {
  void operator()(::DIR* directory) const noexcept { ::closedir(directory); }
};
using Directory = std::unique_ptr<::DIR, CloseDirectory>;

std::vector<std::string> names_of(::DIR* directory) {
  std::vector<std::string> names;
  while (const ::dirent* entry = ::readdir(directory)) {
    const std::string_view name(static_cast<const char*>(entry->d_name));
    if (name != "." && name != "..") names.emplace_back(name);
  }
  std::ranges::sort(names);
  return names;
}

}  // namespace

std::vector<std::string> names_in(const std::filesystem::path& directory) {
  const Directory stream(::opendir(directory.c_str()));
  if (!stream) {
    if (errno == ENOENT) return {};
    throw_errno("list " + directory.string());
  }
  return names_of(stream.get());
}

namespace {

/// An image may nest directories deeper than this process may have files open, so what lies too deep is moved
/// up to the top of the tree, and deleted from there.
class TreeRemover {
 public:
  explicit TreeRemover(std::filesystem::path victim) : victim_(std::move(victim)) {}

  Removed run() {
    const auto parent_path = victim_.has_parent_path() ? victim_.parent_path() : std::filesystem::path(".");
    const UniqueFd parent(::open(parent_path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!parent) {
      if (errno == ENOENT) return {};
      throw_errno("open " + parent_path.string());
    }
    const std::string name = victim_.filename();
    struct ::stat status{};
    if (::fstatat(parent.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return {};
      throw_errno("stat " + victim_.string());
    }
    if (S_ISDIR(status.st_mode)) {
      top_ = open_directory(parent.get(), name);
      if (!top_) return removed_;
      do {
        moved_up_ = false;
        empty(top_.get(), 0);
      } while (moved_up_);
    }
    remove_entry(parent.get(), name, status);
    return removed_;
  }

 private:
  static constexpr int deepest = 100;

  /// Empty if it is gone: another process may be deleting the same tree. Whatever is mounted there, also if
  /// it is of the same file system, is not ours to delete.
  UniqueFd open_directory(int parent, const std::string& name) const {
    auto directory = try_open(parent, name);
    if (!directory && errno == EACCES && ::fchmodat(parent, name.c_str(), 0700, 0) == 0) {
      directory = try_open(parent, name);
    }
    if (!directory && errno == EXDEV) {
      throw Error(Errc::failed_precondition,
                  "delete " + victim_.string() + ": something is mounted on " + name);
    }
    if (!directory && errno != ENOENT) fail("open", name);
    return directory;
  }

  static UniqueFd try_open(int parent, const std::string& name) {
    ::open_how how{};
    how.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    how.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS;
    return UniqueFd(static_cast<int>(::syscall(SYS_openat2, parent, name.c_str(), &how, sizeof how)));
  }

  void empty(int directory, int depth) {
    const int copy = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const Directory stream(copy >= 0 ? ::fdopendir(copy) : nullptr);
    if (!stream) fail("list", ".");
    const auto names = names_of(stream.get());
    if (!names.empty()) ::fchmod(directory, 0700);  // without root its entries could not be removed else
    for (const auto& name : names) {
      struct ::stat status{};
      if (::fstatat(directory, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) continue;
        fail("stat", name);
      }
      if (S_ISDIR(status.st_mode) && !remove_directory(directory, name, depth)) continue;
      remove_entry(directory, name, status);
    }
  }

  /// False if it was moved instead.
  bool remove_directory(int parent, const std::string& name, int depth) {
    const auto child = open_directory(parent, name);
    if (!child) return true;
    if (depth >= deepest) {
      const auto place = random_name();
      if (::renameat(parent, name.c_str(), top_.get(), place.c_str()) != 0) fail("move", name);
      moved_up_ = true;
      return false;
    }
    empty(child.get(), depth + 1);
    return true;
  }

  void remove_entry(int parent, const std::string& name, const struct ::stat& status) {
    const int flags = S_ISDIR(status.st_mode) ? AT_REMOVEDIR : 0;
    if (::unlinkat(parent, name.c_str(), flags) != 0) {
      if (errno == ENOENT) return;
      fail("remove", name);
    }
    count(status);
  }

  void count(const struct ::stat& status) {
    ++removed_.files;
    if (S_ISDIR(status.st_mode) || status.st_nlink <= 1) {
      removed_.bytes += static_cast<std::uint64_t>(status.st_blocks) * 512;
    }
  }

  [[noreturn]] void fail(const char* what, const std::string& name) const {
    throw_errno("delete " + victim_.string() + ": " + what + " " + name);
  }

  std::filesystem::path victim_;
  UniqueFd top_;
  Removed removed_;
  bool moved_up_ = false;
};

}  // namespace

Removed delete_tree(const std::filesystem::path& victim) {
  return TreeRemover(victim).run();
}

}  // namespace lazypull
