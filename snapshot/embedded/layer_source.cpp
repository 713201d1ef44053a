#include "snapshot/embedded/layer_source.hpp"

#include <utility>

namespace lazypull {

namespace {

class RemoteLayerSource final : public LayerSource {
 public:
  explicit RemoteLayerSource(std::shared_ptr<RemoteLayers> layers) : layers_(std::move(layers)) {}

  std::optional<RemoteLayer> find(const Digest& layer) override { return layers_->find(layer); }
  std::filesystem::path attach(const RemoteLayer& layer) override { return layers_->attach(layer); }
  void detach(const Digest& layer) override { layers_->detach(layer); }
  std::vector<Digest> attached() const override { return layers_->attached(); }

 private:
  std::shared_ptr<RemoteLayers> layers_;
};

}  // namespace

std::shared_ptr<LayerSource> layer_source(std::shared_ptr<RemoteLayers> layers) {
  if (!layers) return nullptr;
  return std::make_shared<RemoteLayerSource>(std::move(layers));
}

std::shared_ptr<LayerSource> layer_source_for(const RemoteLayer& layer, const std::filesystem::path& mounts) {
  RemoteLayersOptions options;
  options.mounts = mounts;
  // STORAGE/ALGORITHM/HEX/DATA
  options.storages = {layer.data.parent_path().parent_path().parent_path()};
  return layer_source(std::make_shared<RemoteLayers>(std::move(options)));
}

std::shared_ptr<LayerSource> layer_source_without_storages(const std::filesystem::path& mounts) {
  RemoteLayersOptions options;
  options.mounts = mounts;
  return layer_source(std::make_shared<RemoteLayers>(std::move(options)));
}

}  // namespace lazypull
