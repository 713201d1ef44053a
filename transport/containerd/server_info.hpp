#pragma once

#include "engine/awaitable.hpp"
#include "engine/descriptor.hpp"
#include "transport/containerd/client.hpp"

#include <set>
#include <string>
#include <vector>

namespace lazypull {

struct ServerVersion {
  std::string version;   ///< "1.6.20~ds1", "v2.1.0"
  std::string revision;  ///< may be empty
};

/// A snapshotter as the daemon lists it.
struct SnapshotterInfo {
  std::string name;
  /// The socket of the process that a proxy snapshotter runs in; empty for those inside containerd.
  /// containerd exports it for each of its `proxy_plugins`; nothing else tells the two apart.
  std::string address;
  std::string root;                    ///< folder of the snapshots, where it says so
  std::set<std::string> capabilities;  ///< such as "rebase", since 2.2
  Labels exports;
  std::string error;  ///< why it could not be loaded; empty if it runs

  bool usable() const noexcept { return error.empty(); }
  bool is_proxy() const noexcept { return !address.empty(); }
};

Awaitable<ServerVersion> server_version(ContainerdClient client);
Awaitable<std::vector<std::string>> list_namespaces(ContainerdClient client);

/// What the daemon consists of, as far as a pull wants to know.
struct ServerPlugins {
  std::vector<SnapshotterInfo> snapshotters;  ///< by name; those that failed to load too
  std::string content_root;                   ///< folder of the content store; empty if it does not say
};

Awaitable<ServerPlugins> list_plugins(ContainerdClient client);

/// The usable snapshotter of that name. Throws Error{invalid_argument}, which names the usable ones, for one
/// that does not exist, and Error{failed_precondition} with the daemon's reason for one that could not be
/// loaded.
const SnapshotterInfo& find_snapshotter(const std::vector<SnapshotterInfo>& all, const std::string& name);

}  // namespace lazypull
