#include "snapshot/remote/tree_survey.hpp"

#include "engine/error.hpp"
#include "snapshot/embedded/files.hpp"
#include "snapshot/remote/layer_record.hpp"
#include "snapshot/unpack/remove_tree.hpp"
#include "snapshot/unpack/unique_fd.hpp"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <map>
#include <set>
#include <span>
#include <unistd.h>
#include <utility>

namespace lazypull {
namespace {

constexpr std::string_view opaque_attribute = "trusted.overlay.opaque";

/// So that no two trees are written as the same bytes.
class Fields {
 public:
  void add(std::string_view text) {
    add(text.size());
    hasher_.update(std::as_bytes(std::span(text)));
  }
  void add(std::uint64_t number) { hasher_.update(std::as_bytes(std::span(&number, 1))); }
  void add_bytes(std::span<const std::byte> bytes) { hasher_.update(bytes); }
  Digest finish() { return hasher_.finish(); }

 private:
  Hasher hasher_;
};

/// What a record can hold as JSON, whatever the archive's encoding of names.
bool is_plain(std::string_view path) {
  return std::ranges::all_of(path, [](char c) { return c >= ' ' && c <= '~'; });
}

class Survey {
 public:
  Survey(int root, const std::string& name, SurveyOptions options)
      : root_(root), name_(name), options_(options), buffer_(options.contents ? 1U << 20U : 0) {}

  TreeSurvey run() {
    visit_root();
    std::vector<std::string> pending{""};
    // Each directory is opened by its path, so that no depth needs more descriptors than another.
    while (!pending.empty()) {
      const auto path = std::move(pending.back());
      pending.pop_back();
      auto inner = visit_directory(path);
      std::ranges::move(inner.rbegin(), inner.rend(), std::back_inserter(pending));
    }
    if (options_.contents) result_.digest = fields_.finish();
    return std::move(result_);
  }

 private:
  [[noreturn]] void fail(const char* doing, const std::string& path) const {
    throw_errno(std::string(doing) + " " + name_ + "/" + path);
  }

  UniqueFd open_directory(const std::string& path) const {
    ::open_how how{};
    how.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
    const char* place = path.empty() ? "." : path.c_str();
    UniqueFd directory(static_cast<int>(::syscall(SYS_openat2, root_, place, &how, sizeof how)));
    if (!directory) fail("open", path);
    return directory;
  }

  void visit_root() {
    struct ::stat status{};
    if (::fstat(root_, &status) != 0) fail("stat", ".");
    status.st_mtim = {};
    add_status(".", status);
    add_attributes("/proc/self/fd/" + std::to_string(root_), ".", status.st_mode);
  }

  /// The directories in it, sorted.
  std::vector<std::string> visit_directory(const std::string& path) {
    const auto directory = open_directory(path);
    auto names = names_in(directory.get(), name_ + "/" + path);
    std::ranges::sort(names);
    std::vector<std::string> inner;
    const auto prefix = path.empty() ? std::string() : path + "/";
    for (const auto& name : names) {
      const auto child = prefix + name;
      if (visit_entry(directory, name, child)) inner.push_back(child);
    }
    return inner;
  }

  /// True for a directory.
  bool visit_entry(const UniqueFd& directory, const std::string& name, const std::string& path) {
    struct ::stat status{};
    if (::fstatat(directory.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) fail("stat", path);
    const bool whiteout = S_ISCHR(status.st_mode) && status.st_rdev == 0;
    if (whiteout) settle(directory, name, path, status);
    result_.newest = std::max<std::int64_t>(result_.newest, status.st_mtim.tv_sec);
    add_status(path, status);
    const auto place = "/proc/self/fd/" + std::to_string(directory.get()) + "/" + name;
    add_attributes(place, path, status.st_mode);
    if (S_ISLNK(status.st_mode)) add_target(directory, name, path);
    if (S_ISREG(status.st_mode)) add_file(directory, name, path, status);
    return S_ISDIR(status.st_mode);
  }

  void settle(const UniqueFd& directory, const std::string& name, const std::string& path,
              struct ::stat& status) {
    result_.overlay_marks = true;
    if (!options_.settle_whiteouts) return;
    const std::array<::timespec, 2> times{};
    if (::utimensat(directory.get(), name.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) != 0) {
      fail("set the time of", path);
    }
    status.st_mtim = {};
  }

  void add_status(const std::string& path, const struct ::stat& status) {
    fields_.add(path);
    fields_.add(status.st_mode);
    fields_.add(status.st_uid);
    fields_.add(status.st_gid);
    fields_.add(static_cast<std::uint64_t>(status.st_mtim.tv_sec));
    const bool device = S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode);
    fields_.add(device ? major(status.st_rdev) : 0U);
    fields_.add(device ? minor(status.st_rdev) : 0U);
  }

