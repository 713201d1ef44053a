#pragma once

#include "tools/agent/agent_config.hpp"
#include "tools/agent_command.hpp"

namespace lazypull {

/// The settings of the config file, if one is given, with those of the flags over them. Throws Error that
/// names what is wrong.
AgentConfig agent_config(const AgentCommand& command);

/// Serves until SIGTERM or SIGINT, lets pulls finish (a second signal cancels them), and returns. Tells a
/// service manager how it is (sd_notify(3)). Throws Error for what keeps it from serving.
void run_agent(const AgentConfig& config);

}  // namespace lazypull
