#pragma once

#include "engine/image_tree.hpp"
#include "engine/pull_context.hpp"

#include <cstddef>

namespace lazypull {

/// How many layers, from the lowest, have their snapshot already; those are protected by the lease. If it is
/// all of them, one Stat has found it out. Marks them in the report.
Awaitable<std::size_t> count_present(PullContext& context, const ImageNode& image, ImageReport& report);

/// Whether the snapshotter has a layer's snapshot.
Awaitable<bool> snapshot_exists(PullContext& context, const Digest& chain_id);

/// How many layers the snapshotter provides from the lowest up by the protocol of 2019; the walk ends at the
/// first it cannot. Marks them in the report.
Awaitable<std::size_t> walk_2019(PullContext& context, const ImageNode& image, ImageReport& report);

}  // namespace lazypull
