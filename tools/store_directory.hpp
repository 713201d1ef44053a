#pragma once

#include "tools/options.hpp"

#include <optional>
#include <string>

namespace lazypull {

/// The embedded store that a command works with, or nothing where it is containerd: the store that is named;
/// else containerd if its address is named or something is at the default address; else the default store.
std::optional<std::string> store_directory(const Options& options, const Environment& environment);

/// /var/lib/lazypull for root; else lazypull in $XDG_DATA_HOME or ~/.local/share. Throws
/// Error{invalid_argument} where neither is set.
std::string default_store_directory(bool root, const Environment& environment);

}  // namespace lazypull
