#include "engine/pull_report.hpp"

#include <set>

namespace lazypull {

std::string_view to_string(LayerDecision decision) noexcept {
  switch (decision) {
    case LayerDecision::undecided:
      return "undecided";
    case LayerDecision::exists:
      return "exists";
    case LayerDecision::remote:
      return "remote";
    case LayerDecision::staged:
      return "staged";
    case LayerDecision::present:
      return "present";
    case LayerDecision::download:
      return "download";
  }
  return "undecided";
}

std::string_view to_string(LayerState state) noexcept {
  switch (state) {
    case LayerState::waiting:
      return "waiting";
    case LayerState::asking:
      return "asking";
    case LayerState::queued:
      return "queued";
    case LayerState::downloading:
      return "downloading";
    case LayerState::downloaded:
      return "downloaded";
    case LayerState::unpacking:
      return "unpacking";
    case LayerState::done:
      return "done";
  }
  return "waiting";
}

std::uint64_t PullReport::fetched_bytes() const {
  std::uint64_t sum = 0;
  for (const auto& image : images) {
    for (const auto& layer : image.layers) sum += layer.bytes_fetched;
  }
  return sum;
}

std::uint64_t PullReport::avoided_bytes() const {
  std::set<Digest> downloaded;
  std::set<Digest> seen;
  for (const auto& image : images) {
    for (const auto& layer : image.layers) {
      if (layer.decision == LayerDecision::download) downloaded.insert(layer.digest);
    }
  }
  std::uint64_t sum = 0;
  for (const auto& image : images) {
    for (const auto& layer : image.layers) {
      const bool decided = layer.decision != LayerDecision::undecided;
      if (decided && !downloaded.contains(layer.digest) && seen.insert(layer.digest).second)
        sum += layer.size;
    }
  }
  return sum;
}

}  // namespace lazypull
