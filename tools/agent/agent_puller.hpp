#pragma once

#include "engine/pull_options.hpp"
#include "engine/trace.hpp"
#include "snapshot/containerd_backend.hpp"
#include "tools/agent/agent_config.hpp"
#include "tools/agent/agent_log.hpp"
#include "tools/agent/agent_pulls.hpp"
#include "tools/agent/agent_registries.hpp"
#include "tools/agent/cri_images.hpp"
#include "tools/agent/cri_peer.hpp"

#include <map>
#include <memory>
#include <string>

namespace lazypull {

/// What a pull of the agent's works with. All must outlive the pulls.
struct AgentPullerParts {
  const AgentConfig& config;
  ContainerdBackend& backend;  ///< with the agent's snapshotter
  AgentRegistries& registries;
  CriImages& images;
  AgentLog& log;
  TracePoint trace;
};

/// Does the agent's pulls: from the registry into containerd, with the records that its CRI plugin expects.
/// Of the home thread.
class AgentPuller {
 public:
  explicit AgentPuller(AgentPullerParts parts);
  AgentPuller(const AgentPuller&) = delete;
  AgentPuller& operator=(const AgentPuller&) = delete;

  /// As RunAgentPull. When it returns containerd's CRI plugin, where there is one, knows the image.
  Awaitable<PulledImage> pull(const AgentPullRequest& request, const std::string& snapshotter,
                              PullShared& shared, PullReport& report);

 private:
  /// That of a snapshotter other than the agent's is connected when it is first needed.
  Awaitable<ContainerdBackend*> backend_of(std::string snapshotter);
  PullOptions options_for(const AgentPullRequest& request, const ContainerdBackend& backend) const;
  Awaitable<> make_seen(PulledImage image, Reference reference);

  AgentPullerParts parts_;
  CriPeer peer_;
  std::map<std::string, std::unique_ptr<ContainerdBackend>> others_;
};

}  // namespace lazypull
