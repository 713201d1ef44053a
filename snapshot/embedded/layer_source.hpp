#pragma once

#include "engine/digest.hpp"
#include "snapshot/remote/remote_layers.hpp"

#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

namespace lazypull {

/// Where snapshots get layers from that are not downloaded. The functions are those of RemoteLayers.
class LayerSource {
 public:
  virtual ~LayerSource() = default;
  virtual std::optional<RemoteLayer> find(const Digest& layer) = 0;
  virtual std::filesystem::path attach(const RemoteLayer& layer) = 0;
  virtual void detach(const Digest& layer) = 0;
  virtual std::vector<Digest> attached() const = 0;
};

std::shared_ptr<LayerSource> layer_source(std::shared_ptr<RemoteLayers> layers);

/// For layers of one storage that are known already.
std::shared_ptr<LayerSource> layer_source_for(const RemoteLayer& layer, const std::filesystem::path& mounts);

/// For the mounts alone: it finds nothing and attaches nothing.
std::shared_ptr<LayerSource> layer_source_without_storages(const std::filesystem::path& mounts);

}  // namespace lazypull