  void add_attributes(const std::string& place, const std::string& path, ::mode_t mode) {
    auto names = attribute_names(place, path);
    std::ranges::sort(names);
    std::string value;
    for (const auto& name : names) {
      if (name == "security.selinux") continue;
      value.resize(XATTR_SIZE_MAX);
      const auto size = ::lgetxattr(place.c_str(), name.c_str(), value.data(), value.size());
      if (size < 0) fail("read an attribute of", path);
      value.resize(static_cast<std::size_t>(size));
      fields_.add(name);
      fields_.add(value);
      note_attribute(name, path, mode);
    }
    fields_.add(0U);
  }

  std::vector<std::string> attribute_names(const std::string& place, const std::string& path) const {
    std::string list(XATTR_LIST_MAX, '\0');
    const auto size = ::llistxattr(place.c_str(), list.data(), list.size());
    if (size < 0 && errno != ENOTSUP) fail("list attributes of", path);
    list.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
    std::vector<std::string> names;
    for (std::size_t at = 0; at < list.size(); at += names.back().size() + 1) {
      names.emplace_back(list.c_str() + at);
    }
    return names;
  }

  void note_attribute(const std::string& name, const std::string& path, ::mode_t mode) {
    if (name == opaque_attribute) result_.overlay_marks = true;
    if (name.starts_with("system.posix_acl_") && !result_.access_list) result_.access_list = path;
    const bool openable = S_ISREG(mode) || S_ISDIR(mode);
    if (!openable || !is_plain(path) || !is_plain(name)) return;
    if (result_.attributes.size() >= max_layer_attributes || !noted_.insert(name).second) return;
    result_.attributes.push_back({.path = path, .name = name});
  }

  void add_target(const UniqueFd& directory, const std::string& name, const std::string& path) {
    std::string target(PATH_MAX, '\0');
    const auto size = ::readlinkat(directory.get(), name.c_str(), target.data(), target.size());
    if (size < 0) fail("read the link", path);
    target.resize(static_cast<std::size_t>(size));
    fields_.add(target);
  }

  void add_file(const UniqueFd& directory, const std::string& name, const std::string& path,
                const struct ::stat& status) {
    fields_.add(static_cast<std::uint64_t>(status.st_size));
    if (status.st_nlink > 1) {
      const auto [first, is_first] = links_.emplace(std::pair(status.st_dev, status.st_ino), path);
      fields_.add(first->second);
      if (!is_first) return;
    }
    if (!options_.contents) return;
    const UniqueFd file(
        ::openat(directory.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!file) fail("open", path);
    for (std::uint64_t offset = 0;;) {
      const auto got = read_at(file, buffer_, offset, name_ + "/" + path);
      fields_.add_bytes(std::span(buffer_).first(got));
      offset += got;
      if (got < buffer_.size()) break;
    }
  }

  int root_;
  const std::string& name_;
  SurveyOptions options_;
  std::vector<std::byte> buffer_;
  Fields fields_;
  TreeSurvey result_;
  std::set<std::string> noted_;
  std::map<std::pair<::dev_t, ::ino_t>, std::string> links_;
};

}  // namespace

TreeSurvey survey_tree(int root, const std::string& name, SurveyOptions options) {
  return Survey(root, name, options).run();
}

}  // namespace lazypull
