#pragma once

#include "engine/awaitable.hpp"
#include "tools/options.hpp"
#include "transport/containerd/server_info.hpp"

#include <optional>
#include <string>

namespace lazypull {

/// Asks containerd for its version. `server` must outlive it, and stays empty if it fails.
Awaitable<> run_version(const Options& options, std::optional<ServerVersion>& server);

/// The versions of client and server for standard output, in the format that the options say.
std::string version_text(const Options& options, const std::optional<ServerVersion>& server);

}  // namespace lazypull
