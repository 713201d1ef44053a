#pragma once

#include "engine/trace.hpp"
#include "tools/agent/agent_pulls.hpp"

#include <string>

namespace lazypull {

/// What a daemon is doing at this moment, for a person who wants to know why it does not go on: the queues,
/// and everything under way as a tree, each with its age and the object concerned. What has nothing below it
/// is what those above it wait for.
std::string debug_text(const Tracer& tracer, AgentPulls& pulls);

/// The tree alone.
std::string task_tree(const Tracer& tracer);

}  // namespace lazypull
