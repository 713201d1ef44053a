#pragma once

#include "engine/awaitable.hpp"
#include "engine/platform.hpp"
#include "engine/ports.hpp"
#include "snapshot/remote/layer_publisher.hpp"

#include <optional>
#include <string>

namespace lazypull {

/// The record of an image by its name, or by what is short for it. Throws not_found.
Awaitable<ImageRecord> find_image_record(ImageStore& images, std::string name);

/// The layers of a pulled image: of the given platform; else of the host's, or of what there is where the
/// image is no index. Throws platform_not_found if the content store has no such image, not_found without its
/// config, and what is wrong with it.
Awaitable<LayerChain> load_layer_chain(ContentStore& content, ImageRecord image,
                                       std::optional<Platform> platform);

}  // namespace lazypull
