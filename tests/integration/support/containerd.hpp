#pragma once

#include "tests/integration/support/tree.hpp"
#include "tests/support/process.hpp"
#include "tests/support/temp_dir.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace lazypull::test {

/// A snapshotter that runs as a process of its own.
struct ProxyPlugin {
  std::string name;
  std::filesystem::path socket;
};

struct ContainerdOptions {
  std::vector<ProxyPlugin> snapshotters = {};
  /// Content of one namespace is invisible to writers in another ("isolated"); containerd's default is to
  /// share.
  bool isolated_content = false;
  bool cri = false;               ///< with its CRI plugin
  std::string extra_config = {};  ///< TOML
};

/// A private containerd with its own root, state and socket. Takes about 0.1 s to start. At the
/// end its shims are killed and its mounts undone.
class Containerd {
 public:
  explicit Containerd(ContainerdOptions options = {});
  ~Containerd();

  std::filesystem::path socket() const { return folder_ / "containerd.sock"; }
  std::string address() const { return "unix://" + socket().string(); }
  std::filesystem::path root() const { return folder_ / "root"; }
  pid_t pid() const { return process_->pid(); }
  std::string log() const { return process_->err(); }

  /// `ctr --address … --namespace space ARGS…`
  ProcessResult ctr(Argv arguments, const std::string& space = "default");
  std::string ctr_ok(Argv arguments, const std::string& space = "default");

  void start();
  void stop() { process_->stop(); }
  void kill() { process_->kill(); }
  void restart();

 private:
  ContainerdOptions options_;
  TempDir folder_{"containerd"};
  std::optional<Process> process_;
};

/// Runs containerd's garbage collector to its end.
void collect_garbage(Containerd& containerd, const std::string& space = "default");

/// An image's merged file system, mounted read-only through a view snapshot until destruction.
class MountedImage {
 public:
  MountedImage(Containerd& containerd, std::string snapshotter, const std::string& reference,
               std::string space);
  MountedImage(const MountedImage&) = delete;
  MountedImage& operator=(const MountedImage&) = delete;
  ~MountedImage();
  const std::filesystem::path& path() const noexcept { return target_; }

 private:
  Containerd& containerd_;
  std::string snapshotter_;
  std::string space_;
  std::string key_;
  TempDir folder_{"mount"};
  std::filesystem::path target_;
};

/// Mounts the snapshot that the image's config names as its top; never unpacks, so it throws if that is
/// missing.
MountedImage mount_image(Containerd& containerd, const std::string& snapshotter, const std::string& reference,
                         const std::string& space = "default");

/// Mounts and reads the image's whole tree.
TreeManifest read_image_tree(Containerd& containerd, const std::string& snapshotter,
                             const std::string& reference, const std::string& space = "default");

/// `ctr run --rm` of the image, which must be unpacked (ctr would unpack it silently).
ProcessResult run_container(Containerd& containerd, const std::string& snapshotter,
                            const std::string& reference, Argv command, const std::string& space = "default");

}  // namespace lazypull::test
