#pragma once

#include "engine/bandwidth.hpp"
#include "engine/prewarm.hpp"
#include "engine/trace.hpp"
#include "tools/agent/agent_pulls.hpp"

#include <google/protobuf/repeated_ptr_field.h>

#include <lazypull/agent/v1/agent.pb.h>
#include <vector>

/// Between the agent's values and the messages of its own service. Requests are checked: what is wrong throws
/// Error{invalid_argument} that names the field.
namespace lazypull {

AgentPullRequest pull_request(const agent::v1::PullRequest& message);
std::vector<PrewarmItem> prewarm_items(const agent::v1::PrewarmRequest& message);
PullClass pull_class_of(agent::v1::PullClass message);

enum class WithLayers { no, yes };
void fill(agent::v1::PullState& message, const RunningPull& pull, WithLayers layers);
/// A run's counters, without the images that run.
void fill(agent::v1::PrewarmProgress& message, const PrewarmReport& report, std::chrono::nanoseconds age);
void fill(agent::v1::PrewarmOutcome& message, const PrewarmImage& image);
void fill_queues(google::protobuf::RepeatedPtrField<agent::v1::Queue>& messages, AgentPulls& pulls);
void fill_bandwidths(google::protobuf::RepeatedPtrField<agent::v1::Bandwidth>& messages,
                     const Bandwidth& bandwidth);
void fill_tasks(google::protobuf::RepeatedPtrField<agent::v1::Task>& messages,
                const std::vector<LiveSpan>& spans);

}  // namespace lazypull
