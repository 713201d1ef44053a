#pragma once

#include <filesystem>

namespace lazypull::test {

/// Whether somebody listens on this Unix socket.
bool accepts_connections(const std::filesystem::path& socket);

}  // namespace lazypull::test
