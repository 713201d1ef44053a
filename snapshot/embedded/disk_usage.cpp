#include "snapshot/embedded/disk_usage.hpp"

#include "engine/error.hpp"
#include "snapshot/embedded/files.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unistd.h>
#include <utility>
#include <vector>

namespace lazypull {

namespace {

using Identity = std::pair<::dev_t, ::ino_t>;

Identity identity_of(const struct ::stat& status) {
  return {status.st_dev, status.st_ino};
}

/// An image may nest directories deeper than this process may have files open, so only one is, and the way
/// back up is "..".
class UsageCounter {
 public:
  explicit UsageCounter(std::filesystem::path root) : root_(std::move(root)) {}

  DiskUsage run() {
    const auto status = stat_of(root_);
    if (!status) return {};
    count(*status);
    if (!S_ISDIR(status->st_mode)) return usage_;
    here_ = UniqueFd(::open(root_.c_str(), flags));
    if (!here_) fail("open", root_.string());
    enter(*status);
    while (!levels_.empty()) step();
    return usage_;
  }

 private:
  static constexpr int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

  /// The directories on the way down to the one that is open.
  struct Level {
    Identity identity;
    std::vector<std::string> todo;  ///< directories in it that are still to be counted
  };

  void step() {
    auto& level = levels_.back();
    if (level.todo.empty()) {
      levels_.pop_back();
      if (!levels_.empty()) go_up();
      return;
    }
    const auto name = std::move(level.todo.back());
    level.todo.pop_back();
    UniqueFd child(::openat(here_.get(), name.c_str(), flags));
    if (!child) {
      if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == EACCES) return;
      fail("open", name);
    }
    struct ::stat status{};
    if (::fstat(child.get(), &status) != 0) fail("stat", name);
    here_ = std::move(child);
    enter(status);
  }

  void go_up() {
    UniqueFd parent(::openat(here_.get(), "..", flags));
    struct ::stat status{};
    if (!parent || ::fstat(parent.get(), &status) != 0) fail("open", "..");
    if (identity_of(status) != levels_.back().identity) {
      throw Error(Errc::unavailable, root_.string() + " was changed while it was being counted");
    }
    here_ = std::move(parent);
  }

  void enter(const struct ::stat& status) {
    Level level{.identity = identity_of(status), .todo = {}};
    const int copy = ::openat(here_.get(), ".", flags);
    struct Close {
      void operator()(::DIR* directory) const noexcept { ::closedir(directory); }
    };
    const std::unique_ptr<::DIR, Close> stream(copy >= 0 ? ::fdopendir(copy) : nullptr);
    if (!stream) fail("list", ".");
    while (const ::dirent* entry = ::readdir(stream.get())) {
      const std::string_view name(static_cast<const char*>(entry->d_name));
      if (name == "." || name == "..") continue;
      struct ::stat found{};
      if (::fstatat(here_.get(), entry->d_name, &found, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) continue;
        fail("stat", std::string(name));
      }
      count(found);
      if (S_ISDIR(found.st_mode)) level.todo.emplace_back(name);
    }
    levels_.push_back(std::move(level));
  }

  void count(const struct ::stat& status) {
    const bool may_have_more_names = !S_ISDIR(status.st_mode) && status.st_nlink > 1;
    if (may_have_more_names && !linked_.insert(identity_of(status)).second) return;
    ++usage_.inodes;
    usage_.bytes += static_cast<std::uint64_t>(status.st_blocks) * 512;
  }

  [[noreturn]] void fail(const char* what, const std::string& name) const {
    throw_errno("count the files of " + root_.string() + ": " + what + " " + name);
  }

  std::filesystem::path root_;
  UniqueFd here_;
  std::vector<Level> levels_;
  std::set<Identity> linked_;
  DiskUsage usage_;
};

}  // namespace

DiskUsage disk_usage(const std::filesystem::path& root) {
  return UsageCounter(root).run();
}

}  // namespace lazypull
