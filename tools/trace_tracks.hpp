#pragma once

#include "engine/trace.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace lazypull {

/// Spans in the order in which they began, those that contain others before them, and the track that each is
/// drawn on.
struct TrackedSpans {
  struct Item {
    const SpanRecord* span = nullptr;
    std::size_t track = 0;  ///< index into `tracks`
  };
  std::vector<Item> items;
  std::vector<std::string> tracks;  ///< their names: "pull", "layer 2"
};

/// Puts spans on tracks such that on each track any two are apart or one is within the other, and what
/// contains a span there is one of those that it belongs to. A track is used again once it is free, so there
/// are as many as there is done at once. `spans` must outlive the result.
TrackedSpans put_on_tracks(const std::vector<SpanRecord>& spans);

}  // namespace lazypull
