#pragma once

#include "engine/image_tree.hpp"
#include "engine/pull_context.hpp"

namespace lazypull {

/// Decides for each layer of one image what a pull would do with it, by asking the snapshotter as the pull
/// would. Snapshots that come of the questions are the lease's alone, so releasing it removes them.
Awaitable<> plan_layers(PullContext& context, const ImageNode& image, ImageReport& report);

}  // namespace lazypull
