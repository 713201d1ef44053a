#include "engine/layer_plan.hpp"

#include "engine/layer_presence.hpp"
#include "engine/layer_steps.hpp"

#include <type_traits>

namespace lazypull {
namespace {

/// Asks for one layer as a pull would, but backs out where content would have to be extracted. Snapshots that
/// the snapshotter provides in answer belong to the lease, and go with it.
template <class Walk>
Awaitable<bool> can_be_provided(PullContext& context, const ImageNode& image, std::size_t index,
                                LayerReport& layer) {
  constexpr bool by_2019 = std::is_same_v<Walk, LayerWalk2019>;
  auto dialects = context.options.dialects;
  if (by_2019) {
    dialects.insert(LabelDialect::v2019);
    dialects.erase(LabelDialect::containerd);
  }
  LayerSteps steps(context, image, index, layer, by_2019 ? "remote" : "extract", dialects);
  bool declined = false;
  auto back_out = [&declined](LayerSteps& with) {
    declined = true;
    return decline(with);
  };
  const WalkAction end = co_await carry_out_walk<Walk>(steps, back_out);
  const bool broken = end == WalkAction::fail && !declined;
  if (broken || ends_the_walk(steps.failure())) {
    rethrow_with_context(steps.failure(), "layer " + layer.digest.str());
  }
  co_return end == WalkAction::skip;
}

/// The first layer from `first` upwards that must be downloaded.
Awaitable<std::size_t> ask_upwards(PullContext& context, const ImageNode& image, ImageReport& report,
                                   std::size_t first) {
  const bool by_2019 = context.options.protocol == RemoteProtocol::v2019;
  for (std::size_t i = first; i < image.chain_ids.size(); ++i) {
    auto& layer = report.layers[i];
    bool provided = false;
    if (by_2019) {
      provided = co_await can_be_provided<LayerWalk2019>(context, image, i, layer);
    } else {
      provided = co_await can_be_provided<LayerWalk>(context, image, i, layer);
    }
    if (!provided) co_return i;
    layer.decision = LayerDecision::remote;
  }
  co_return image.chain_ids.size();
}

Awaitable<> plan_content(PullContext& context, ImageReport& report, std::size_t first) {
  for (std::size_t i = first; i < report.layers.size(); ++i) {
    auto& layer = report.layers[i];
    const auto info = co_await context.content().info(layer.digest);
    layer.decision = info ? LayerDecision::present : LayerDecision::download;
  }
}

}  // namespace

Awaitable<> plan_layers(PullContext& context, const ImageNode& image, ImageReport& report) {
  std::size_t first = 0;
  if (!image.chain_ids.empty()) {
    const bool by_2019 = context.options.protocol == RemoteProtocol::v2019;
    if (!by_2019) first = co_await count_present(context, image, report);
    const bool worth_asking = by_2019 || !context.options.local_snapshotter;
    if (worth_asking) first = co_await ask_upwards(context, image, report, first);
  }
  co_await plan_content(context, report, first);
}

}  // namespace lazypull
