#pragma once

#include "engine/awaitable.hpp"
#include "snapshot/remote/layer_publisher.hpp"
#include "tools/exit_code.hpp"
#include "tools/options.hpp"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace lazypull {

/// What has been done so far, also where it failed then.
struct PublishRun {
  FailureSource failure_source = FailureSource::other;
  std::optional<Errc> failure;
  std::string image;  ///< its full name
  std::vector<PublishedLayer> layers;
  std::function<void(const PublishedLayer&)> tell;  ///< of each layer as it is done; may be empty
};

/// `lazypull layers publish`: from the embedded store or from containerd, as a pull chooses. Both references
/// must outlive it.
Awaitable<> run_layers_publish(const Options& options, PublishRun& run);

/// One JSON object.
std::string publish_json(const Options& options, const PublishRun& run);

}  // namespace lazypull
