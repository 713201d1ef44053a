#pragma once

#include "tests/integration/support/containerd.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/registry.hpp"

#include <filesystem>
#include <iosfwd>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace lazypull::test {

/// The stargz snapshotter (Debian's library): mounts eStargz layers over FUSE straight from a plain-HTTP
/// registry on loopback. Nothing is prefetched or fetched in the background. Start it before the containerd
/// that uses it.
class StargzSnapshotter {
 public:
  StargzSnapshotter();

  std::filesystem::path socket() const { return folder_ / "stargz.sock"; }
  ProxyPlugin plugin() const { return {"stargz", socket()}; }
  /// The folders over which a layer is mounted with FUSE now.
  std::vector<std::string> fuse_mounts() const;
  std::string log() const { return process_->err(); }

 private:
  TempDir folder_{"stargz"};
  std::optional<Process> process_;
};

/// One call that a RemoteSnapshotter received.
struct SnapshotterCall {
  std::string method;  ///< "Stat", "Prepare", "Commit", …
  std::string key;     ///< keys, parents and names as containerd gives them: "NAMESPACE/NUMBER/KEY"
  std::string parent;
  std::string name;  ///< of Commit
  std::map<std::string, std::string> labels;
  std::string error;  ///< "" where it succeeded
};
std::ostream& operator<<(std::ostream& out, const SnapshotterCall& call);

/// How a RemoteSnapshotter behaves; layers are named by their digests. May be changed at any time.
struct RemoteBehaviour {
  /// Speak today's protocol (`containerd.io/snapshot.ref`, AlreadyExists) instead of that of 2019.
  bool today = false;
  std::set<std::string> fail_prepare = {};  ///< answer Prepare with an internal error
  std::set<std::string> no_label = {};      ///< 2019: fill the snapshot but forget the remote_snapshot label
  std::set<std::string> fail_commit = {};   ///< answer Commit with an internal error
  std::set<std::string> staged = {};  ///< today: fill the active snapshot and answer one read-only mount
};

/// containerd's overlayfs snapshotter, made remote: layers that it was given are mounted without their
/// content. It knows a layer by its digest: of the label `containerd.io/snapshot/remote_snapshot/digest` in
/// the protocol of 2019, of `containerd.io/snapshot/cri.layer-digest` today.
class RemoteSnapshotter {
 public:
  explicit RemoteSnapshotter(const RemoteBehaviour& behaviour = {});

  std::filesystem::path socket() const { return folder_ / "remote.sock"; }
  ProxyPlugin plugin() const { return {"remote", socket()}; }

  /// From now on this layer is remote.
  void provide(const Layer& layer);
  void withdraw(const Layer& layer);
  void behave(const RemoteBehaviour& behaviour);

  std::vector<SnapshotterCall> calls() const;
  void reset_calls();
  std::string log() const { return process_->err(); }

 private:
  TempDir folder_{"remote"};
  std::optional<Process> process_;
  std::size_t log_start_ = 0;
};

}  // namespace lazypull::test
