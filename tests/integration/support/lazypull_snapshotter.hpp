#pragma once

#include "tests/integration/support/containerd.hpp"
#include "tests/support/process.hpp"
#include "tests/support/temp_dir.hpp"

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace lazypull::test {

struct LazypullSnapshotterOptions {
  std::vector<std::filesystem::path> storages = {};
  std::filesystem::path root = {};  ///< a folder of its own if empty
};

/// `lazypull snapshotter serve` as it was built, as containerd's snapshotter "lazypull". Start it before the
/// containerd that uses it.
class LazypullSnapshotter {
 public:
  explicit LazypullSnapshotter(LazypullSnapshotterOptions options = {});

  std::filesystem::path socket() const { return folder_ / "snapshotter.sock"; }
  std::filesystem::path root() const { return options_.root; }
  ProxyPlugin plugin() const { return {"lazypull", socket()}; }
  /// What the running process has written to standard error.
  std::string log() const { return process_->err(); }

  void start();
  /// Returns the exit code.
  int stop() { return process_->stop(std::chrono::seconds(30)); }
  void kill() { process_->kill(); }
  void restart();

  /// Names of the directories below root/snapshots.
  std::vector<std::string> directories() const;
  /// Waits until there are so many: containerd removes what it has collected in the background.
  void wait_for_directories(std::size_t count) const;
  /// What is mounted at or below the root now.
  std::vector<std::string> mounts() const;

 private:
  LazypullSnapshotterOptions options_;
  TempDir folder_{"snapshotter"};
  std::optional<Process> process_;
};

/// read_image_tree, but for the time of the image's root, which is that of the pull where no layer names it.
TreeManifest image_files(Containerd& containerd, const std::string& snapshotter, const std::string& reference,
                         const std::string& space = "default");

/// Waits until containerd has a connection to it again, which after a restart takes it a moment.
void wait_for_connection(Containerd& containerd);

}  // namespace lazypull::test
