#pragma once

#include "engine/pull_context.hpp"

#include <cstdint>
#include <functional>
#include <string>

namespace lazypull {

/// A manifest, index or config, verified.
struct MetadataBlob {
  std::string bytes;
  Labels labels;  ///< as the content store has them now
};

/// Reads it from the content store or else fetches it, verifies size and digest, lets `inspect` parse it (and
/// refuse it by throwing) and only then stores it, with the labels that `inspect` returned. Protected by the
/// lease.
Awaitable<MetadataBlob> fetch_metadata(PullContext& context, const Descriptor& descriptor,
                                       std::uint64_t limit,
                                       std::function<Labels(const std::string&)> inspect);

/// Brings a layer's blob into the content store, unless it is there, and protects it. Streams: each piece is
/// hashed and written as it arrives. Goes on from a partial ingest, and from where a connection broke.
/// Sets decision, state, bytes and durations of `layer`.
Awaitable<> fetch_layer(PullContext& context, const Descriptor& descriptor, LayerReport& layer);

}  // namespace lazypull
