#pragma once

#include "engine/error.hpp"

#include <string>

namespace lazypull {

/// What the process ends with; part of the command's interface, so a number never changes its meaning.
enum class ExitCode {
  ok = 0,
  failure = 1,       ///< anything that no other code names
  usage = 2,         ///< bad flags, reference or platform
  not_found = 3,     ///< no such image or tag, or none for the platform
  denied = 4,        ///< the registry wants other credentials (HTTP 401 or 403)
  registry = 5,      ///< the registry cannot be reached or fails: DNS, TCP, TLS, HTTP 429 or 5xx
  content = 6,       ///< what came is not what was asked for: digest, size, JSON or media type
  containerd = 7,    ///< containerd or its snapshotter cannot be reached, refuses or fails
  out_of_space = 8,  ///< no space left for content or snapshots
  // 11 to 110 are prewarm_exit_code's: 10 and the number of images that failed.
  timed_out = 124,    ///< --timeout passed
  interrupted = 130,  ///< SIGINT
  terminated = 143,   ///< SIGTERM
};

/// Where it went wrong. Some failures, such as `unavailable`, mean different things by it.
enum class FailureSource {
  set_up,    ///< connecting to containerd and finding the snapshotter
  registry,  ///< the registry's answer, or its lack
  other,     ///< anything else of the command: containerd's stores, or what the engine thinks of the image
};

ExitCode exit_code(Errc failure, FailureSource source) noexcept;

/// The table of exit codes for --help.
std::string exit_code_help();

}  // namespace lazypull
