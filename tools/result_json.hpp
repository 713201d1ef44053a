#pragma once

#include "engine/error.hpp"
#include "engine/pull_report.hpp"

#include <string>

namespace lazypull {

/// The result of a pull, fetch or plan as one JSON object with a line end. Durations are in milliseconds,
/// sizes in bytes; a ChainID that does not exist is null.
std::string result_json(const PullReport& report);

/// {"error":{"code":"not_found","message":"…"}} with a line end. `code` is that of an Errc, or
/// "timeout", "interrupted" or "terminated" where the whole command was ended.
std::string error_json(std::string_view code, std::string_view message);

/// The versions of this client and of containerd.
std::string version_json(std::string_view client, std::string_view server_version,
                         std::string_view server_revision);

}  // namespace lazypull
