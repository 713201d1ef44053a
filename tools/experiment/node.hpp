#pragma once

#include "tools/experiment/child.hpp"
#include "tools/experiment/spec.hpp"

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace lazypull::experiment {

/// What a node is made of.
struct NodeOptions {
  Programs programs;             ///< all of them are set
  std::filesystem::path folder;  ///< its own; is made, and removed with all that is mounted below
  SnapshotterKind snapshotter = SnapshotterKind::overlayfs;
  std::filesystem::path layer_storage;  ///< of snapshotter lazypull
};

/// A containerd with root, state and socket of its own and without CRI, and the snapshotter that it needs,
/// all started anew. At the end shims are killed, mounts undone, and the folder is removed.
class Node {
 public:
  explicit Node(NodeOptions options);
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  ~Node();

  std::string address() const { return (options_.folder / "containerd.sock").string(); }
  const std::filesystem::path& folder() const noexcept { return options_.folder; }
  std::string snapshotter() const { return std::string(to_string(options_.snapshotter)); }
  /// Of containerd and the snapshotter, until now.
  Usage daemons() const;
  /// Throws Error with its last words if one of them has ended.
  void check();

 private:
  void start_snapshotter();
  void start_containerd();

  NodeOptions options_;
  std::unique_ptr<Child> snapshotter_;
  std::unique_ptr<Child> containerd_;
};

/// Detaches what is mounted at or below the folder, and removes it.
void remove_with_mounts(const std::filesystem::path& folder);

/// A folder that is removed at the end in the same way.
class WorkFolder {
 public:
  /// A new one inside `base`; empty is /dev/shm or, where there is none, the folder of temporary files.
  explicit WorkFolder(const std::filesystem::path& base);
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;
  ~WorkFolder() { remove_with_mounts(path_); }
  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace lazypull::experiment
