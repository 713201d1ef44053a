#include "snapshot/embedded/orphans.hpp"

#include "snapshot/embedded/files.hpp"

#include <exception>
#include <unordered_set>

namespace lazypull {

Orphans discard_orphans(const StoreLayout& layout, Rows& rows) {
  Orphans orphans;
  std::unordered_set<std::string> blobs;
  for (auto& digest : rows.content.all_blobs()) blobs.insert(std::move(digest));
  for (const auto* algorithm : {"sha256", "sha512"}) {
    const auto folder = layout.blobs() / algorithm;
    for (const auto& name : names_in(folder)) {
      if (blobs.contains(std::string(algorithm) + ":" + name)) continue;
      layout.discard(folder / name);
      ++orphans.blobs;
    }
  }
  orphans.directories = discard_directories(layout, rows).size();
  return orphans;
}

std::vector<std::string> discard_directories(const StoreLayout& layout, Rows& rows) {
  std::unordered_set<std::string> snapshots;
  for (const auto id : rows.snapshots.all_ids()) snapshots.insert(std::to_string(id));
  std::vector<std::string> places;
  for (const auto& name : names_in(layout.snapshots())) {
    if (!snapshots.contains(name)) places.push_back(layout.discard(layout.snapshots() / name).filename());
  }
  return places;
}

std::vector<std::string> trash_of(const StoreLayout& layout) {
  return names_in(layout.trash());
}

std::uint64_t empty_trash(const StoreLayout& layout, const std::vector<std::string>& names) {
  std::uint64_t bytes = 0;
  std::exception_ptr failure;
  for (const auto& name : names) {
    try {
      bytes += delete_tree(layout.trash() / name).bytes;
    } catch (...) {
      if (!failure) failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
  return bytes;
}

}  // namespace lazypull
