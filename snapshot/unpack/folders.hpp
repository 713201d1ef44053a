#pragma once

#include "snapshot/unpack/confined_path.hpp"
#include "snapshot/unpack/unique_fd.hpp"

#include <array>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace lazypull {

/// A directory in which entries are created, kept open.
struct Folder {
  UniqueFd descriptor;
  std::string name;  ///< how archives call it: a clean path that may lead through links
  std::string path;  ///< where it is: a clean path without links
  std::uint64_t used = 0;
  enum class Inheritance { unknown, none, some } inheritance = Inheritance::unknown;

  int get() const noexcept { return descriptor.get(); }
  /// Whether owner or mode of a new file may differ from what its creator asks for: the directory is setgid,
  /// or has a default access control list.
  bool bequeaths();
};

/// The directories of one extraction: keeps the last few open, makes missing ones, and remembers which those
/// were.
class Folders {
 public:
  /// `root` must outlive this. New directories get mode 0755, whatever the umask. No more than `limit` bytes
  /// are spent on remembering.
  Folders(const ConfinedRoot& root, std::size_t limit) : root_(root), limit_(limit) {}

  /// The directory of that clean name; it and those above it are made if missing. Stays valid during the next
  /// call of open or find. Throws where something else is in the way.
  Folder& open(std::string_view name);
  /// Null if there is none.
  Folder* find(std::string_view name);
  /// The same, for a place that has no links.
  Folder* find_resolved(std::string path, std::string_view name);

  /// A link or directory at `path`, which is in `folder`, is gone: names may lead elsewhere now.
  void removed(const std::string& path, const Folder& folder);
  /// An entry names the existing directory at `path`, and may change its mode and lists.
  void named(const std::string& path);

  /// Made, there, and not named by any entry; parents first.
  std::vector<std::string> implicit() const { return {implicit_.begin(), implicit_.end()}; }
  /// Made, and named by a later entry; parents first.
  std::vector<std::string> named_later() const { return {named_later_.begin(), named_later_.end()}; }

 private:
  Folder* cached(std::string_view name) noexcept;
  Folder& keep(UniqueFd descriptor, std::string_view name, std::string path);
  UniqueFd make(const std::string& path);

  const ConfinedRoot& root_;
  std::size_t limit_;
  std::array<Folder, 32> kept_;
  Folder* last_ = nullptr;
  std::uint64_t clock_ = 0;
  std::set<std::string> implicit_;
  std::set<std::string> named_later_;
};

}  // namespace lazypull
