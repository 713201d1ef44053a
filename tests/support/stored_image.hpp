#pragma once

#include "engine/platform.hpp"
#include "snapshot/embedded/store.hpp"

#include <functional>
#include <string>
#include <vector>

namespace lazypull::test {

/// One layer: the bytes of its blob, and what fills its snapshot's directory.
struct StoredLayer {
  std::string blob;
  std::function<void(const std::filesystem::path& directory)> fill;
};

struct StoredPart {
  Descriptor manifest;
  Descriptor config;
  std::vector<Descriptor> layers;
  std::vector<std::string> chain_ids;
};

/// Manifest, config, layers and snapshots of one platform, labelled as a pull does.
StoredPart store_part(EmbeddedStore& store, const std::vector<StoredLayer>& layers,
                      const Platform& platform = Platform::host());
/// An index of them; `elsewhere` are listed but not in the store.
Descriptor store_index(EmbeddedStore& store, const std::vector<StoredPart>& parts,
                       const std::vector<Descriptor>& elsewhere = {});
void record_image(EmbeddedStore& store, const std::string& name, const Descriptor& target,
                  const Labels& labels = {});

}  // namespace lazypull::test
