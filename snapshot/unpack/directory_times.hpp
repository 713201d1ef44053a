#pragma once

#include "snapshot/unpack/confined_path.hpp"
#include "snapshot/unpack/folders.hpp"

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lazypull {

/// What can only be given to directories when nothing will be created in them any more: their times, and
/// modes that would lock out their owner.
class DirectoryTimes {
 public:
  /// No more than `limit` bytes of names are kept.
  explicit DirectoryTimes(std::size_t limit) : limit_(limit) {}

  /// `name` is an entry's, cleaned. A mode is given later only if there is one.
  void add(std::string_view name, const std::array<timespec, 2>& times, std::optional<mode_t> mode);

  /// In the order of the entries, and by name, as containerd does: to whatever the name leads to now. Throws
  /// Error{invalid_image} if that is nothing. `replaced`: links or directories have been removed since.
  void apply(const ConfinedRoot& root, Folders& folders, bool replaced) const;

 private:
  struct Directory {
    std::size_t offset;
    std::size_t size;
    std::array<timespec, 2> times;
    std::optional<mode_t> mode;
  };
  std::string_view name_of(const Directory& directory) const;

  std::size_t limit_;
  std::string names_;  // one after another
  std::vector<Directory> directories_;
};

}  // namespace lazypull
