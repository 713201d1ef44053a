#pragma once

#include "engine/manifest.hpp"
#include "snapshot/embedded/store.hpp"

#include <optional>
#include <string>
#include <vector>

namespace lazypull {

/// One image of an index, or the only one, as far as the store has it.
struct ImagePart {
  Descriptor descriptor;
  Platform platform;  ///< of the index or else of the config; may be unknown
  Manifest manifest;
  std::optional<ImageConfig> config;  ///< none if it is not there, or is no config of an image
  std::vector<Digest> chain_ids;      ///< empty without a config

  std::vector<Descriptor> blobs() const;  ///< manifest, config and layers
};

/// What an image record leads to.
struct ImageContents {
  bool of_index = false;
  std::vector<Descriptor> indexes;
  std::vector<ImagePart> parts;
  std::vector<Descriptor> absent;  ///< manifests and indexes that are not in the store
};

/// By its name, or by what is short for it. Throws Error{not_found}.
StoredImage find_image(EmbeddedStore& store, const std::string& name);

ImageContents read_image(EmbeddedStore& store, const Descriptor& target);

/// The best one for the platform; for the host's if none is given, or simply the only one where there is no
/// choice. Throws Error{platform_not_found} that names the image.
const ImagePart& choose_part(const ImageContents& contents, const std::optional<Platform>& platform,
                             const std::string& image);

}  // namespace lazypull
