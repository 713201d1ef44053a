#include "tools/agent/agent_puller.hpp"

#include "engine/error.hpp"
#include "engine/puller.hpp"
#include "engine/retry_budget.hpp"
#include "tools/disk_space.hpp"

#include <utility>
#include <vector>

namespace lazypull {
namespace {

/// containerd's CRI plugin needs milliseconds; one that is still starting is not waited for.
constexpr std::chrono::seconds sight_patience{5};
/// A cancelled pull is in nobody's way, and containerd may be restarting.
constexpr std::chrono::seconds cleanup_patience{10};

ContainerdOptions containerd_options(const AgentConfig& config) {
  ContainerdOptions options;
  options.address = config.containerd.address;
  options.name_space = config.containerd.name_space;
  return options;
}

}  // namespace

AgentPuller::AgentPuller(AgentPullerParts parts) : parts_(parts), peer_(parts.backend.client()) {}

Awaitable<ContainerdBackend*> AgentPuller::backend_of(std::string snapshotter) {
  if (snapshotter == parts_.backend.snapshotter_info().name) co_return &parts_.backend;
  const auto known = others_.find(snapshotter);
  if (known != others_.end()) co_return known->second.get();
  auto made = co_await ContainerdBackend::connect(containerd_options(parts_.config), snapshotter,
                                                  parts_.config.containerd.unpack);
  // Another may have been quicker; then this one goes.
  const auto [place, inserted] = others_.emplace(std::move(snapshotter), std::move(made));
  co_return place->second.get();
}

PullOptions AgentPuller::options_for(const AgentPullRequest& request,
                                     const ContainerdBackend& backend) const {
  PullOptions options;
  if (request.platform) options.platforms = {*request.platform};
  options.local_snapshotter = !backend.snapshotter_info().is_proxy();
  options.dialects = {LabelDialect::containerd};
  if (!options.local_snapshotter) {
    options.dialects.insert(LabelDialect::cri);
    options.dialects.insert(LabelDialect::stargz);
  }
  options.cleanup_timeout = cleanup_patience;
  options.discard_unpacked_layers = parts_.config.containerd.discard_unpacked_layers;
  options.retries = std::make_shared<RetryBudget>(parts_.config.registry.retry_budget);
  options.trace = parts_.trace;
  return options;
}

Awaitable<PulledImage> AgentPuller::pull(const AgentPullRequest& request, const std::string& snapshotter,
                                         PullShared& shared, PullReport& report) {
  auto* backend = co_await backend_of(snapshotter);
  const auto& root = backend->snapshotter_info().root;
  if (parts_.config.limits.min_free.any() && !root.empty()) {
    require_free({root}, parts_.config.limits.min_free);
  }
  auto options = options_for(request, *backend);
  options.image_labels = co_await parts_.images.labels_for(request.reference);
  const auto client = parts_.registries.client(request.credentials);
  auto registry = client->with_budget(options.retries);
  const PullPorts ports{registry, registry, *backend};
  co_await pull_image(ports, request.reference, std::move(options), report, shared, request.rank);
  PulledImage image{report.images.front().config, report.target.digest};
  co_await parts_.images.record(request.reference, report.target, image.image_id);
  co_await make_seen(image, request.reference);
  co_return image;
}

Awaitable<> AgentPuller::make_seen(PulledImage image, Reference reference) {
  const auto names = cri_record_names(reference, image.image_id, image.target);
  const auto sight = co_await peer_.await_image(image.image_id.str(), names, sight_patience);
  if (sight == CriPeer::Sight::not_seen) {
    parts_.log.warning("containerd's CRI plugin does not see an image", {{"reference", reference.name()}});
  }
}

}  // namespace lazypull
