#pragma once

#include "snapshot/embedded/layout.hpp"
#include "snapshot/embedded/metadata.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace lazypull {

/// Files that no row of the database speaks of.
struct Orphans {
  std::size_t blobs = 0;
  std::size_t directories = 0;
};

/// Moves blobs and snapshot directories without a row to the trash. In a write transaction, but not in the
/// one that deletes their rows: if that came to nothing, they would be missed.
Orphans discard_orphans(const StoreLayout& layout, Rows& rows);

/// Moves snapshot directories without a row to the trash, in a write transaction. Returns their names there.
std::vector<std::string> discard_directories(const StoreLayout& layout, Rows& rows);

/// What is in the trash. In a write transaction this is what nobody is using any more.
std::vector<std::string> trash_of(const StoreLayout& layout);

/// Deletes it, as far as that is possible, and then throws the first failure. Returns the bytes that the
/// file system got back.
std::uint64_t empty_trash(const StoreLayout& layout, const std::vector<std::string>& names);

}  // namespace lazypull
