#pragma once

#include "engine/ports.hpp"
#include "snapshot/embedded/layout.hpp"
#include "snapshot/embedded/metadata.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace lazypull {

/// The store's snapshotter goes by this name in labels, as the snapshots have the form of containerd's of
/// that name: one directory a layer, to be merged by overlayfs.
inline constexpr std::string_view embedded_snapshotter = "overlayfs";

/// Snapshots of one namespace: a directory each, which holds what its layer changes, in overlayfs's form
/// (deleted files are character devices 0:0 or, without root, empty files with the attribute
/// user.overlay.whiteout; opaque directories have trusted.overlay.opaque or user.overlay.opaque). Blocking;
/// for several threads.
class SnapshotDirectories {
 public:
  SnapshotDirectories(StoreLayout layout, Metadata& metadata, std::string name_space);

  std::optional<StoredSnapshot> stat(const std::string& key) const;
  std::vector<StoredSnapshot> list() const;

  /// An active snapshot on a committed parent (or none, if empty), to be filled through its mounts. It
  /// answers already_exists where the label containerd.io/snapshot.ref names a committed snapshot, which is
  /// then protected by the lease. Throws already_exists for a key that is in use, not_found or
  /// invalid_argument for a parent that is not there or not committed.
  PrepareOutcome prepare(const std::string& key, const std::string& parent, const Labels& labels,
                         const std::string& lease);
  /// A read-only snapshot of a committed one.
  std::vector<Mount> view(const std::string& key, const std::string& parent, const Labels& labels,
                          const std::string& lease);
  /// Throws not_found, and failed_precondition if it is a committed one.
  std::vector<Mount> mounts(const std::string& key) const;
  /// Throws not_found, and failed_precondition if `key` is not active.
  CommitOutcome commit(const std::string& name, const std::string& key, const Labels& labels,
                       const std::string& lease);
  /// Throws failed_precondition while other snapshots have it as their parent. No error if there is none.
  void remove(const std::string& key);

  /// As ContentStore::update_labels. Throws not_found.
  void update_labels(const std::string& key, const Labels& labels);
  /// The directories of a committed snapshot and its ancestors, the topmost first. Throws not_found.
  std::vector<std::filesystem::path> layers(const std::string& name) const;

 private:
  std::vector<Mount> create_in(Rows& rows, const SnapshotInfo& info, const std::string& lease);
  void make_directories(const StoredSnapshot& snapshot) const;
  std::vector<Mount> mounts_of(const StoredSnapshot& snapshot,
                               const std::vector<std::int64_t>& ancestors) const;

  StoreLayout layout_;
  Metadata& metadata_;
  std::string name_space_;
};

}  // namespace lazypull
