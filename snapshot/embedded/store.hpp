#pragma once

#include "engine/offload.hpp"
#include "engine/ports.hpp"
#include "snapshot/embedded/content_directory.hpp"
#include "snapshot/embedded/garbage.hpp"
#include "snapshot/embedded/image_records.hpp"
#include "snapshot/embedded/layout.hpp"
#include "snapshot/embedded/metadata.hpp"
#include "snapshot/embedded/snapshot_directories.hpp"
#include "snapshot/embedded/store_lease.hpp"

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>

namespace lazypull {

struct StoreOptions {
  std::string boot_id;           ///< of the running kernel; asked of it if empty
  std::size_t file_threads = 4;  ///< for reading and writing blobs
};

/// A place for images where there is no containerd: content, snapshots, images and leases of one namespace,
/// in a directory that is an OCI image layout for everybody else. Any number of processes of one host may use
/// the directory at once (not over a network file system: they share memory).
///
/// What survives what: a process that is killed at any point leaves a consistent store, in which all that had
/// been committed is there. Commits do not flush the disk. It is flushed once for each image record that is
/// written, so that all of a recorded image survives a power failure; the first `open` after a boot drops
/// what came later than the last flush.
class EmbeddedStore : public std::enable_shared_from_this<EmbeddedStore> {
 public:
  /// Opens the store, making it if there is none. Blocks, so it is for setting up. Throws permission_denied,
  /// out_of_space, invalid_argument (a namespace containerd would refuse), failed_precondition (not a store,
  /// or of a later version).
  static std::shared_ptr<EmbeddedStore> open(const std::filesystem::path& directory,
                                             const std::string& name_space, const StoreOptions& options = {});
  EmbeddedStore(const EmbeddedStore&) = delete;
  EmbeddedStore& operator=(const EmbeddedStore&) = delete;

  const StoreLayout& layout() const noexcept { return layout_; }
  const std::string& name_space() const noexcept { return name_space_; }

  // Blocking: for commands and for threads of our own.
  Metadata& metadata() noexcept { return metadata_; }
  ContentDirectory& content() noexcept { return content_; }
  SnapshotDirectories& snapshots() noexcept { return snapshots_; }
  ImageRecords& images() noexcept { return images_; }
  GarbageReport collect_garbage(GarbageOptions options = {});

  // The ports, for the home thread. `lease` is the id of the lease under which they create; empty for none.
  // They keep the store alive.
  std::unique_ptr<ContentStore> content_port(std::string lease = {});
  std::unique_ptr<Snapshotter> snapshotter_port(std::string lease = {});
  std::unique_ptr<ImageStore> image_port();

  // Leases, for the home thread. The caller keeps the store alive until they return.
  Awaitable<StoreLease> acquire_lease(std::chrono::seconds lifetime);
  Awaitable<> protect(std::string lease, LeaseResource kind, std::string key);
  Awaitable<> release(StoreLease lease);
  Awaitable<GarbageReport> collect(GarbageOptions options = {});

  /// One thread for what uses the database only; several for what reads or writes blobs.
  BlockingPool& database_pool() noexcept { return database_pool_; }
  BlockingPool& file_pool() noexcept { return file_pool_; }

 private:
  EmbeddedStore(StoreLayout layout, std::string name_space, std::size_t file_threads);

  StoreLayout layout_;
  std::string name_space_;
  Metadata metadata_;
  ContentDirectory content_;
  SnapshotDirectories snapshots_;
  ImageRecords images_;
  BlockingPool database_pool_{1};
  BlockingPool file_pool_;
};

}  // namespace lazypull
