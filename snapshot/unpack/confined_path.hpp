#pragma once

#include "snapshot/unpack/unique_fd.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace lazypull {

/// `path` as if it began at a root that ".." cannot leave, without ".", ".." and needless slashes, and
/// without a slash in front; "" is the root. Symbolic links are not looked at.
void clean_path(std::string_view path, std::string& cleaned);

/// A clean path's folder ("" at the top) and last component.
struct SplitPath {
  std::string_view folder;
  std::string_view base;
};
SplitPath split_path(std::string_view clean) noexcept;

/// A directory that stands for the root of a file system of its own. Nothing outside it is ever reached
/// through it, whatever names and symbolic links say: the kernel confines every look-up (openat2).
class ConfinedRoot {
 public:
  /// Keeps a duplicate of the descriptor.
  explicit ConfinedRoot(int directory);

  int descriptor() const noexcept { return root_.get(); }

  /// Opens the directory of a clean path that has no symbolic link in it. Invalid, with errno set, if that is
  /// impossible; ELOOP says that there is a link.
  UniqueFd open_directory(std::string_view clean) const;

  /// Where `path` leads when all its symbolic links, the last one included, are followed below this root: a
  /// clean path without links. Components that do not exist count as no links. This is continuity's RootPath,
  /// with its up to 255 links and its lexical treatment of ".." in targets. Throws Error{invalid_image}.
  std::string resolve(std::string_view path) const;

 private:
  struct Walk;
  void step(Walk& walk, std::string_view component) const;
  std::optional<std::string> link_target(std::string_view clean) const;

  UniqueFd root_;
};

}  // namespace lazypull
