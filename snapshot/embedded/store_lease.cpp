#include "snapshot/embedded/store_lease.hpp"

#include "engine/error.hpp"
#include "snapshot/embedded/files.hpp"

#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

namespace lazypull {

StoreLease acquire_lease(const StoreLayout& layout, Metadata& metadata, const std::string& name_space,
                         std::chrono::seconds lifetime) {
  const LeaseRow row{
      .id = random_name(), .name_space = name_space, .expires = std::chrono::system_clock::now() + lifetime};
  const auto file = layout.lease_lock(row.id);
  // The file too in the transaction: garbage collection deletes those that nobody has locked.
  auto lock = metadata.write([&](Rows& rows) {
    auto opened = open_file(file, O_RDWR | O_CREAT | O_EXCL, 0600);
    lock_file(opened, true, file);
    rows.leases.add(row);
    return opened;
  });
  return {row.id, std::move(lock)};
}

void release_lease(const StoreLayout& layout, Metadata& metadata, StoreLease lease) {
  metadata.write([&](Rows& rows) { rows.leases.remove(lease.id()); });
  ::unlink(layout.lease_lock(lease.id()).c_str());  // garbage collection may have been faster
}

void protect_resource(Metadata& metadata, const std::string& lease, LeaseResource kind,
                      const std::string& key) {
  metadata.write([&](Rows& rows) { rows.leases.protect(lease, kind, key); });
}

bool is_locked(const std::filesystem::path& file) {
  const UniqueFd lock(::open(file.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!lock) {
    if (errno == ENOENT) return false;
    throw_errno("open " + file.string());
  }
  return !lock_file(lock, false, file);
}

bool is_alive(const StoreLayout& layout, const LeaseRow& lease, StoreTime now) {
  return lease.expires > now && is_locked(layout.lease_lock(lease.id));
}

}  // namespace lazypull
