#pragma once

#include "snapshot/service/snapshot_root.hpp"

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

namespace lazypull {

struct SnapshotServerOptions {
  std::filesystem::path socket;
  /// Calls that are worked on at once; they block on files and on shared storage. Others wait.
  std::size_t threads = 16;
  /// Told of failures that are not the caller's and of what became of remote layers, line by line, by any
  /// thread.
  std::function<void(const std::string&)> log = [](const std::string&) {};
};

/// Serves containerd.services.snapshots.v1.Snapshots on a Unix socket, for containerd as its proxy plugin or
/// for any other client of root's: the socket has the mode 0600. Refusals have the status codes that
/// containerd's own snapshotters give them.
class SnapshotServer {
 public:
  /// Serves from now on; `root` must outlive it. A socket that a dead process has left is replaced. Throws
  /// failed_precondition if somebody serves the socket, or if something else than a socket is there;
  /// invalid_argument for a path that is too long for a socket; permission_denied, unavailable.
  SnapshotServer(SnapshotRoot& root, SnapshotServerOptions options);
  SnapshotServer(const SnapshotServer&) = delete;
  SnapshotServer& operator=(const SnapshotServer&) = delete;
  /// Stops without patience.
  ~SnapshotServer();

  /// Takes no more calls, waits until those that run have ended, and removes the socket. Calls that wait for
  /// a thread longer than `patience` are cancelled.
  void stop(std::chrono::milliseconds patience);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lazypull
