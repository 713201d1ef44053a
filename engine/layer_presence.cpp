#include "engine/layer_presence.hpp"

#include "engine/layer_steps.hpp"

namespace lazypull {
namespace {

void mark_present(ImageReport& report, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    report.layers[i].decision = LayerDecision::exists;
    report.layers[i].state = LayerState::done;
  }
}

}  // namespace

Awaitable<bool> snapshot_exists(PullContext& context, const Digest& chain_id) {
  const Span span(context.trace, "Stat", "snapshotter", chain_id.str());
  const auto info = co_await context.snapshotter().stat(chain_id.str());
  co_return info.has_value();
}

Awaitable<std::size_t> count_present(PullContext& context, const ImageNode& image, ImageReport& report) {
  const std::size_t layers = image.chain_ids.size();
  // The lease takes the snapshot before we look, so that it cannot go between the two.
  co_await context.lease.protect_snapshot(image.chain_ids.back().str());
  const bool all = co_await snapshot_exists(context, image.chain_ids.back());
  if (all) {
    report.already_there = true;
    mark_present(report, layers);
    co_return layers;
  }
  // A committed snapshot's parents exist too, so those that exist are the lowest ones.
  std::size_t low = 0;
  std::size_t high = layers - 1;
  while (low < high) {
    const std::size_t middle = low + (high - low) / 2;
    const bool there = co_await snapshot_exists(context, image.chain_ids[middle]);
    if (there) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low > 0) {
    co_await context.lease.protect_snapshot(image.chain_ids[low - 1].str());
    const bool still = co_await snapshot_exists(context, image.chain_ids[low - 1]);
    if (!still) low = 0;
  }
  mark_present(report, low);
  co_return low;
}

Awaitable<std::size_t> walk_2019(PullContext& context, const ImageNode& image, ImageReport& report) {
  auto dialects = context.options.dialects;
  dialects.insert(LabelDialect::v2019);
  dialects.erase(LabelDialect::containerd);  // snapshot.ref would ask by today's protocol
  for (std::size_t i = 0; i < image.chain_ids.size(); ++i) {
    auto& layer = report.layers[i];
    layer.state = LayerState::asking;
    LayerSteps steps(context, image, i, layer, "remote", dialects);
    const WalkAction end = co_await carry_out_walk<LayerWalk2019>(steps, decline);
    if (end == WalkAction::necessary) {
      if (ends_the_walk(steps.failure())) {
        rethrow_with_context(steps.failure(), "layer " + layer.digest.str());
      }
      layer.state = LayerState::waiting;
      co_return i;
    }
    const bool asked = steps.prepared_a_key();
    layer.decision = asked ? LayerDecision::remote : LayerDecision::exists;
    layer.state = LayerState::done;
    // Stat alone does not protect it.
    if (!asked) co_await context.lease.protect_snapshot(image.chain_ids[i].str());
  }
  co_return image.chain_ids.size();
}

}  // namespace lazypull
