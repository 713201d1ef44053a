#pragma once

#include "transport/docker_config.hpp"

#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace lazypull {

/// `lazypull trace show FILE` (docs/tracing.md).
struct TraceCommand {
  std::string file;
  bool critical_only = false;
  std::string shortest = "0s";  ///< a duration
};

/// Declares `trace show`; `chosen` is called when it has been parsed. What it refers to must outlive `app`.
void add_trace_commands(CLI::App& app, TraceCommand& command, std::function<void()> chosen);

/// The waterfall, for `output`: as wide as that terminal, or as $COLUMNS says; coloured on a terminal, unless
/// $NO_COLOR is set. Throws Error: invalid_argument for what is no duration, not_found, bad_response.
std::string run_trace_command(const TraceCommand& command, int output, const Environment& environment);

}  // namespace lazypull
