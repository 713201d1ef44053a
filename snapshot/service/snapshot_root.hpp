#pragma once

#include "snapshot/embedded/metadata.hpp"
#include "snapshot/embedded/snapshot_directories.hpp"
#include "snapshot/unpack/unique_fd.hpp"

#include <cstddef>
#include <filesystem>
#include <functional>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

namespace lazypull {

/// Snapshots that one process at a time looks after for others, in a directory of their own:
///
///     snapshotter.db     SQLite: the snapshots' records
///     snapshotter.lock   held while somebody has it open
///     snapshots/ID/fs    what a snapshot changes, in overlayfs's form; a link for a remote layer
///     trash/             what is being deleted
///     layers/            mounts of remote layers' images
///     reserve            space that is given up where the disk is too full even to remove something
///
/// Whoever is told that a snapshot was made keeps a record of that, and would go on believing it after a
/// power failure. So, other than in the embedded store, every change of a record is on the disk when it has
/// been made, and the files of a snapshot are flushed before it is committed. Nothing has to be dropped after
/// a boot. Blocking; for several threads.
class SnapshotRoot {
 public:
  /// Opens the directory, making it if there is none. Throws failed_precondition if another process has it,
  /// or if it holds something else; permission_denied, out_of_space.
  explicit SnapshotRoot(const std::filesystem::path& directory);

  SnapshotDirectories& snapshots() noexcept { return snapshots_; }

  /// Layers that these storages have are mounted from now on; none are by default. Not while others use this
  /// object. `log` is told which layers cannot be used although a storage has them.
  void use_storages(std::vector<std::filesystem::path> storages,
                    const std::function<void(const std::string&)>& log);
  bool has_storages() const noexcept { return has_storages_; }

  /// As SnapshotDirectories::commit, after everything that was written into the snapshot is on the disk.
  CommitOutcome commit(const std::string& name, const std::string& key, const Labels& labels);
  /// As SnapshotDirectories::remove, also on a full disk.
  bool remove(const std::string& key);
  /// As SnapshotDirectories::cleanup, and deletes what could not be deleted before. Throws the first failure,
  /// after everything else has been tried.
  std::size_t cleanup();
  /// Attaches the remote layers of all snapshots that can be mounted, which the first who asks for mounts
  /// would have to wait for after a boot. Calls `failed` with what is in the way.
  void attach_layers(const std::stop_token& stop, const std::function<void(const std::string&)>& failed);

 private:
  StoreLayout layout_;
  UniqueFd lock_;
  Metadata metadata_;
  SnapshotDirectories snapshots_;
  std::mutex reserve_;
  bool has_storages_ = false;
};

}  // namespace lazypull
