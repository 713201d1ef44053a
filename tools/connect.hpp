#pragma once

#include "engine/awaitable.hpp"
#include "engine/ports.hpp"
#include "tools/options.hpp"
#include "transport/containerd/server_info.hpp"

#include <memory>
#include <string>
#include <vector>

namespace lazypull {

/// What a pull puts things into.
struct Backend {
  std::unique_ptr<LeaseManager> leases;
  bool local_snapshotter = true;     ///< it never provides a layer by itself
  std::vector<std::string> folders;  ///< on this host, that layers end up in; none where it is not told
};

/// The containerd and snapshotter that the options name, reached within --connect-timeout, or the embedded
/// store.
Awaitable<Backend> connect(const Options& options);

/// The version of containerd, within --connect-timeout.
Awaitable<ServerVersion> ask_version(const Options& options);

}  // namespace lazypull
