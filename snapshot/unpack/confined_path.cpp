#include "snapshot/unpack/confined_path.hpp"

#include "snapshot/unpack/file_error.hpp"

#include <climits>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <linux/openat2.h>

namespace lazypull {
namespace {

constexpr unsigned most_links = 255;
constexpr int most_attempts = 100;

UniqueFd open_at(int root, std::string_view clean, std::uint64_t flags, std::uint64_t resolve) {
  const std::string path(clean.empty() ? std::string_view(".") : clean);
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = resolve;
  // EAGAIN: something was renamed somewhere while the kernel followed a "..".
  for (int attempt = 0;; ++attempt) {
    UniqueFd opened(static_cast<int>(::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how)));
    if (opened || attempt == most_attempts || (errno != EAGAIN && errno != EINTR)) return opened;
  }
}

/// Calls `visit` with every non-empty component.
template <class Visit>
void for_each_component(std::string_view path, Visit visit) {
  while (!path.empty()) {
    const auto slash = path.find('/');
    const auto component = path.substr(0, slash);
    if (!component.empty()) visit(component);
    if (slash == std::string_view::npos) return;
    path.remove_prefix(slash + 1);
  }
}

std::string clean(std::string_view path) {
  std::string cleaned;
  clean_path(path, cleaned);
  return cleaned;
}

}  // namespace

void clean_path(std::string_view path, std::string& cleaned) {
  cleaned.clear();
  for_each_component(path, [&](std::string_view component) {
    if (component == ".") return;
    if (component == "..") {
      const auto slash = cleaned.rfind('/');
      cleaned.resize(slash == std::string::npos ? 0 : slash);
      return;
    }
    if (!cleaned.empty()) cleaned += '/';
    cleaned += component;
  });
}

SplitPath split_path(std::string_view clean) noexcept {
  const auto slash = clean.rfind('/');
  if (slash == std::string_view::npos) return {{}, clean};
  return {clean.substr(0, slash), clean.substr(slash + 1)};
}

ConfinedRoot::ConfinedRoot(int directory) : root_(::fcntl(directory, F_DUPFD_CLOEXEC, 0)) {
  if (!root_) throw_file_error("the folder of a layer", "duplicate its descriptor", errno);
}

UniqueFd ConfinedRoot::open_directory(std::string_view clean) const {
  return open_at(root_.get(), clean, O_RDONLY | O_DIRECTORY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

// What one pass over a path has come to.
struct ConfinedRoot::Walk {
  std::string reached;    // clean, except where a link's target has just taken its place
  bool relative = false;  // the path did not begin with a slash, and no component has been looked at yet
  bool followed = false;
  unsigned links = 0;  // of all passes
};

std::string ConfinedRoot::resolve(std::string_view path) const {
  std::string current(path);
  Walk walk;
  // Each pass replaces links by their targets, which may hold further links.
  for (;;) {
    walk.reached.clear();
    walk.relative = !current.starts_with('/');
    walk.followed = false;
    for_each_component(current, [&](std::string_view component) { step(walk, component); });
    if (!walk.followed) return clean(walk.reached);
    std::swap(current, walk.reached);
  }
}

void ConfinedRoot::step(Walk& walk, std::string_view component) const {
  const bool first = std::exchange(walk.relative, false);
  std::string parent = std::move(walk.reached);
  std::string candidate = clean(parent + "/" + std::string(component));
  auto target = candidate.empty() ? std::nullopt : link_target(candidate);
  if (!target) {
    walk.reached = std::move(candidate);
    return;
  }
  if (++walk.links > most_links) throw_bad_entry(candidate, "too many symbolic links");
  walk.followed = true;
  const bool as_it_is = first || target->starts_with('/');
  walk.reached = as_it_is ? *std::move(target) : clean(parent + "/" + *target);
}

std::optional<std::string> ConfinedRoot::link_target(std::string_view clean) const {
  const UniqueFd entry =
      open_at(root_.get(), clean, O_PATH | O_NOFOLLOW, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
  if (!entry) {
    if (errno == ENOENT) return std::nullopt;
    throw_file_error(clean, "look it up", errno);
  }
  struct stat info{};
  if (::fstat(entry.get(), &info) != 0) throw_file_error(clean, "stat", errno);
  if (!S_ISLNK(info.st_mode)) return std::nullopt;
  std::array<char, PATH_MAX> target;
  const auto length = ::readlinkat(entry.get(), "", target.data(), target.size());
  if (length < 0) throw_file_error(clean, "read the link", errno);
  return std::string(target.data(), static_cast<std::size_t>(length));
}

}  // namespace lazypull
