#pragma once

#include "tests/integration/support/image.hpp"
#include "tests/integration/support/tree.hpp"

#include <set>
#include <string>
#include <vector>

namespace lazypull::test {

/// An image at the registry, and what a good pull of it gives.
struct CampaignSource {
  Image image;                ///< or the index that leads to it
  std::string name;           ///< "campaign/a:1"
  std::vector<Layer> layers;  ///< of the host's platform
  std::string top_chain_id;
  TreeManifest tree;            ///< from a pull over a good line
  std::set<std::string> blobs;  ///< of the host's platform, and the index
  std::set<std::string> layer_blobs;
};

/// Small images that share their base: gzip, zstd and plain layers, whiteouts, many layers, an index. Without
/// their trees.
std::vector<CampaignSource> make_campaign_sources();

}  // namespace lazypull::test
