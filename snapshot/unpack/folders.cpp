#include "snapshot/unpack/folders.hpp"

#include "snapshot/unpack/file_error.hpp"

#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <utility>

namespace lazypull {
namespace {

constexpr mode_t implicit_mode = 0755;

void forget_below(std::set<std::string>& paths, const std::string& path) {
  paths.erase(path);
  const std::string inside = path + "/";
  auto first = paths.lower_bound(inside);
  auto last = first;
  while (last != paths.end() && last->starts_with(inside)) ++last;
  paths.erase(first, last);
}

}  // namespace

bool Folder::bequeaths() {
  if (inheritance == Inheritance::unknown) {
    struct stat info{};
    if (::fstat(get(), &info) != 0) throw_file_error(path, "stat", errno);
    const bool some =
        (info.st_mode & S_ISGID) != 0 || ::fgetxattr(get(), "system.posix_acl_default", nullptr, 0) >= 0;
    inheritance = some ? Inheritance::some : Inheritance::none;
  }
  return inheritance == Inheritance::some;
}

Folder* Folders::cached(std::string_view name) noexcept {
  const auto is_it = [&](const Folder& folder) { return folder.descriptor && folder.name == name; };
  if (last_ == nullptr || !is_it(*last_)) {
    const auto found = std::ranges::find_if(kept_, is_it);
    if (found == kept_.end()) return nullptr;
    last_ = &*found;
  }
  last_->used = ++clock_;
  return last_;
}

Folder& Folders::keep(UniqueFd descriptor, std::string_view name, std::string path) {
  auto& slot = *std::ranges::min_element(kept_, {}, &Folder::used);
  slot.descriptor = std::move(descriptor);
  slot.name = name;
  slot.path = std::move(path);
  slot.inheritance = Folder::Inheritance::unknown;
  slot.used = ++clock_;
  last_ = &slot;
  return slot;
}

Folder& Folders::open(std::string_view name) {
  if (Folder* folder = cached(name)) return *folder;
  auto descriptor = root_.open_directory(name);
  if (descriptor) return keep(std::move(descriptor), name, std::string(name));
  if (errno != ELOOP && errno != ENOENT) throw_file_error(name, "open the folder", errno);
  std::string path = root_.resolve(name);
  descriptor = make(path);
  return keep(std::move(descriptor), name, std::move(path));
}

Folder* Folders::find(std::string_view name) {
  if (Folder* folder = cached(name)) return folder;
  auto descriptor = root_.open_directory(name);
  if (descriptor) return &keep(std::move(descriptor), name, std::string(name));
  if (errno == ENOENT || errno == ENOTDIR) return nullptr;
  if (errno != ELOOP) throw_file_error(name, "open the folder", errno);
  return find_resolved(root_.resolve(name), name);
}

Folder* Folders::find_resolved(std::string path, std::string_view name) {
  auto descriptor = root_.open_directory(path);
  if (descriptor) return &keep(std::move(descriptor), name, std::move(path));
  if (errno == ENOENT || errno == ENOTDIR) return nullptr;
  throw_file_error(name, "open the folder", errno);
}

UniqueFd Folders::make(const std::string& path) {
  auto there = root_.open_directory(path);
  if (there) return there;
  if (errno != ENOENT) throw_file_error(path, "open the folder", errno);
  UniqueFd current = root_.open_directory({});
  if (!current) throw_file_error(path, "open the root", errno);
  std::size_t end = 0;
  while (end < path.size()) {
    const auto begin = end == 0 ? 0 : end + 1;
    end = std::min(path.find('/', begin), path.size());
    const std::string component = path.substr(begin, end - begin);
    const bool made = ::mkdirat(current.get(), component.c_str(), implicit_mode) == 0;
    if (!made && errno != EEXIST) throw_file_error(path, "make the folder", errno);
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    UniqueFd next(::openat(current.get(), component.c_str(), flags));
    if (!next) throw_file_error(path, "open the folder", errno);
    if (made) {
      // Always, because a directory above may be setgid or have a default access control list.
      if (::fchmod(next.get(), implicit_mode) != 0) throw_file_error(path, "chmod", errno);
      std::string made_path = path.substr(0, end);
      if (made_path.size() > limit_) throw_bad_entry(path, "too many folders");
      limit_ -= made_path.size();
      named_later_.erase(made_path);
      implicit_.insert(std::move(made_path));
    }
    current = std::move(next);
  }
  return current;
}

void Folders::removed(const std::string& path, const Folder& folder) {
  for (auto& kept : kept_) {
    if (&kept != &folder) kept = Folder{};
  }
  last_ = nullptr;
  if (!implicit_.empty()) forget_below(implicit_, path);
  if (!named_later_.empty()) forget_below(named_later_, path);
}

void Folders::named(const std::string& path) {
  for (auto& kept : kept_) {
    if (kept.descriptor && kept.path == path) kept.inheritance = Folder::Inheritance::unknown;
  }
  if (implicit_.erase(path) > 0) named_later_.insert(path);
}

}  // namespace lazypull
