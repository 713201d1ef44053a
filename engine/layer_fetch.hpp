#pragma once

#include "engine/pull_context.hpp"

#include <memory>

namespace lazypull {

/// How far a layer came on its way to its snapshot.
struct FetchedLayer {
  std::unique_ptr<LayerUnpack> unpack;  ///< extracted already, and only to be placed; else it is in the store
  AppliedLayer applied;                 ///< what was extracted
  bool stored = true;                   ///< its blob is in the content store
  bool by_other_process = false;        ///< another process has just stored it, and may be unpacking it
  bool unpack_tried = false;            ///< so where there is no `unpack`, the applier wants mounts
};

/// Whether a layer is to be extracted while it arrives, where the applier can do that.
enum class UnpackWish { none, lowest_layer, upper_layer };

/// Brings a layer's blob into the content store, unless it is there, and protects it. Streams: each piece is
/// hashed, written and, if wished, extracted as it arrives. Goes on from a partial ingest (which is extracted
/// from the store then: its first bytes have passed already), and from where a connection broke.
/// What another process has just stored is not extracted: see `extract_stored`.
/// Sets decision, state, bytes and durations of `layer`.
Awaitable<FetchedLayer> fetch_layer(PullContext& context, const Descriptor& descriptor, LayerReport& layer,
                                    UnpackWish wish);

/// Extracts a stored layer as if it were arriving, so that it need not wait for those below either. Leaves
/// `fetched.unpack` null where layers can only be applied to mounts.
Awaitable<> extract_stored(PullContext& context, const Descriptor& descriptor, LayerReport& layer,
                           UnpackWish wish, FetchedLayer& fetched);

}  // namespace lazypull
