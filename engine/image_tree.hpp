#pragma once

#include "engine/manifest.hpp"
#include "engine/pull_context.hpp"

#include <vector>

namespace lazypull {

/// One image of those that a reference leads to: its manifest and config, fetched and checked.
struct ImageNode {
  Descriptor descriptor;
  Manifest manifest;
  ImageConfig config;
  Labels config_labels;           ///< as the content store has them
  std::vector<Digest> chain_ids;  ///< empty for what cannot be unpacked, such as an attestation
  bool runnable = true;           ///< a real platform and nothing but layers: can be unpacked
};

/// Walks from the root descriptor down to the manifests and configs of the wanted platforms, all of them
/// fetched at once under the context's limit. Throws platform_not_found, and invalid_image where the number
/// of layers is not that of the DiffIDs.
Awaitable<std::vector<ImageNode>> load_images(PullContext& context, const Descriptor& root);

}  // namespace lazypull
