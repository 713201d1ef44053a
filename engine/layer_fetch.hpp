#pragma once

#include "engine/pull_context.hpp"

#include <memory>

namespace lazypull {

/// How far a layer came on its way to its snapshot.
struct FetchedLayer {
  std::unique_ptr<LayerUnpack> unpack;  ///< extracted already, and only to be placed; else it is in the store
  AppliedLayer applied;                 ///< what was extracted
  bool stored = true;                   ///< its blob is in the content store
};

/// Whether a layer is to be extracted while it arrives, where the applier can do that.
enum class UnpackWish { none, lowest_layer, upper_layer };

/// Brings a layer's blob into the content store, unless it is there, and protects it. Streams: each piece is
/// hashed, written and, if wished, extracted as it arrives. Goes on from a partial ingest (which is extracted
/// from the store then: its first bytes have passed already), and from where a connection broke.
/// Sets decision, state, bytes and durations of `layer`.
Awaitable<FetchedLayer> fetch_layer(PullContext& context, const Descriptor& descriptor, LayerReport& layer,
                                    UnpackWish wish);

}  // namespace lazypull
