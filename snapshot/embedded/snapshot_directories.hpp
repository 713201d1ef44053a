#pragma once

#include "engine/ports.hpp"
#include "snapshot/embedded/disk_usage.hpp"
#include "snapshot/embedded/layer_attachments.hpp"
#include "snapshot/embedded/layout.hpp"
#include "snapshot/embedded/metadata.hpp"
#include "snapshot/embedded/remote_snapshots.hpp"
#include "snapshot/remote/remote_layers.hpp"

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace lazypull {

/// The store's snapshotter goes by this name in labels, as the snapshots have the form of containerd's of
/// that name: one directory a layer, to be merged by overlayfs.
inline constexpr std::string_view embedded_snapshotter = "overlayfs";

/// Directories that one overlay mount may show at most, beside the one to write to (the kernel's limit).
inline constexpr std::size_t max_lower_layers = 500;

/// Snapshots of one namespace: a directory each, which holds what its layer changes, in overlayfs's form
/// (deleted files are character devices 0:0 or, without root, empty files with the attribute
/// user.overlay.whiteout; opaque directories have trusted.overlay.opaque or user.overlay.opaque). In place of
/// the directory a remote layer has a link to where shared storage has its files. Blocking; for several
/// threads.
///
/// At no point is a half-made snapshot left by a process that is killed: a record is written last, in the
/// transaction in which the directory is made, and a remote layer is attached before its record is written
/// and detached after the last of its records has gone. `cleanup` finds what has no record.
class SnapshotDirectories {
 public:
  SnapshotDirectories(StoreLayout layout, Metadata& metadata, std::string name_space);

  /// Layers that shared storages have are used from there from now on. None are by default. Not while others
  /// use this object. Snapshots that consist of remote layers do not depend on it.
  void use_remote_layers(std::shared_ptr<RemoteLayers> layers);
  void use_layer_source(std::shared_ptr<LayerSource> source);

  std::optional<StoredSnapshot> stat(const std::string& key) const;
  std::vector<StoredSnapshot> list() const;

  /// An active snapshot on a committed parent (or none, if empty), to be filled through its mounts. It
  /// answers already_exists where the label containerd.io/snapshot.ref names a committed snapshot on this
  /// parent, which is then protected by the lease.
  ///
  /// If the labels say which layer is wanted, and a storage has it with a DiffID that makes the wanted
  /// ChainID, then (today's protocol) the committed snapshot is made of it first. By the protocol of 2019 an
  /// active snapshot is made of it, which carries the label containerd.io/snapshot/remote_snapshot. Whatever
  /// is wrong with a storage only means that it does not have the layer.
  ///
  /// Throws already_exists for a key that is in use, not_found or invalid_argument for a parent that is not
  /// there or not committed, failed_precondition where more than max_lower_layers would lie below; and as
  /// `mounts` where remote layers below cannot be had.
  PrepareOutcome prepare(const std::string& key, const std::string& parent, const Labels& labels,
                         const std::string& lease);
  /// A read-only snapshot of a committed one. Throws as `prepare`.
  std::vector<Mount> view(const std::string& key, const std::string& parent, const Labels& labels,
                          const std::string& lease);
  /// Remote layers are attached if they are not, as after a boot. Throws not_found, failed_precondition if it
  /// is a committed one; unavailable, failed_precondition or permission_denied with the names of snapshot,
  /// layer and place where a remote layer cannot be had.
  std::vector<Mount> mounts(const std::string& key);
  /// Throws not_found, and failed_precondition if `key` is not active, or consists of a remote layer that is
  /// not that of the ChainID in `name`.
  CommitOutcome commit(const std::string& name, const std::string& key, const Labels& labels,
                       const std::string& lease);
  /// Throws failed_precondition while other snapshots have it as their parent. False if there is none.
  bool remove(const std::string& key);

  /// As ContentStore::update_labels. Throws not_found.
  void update_labels(const std::string& key, const Labels& labels);
  /// Sets these labels in place of all that the snapshot had. Throws not_found.
  void replace_labels(const std::string& key, const Labels& labels);

  /// As containerd's overlayfs snapshotter has it: nothing for a view. That of a committed snapshot is
  /// counted once, when it is first asked for. A remote layer takes nothing. Throws not_found.
  DiskUsage usage(const std::string& key);
  /// Removes what a process that was killed has left, in all namespaces: directories without a record, and
  /// mounts of layers that no snapshot uses. Returns how many there were.
  std::size_t cleanup();
  /// The latter alone.
  std::size_t detach_unused();

  /// The directories of a committed snapshot and its ancestors, the topmost first; one that is there twice
  /// (an image may repeat a layer) only where it first is, below which it changes nothing. Throws not_found,
  /// and as `mounts`.
  std::vector<std::filesystem::path> layers(const std::string& name);

 private:
  /// What one snapshot shows, and where it comes from.
  struct Stack {
    std::vector<std::int64_t> ids;  ///< the topmost first
    std::vector<RemoteRow> remote;  ///< those of them that are remote
  };
  /// Where a link is to point, and to whom the directory there belongs.
  struct LinkTarget {
    std::filesystem::path directory;
    ::uid_t uid = 0;
    ::gid_t gid = 0;
  };
  /// Layers may come and go while a snapshot is made that needs them.
  static constexpr int max_tries = 5;

  std::optional<PrepareOutcome> prepare_remote(const SnapshotInfo& info, const RemoteRequest& request,
                                               const std::string& lease);
  bool is_wanted(const SnapshotInfo& info, const RemoteRequest& request) const;
  std::optional<PrepareOutcome> record_remote(const SnapshotInfo& info, const RemoteRequest& request,
                                              const AttachedLayer& attached, const std::string& lease);
  PrepareOutcome create(const SnapshotInfo& info, const std::string& lease);
  std::optional<std::string> existing_target(Rows& rows, const SnapshotInfo& info) const;
  StoredSnapshot add_row(Rows& rows, const SnapshotInfo& info, const std::string& lease) const;
  void make_directories(const StoredSnapshot& snapshot) const;
  void make_link(std::int64_t id, const LinkTarget& target) const;
  Stack stack_of(Rows& rows, const StoredSnapshot& snapshot) const;
  std::vector<Mount> mounts_of(const StoredSnapshot& snapshot, const Stack& stack) const;
  /// Returns where their files are, by the snapshot.
  std::map<std::int64_t, std::filesystem::path> attach(const std::vector<RemoteRow>& rows,
                                                       const std::string& key);
  void relink(const RemoteRow& row, const AttachedLayer& attached);
  void detach_if_unused(const Digest& layer) noexcept;

  StoreLayout layout_;
  Metadata& metadata_;
  std::string name_space_;
  LayerAttachments attachments_;
};

}  // namespace lazypull
