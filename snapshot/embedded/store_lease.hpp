#pragma once

#include "snapshot/embedded/layout.hpp"
#include "snapshot/embedded/metadata.hpp"
#include "snapshot/unpack/unique_fd.hpp"

#include <chrono>
#include <string>

namespace lazypull {

/// A lease that this process holds. It lives as long as this does, and at most until it expires: the process
/// has its file locked, so that every other process knows at once when the process has died. Destroying it
/// lets it go; `release_lease` also removes its record.
class StoreLease {
 public:
  StoreLease() = default;
  StoreLease(std::string id, UniqueFd lock) : id_(std::move(id)), lock_(std::move(lock)) {}

  const std::string& id() const noexcept { return id_; }
  void let_go() noexcept { lock_.reset(); }

 private:
  std::string id_;
  UniqueFd lock_;
};

/// Blocking, like all that follow.
StoreLease acquire_lease(const StoreLayout& layout, Metadata& metadata, const std::string& name_space,
                         std::chrono::seconds lifetime);
void release_lease(const StoreLayout& layout, Metadata& metadata, StoreLease lease);
/// The resource need not exist yet. Throws failed_precondition if the lease has expired and is gone.
void protect_resource(Metadata& metadata, const std::string& lease, LeaseResource kind,
                      const std::string& key);
/// Whether somebody has the file locked. False if there is none.
bool is_locked(const std::filesystem::path& file);
/// Whether the lease still protects anything.
bool is_alive(const StoreLayout& layout, const LeaseRow& lease, StoreTime now);

}  // namespace lazypull
