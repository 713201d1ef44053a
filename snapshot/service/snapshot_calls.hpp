#pragma once

#include "snapshot/service/snapshot_root.hpp"

#include <containerd/services/snapshots.pb.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace lazypull {

/// The calls of containerd.services.snapshots.v1.Snapshots, without the wire. They block, are for several
/// threads, and throw Error: not_found, already_exists, failed_precondition and invalid_argument where
/// containerd's overlayfs snapshotter has them. The requests' `snapshotter` is not looked at, nor is
/// containerd's namespace: containerd gives unique names to a proxied snapshotter.
class SnapshotCalls {
 public:
  using Log = std::function<void(const std::string&)>;

  /// `log` is told what becomes of layers that could be remote, and of what could not be deleted. By any
  /// thread.
  SnapshotCalls(SnapshotRoot& root, Log log) : root_(root), log_(std::move(log)) {}

  containerd::services::snapshots::v1::PrepareSnapshotResponse prepare(
      const containerd::services::snapshots::v1::PrepareSnapshotRequest& request);
  containerd::services::snapshots::v1::ViewSnapshotResponse view(
      const containerd::services::snapshots::v1::ViewSnapshotRequest& request);
  containerd::services::snapshots::v1::MountsResponse mounts(
      const containerd::services::snapshots::v1::MountsRequest& request);
  void commit(const containerd::services::snapshots::v1::CommitSnapshotRequest& request);
  void remove(const containerd::services::snapshots::v1::RemoveSnapshotRequest& request);
  containerd::services::snapshots::v1::StatSnapshotResponse stat(
      const containerd::services::snapshots::v1::StatSnapshotRequest& request);
  /// Of labels only: all of them, or those that the mask names.
  containerd::services::snapshots::v1::UpdateSnapshotResponse update(
      const containerd::services::snapshots::v1::UpdateSnapshotRequest& request);
  /// Those that the filters choose, by name.
  std::vector<StoredSnapshot> list(const containerd::services::snapshots::v1::ListSnapshotsRequest& request);
  containerd::services::snapshots::v1::UsageResponse usage(
      const containerd::services::snapshots::v1::UsageRequest& request);
  /// What cannot be deleted is left for the next time.
  void cleanup();

 private:
  StoredSnapshot find(const std::string& key);
  template <class Make>
  auto made_or_nothing(Make make);
  void log_remote(const std::string& key, const Labels& labels, bool already_exists);

  SnapshotRoot& root_;
  Log log_;
};

containerd::services::snapshots::v1::Info info_of(const StoredSnapshot& snapshot);

}  // namespace lazypull
