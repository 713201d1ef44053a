#pragma once

#include "engine/image_tree.hpp"
#include "engine/pull_context.hpp"

namespace lazypull {

/// Gets every layer's snapshot of one image into place by today's protocol: asks the snapshotter for each
/// layer as soon as its parent is committed, downloads and extracts those that it declines, and commits in
/// chain order. Downloads run ahead of the walk as the fetch policy says.
Awaitable<> provide_layers(PullContext& context, const ImageNode& image, ImageReport& report);

/// The same by the 2019 protocol: walks up to the first layer that the snapshotter cannot provide; that one
/// and all above are downloaded and, if the options say so, extracted.
Awaitable<> provide_layers_2019(PullContext& context, const ImageNode& image, ImageReport& report);

/// Only downloads the layers (`fetch`).
Awaitable<> download_layers(PullContext& context, const ImageNode& image, ImageReport& report);

}  // namespace lazypull
