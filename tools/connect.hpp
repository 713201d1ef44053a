#pragma once

#include "engine/awaitable.hpp"
#include "tools/options.hpp"
#include "transport/containerd/server_info.hpp"

#include <memory>

namespace lazypull {

class ContainerdBackend;

/// The containerd and snapshotter that the options name, reached within --connect-timeout.
Awaitable<std::unique_ptr<ContainerdBackend>> connect(const Options& options);

/// The version of containerd, within --connect-timeout.
Awaitable<ServerVersion> ask_version(const Options& options);

}  // namespace lazypull
