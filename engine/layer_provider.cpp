#include "engine/layer_provider.hpp"

#include "engine/blob_fetch.hpp"
#include "engine/image_claims.hpp"
#include "engine/layer_downloads.hpp"
#include "engine/layer_presence.hpp"
#include "engine/layer_steps.hpp"
#include "engine/lock_wait.hpp"
#include "engine/task_group.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace lazypull {
namespace {

/// The blob, which the manifest keeps alive, has come from this repository too.
Awaitable<> label_source(PullContext& context, const Descriptor& descriptor) {
  auto info = co_await context.content().info(descriptor.digest);
  if (info) co_await add_labels(context, std::move(*info), {});
}

/// One image's walk under today's protocol.
class Provider {
 public:
  Provider(PullContext& context, const ImageNode& image, ImageReport& report, Downloads& downloads,
           ImageClaims& claims, TaskGroup& group, asio::any_io_executor executor)
      : context_(context),
        image_(image),
        report_(report),
        downloads_(downloads),
        claims_(claims),
        group_(group),
        executor_(std::move(executor)),
        dialects_(context.options.dialects) {}

  Awaitable<> run(std::size_t first) {
    const bool nothing_to_ask =
        context_.options.local_snapshotter && context_.options.fetch_policy == FetchPolicy::automatic;
    starts_at_once_ = nothing_to_ask;
    if (nothing_to_ask) download_ahead(first);
    co_await make_all(first);
  }

  /// For layers that the 2019 walk has found necessary: their content is wanted whatever comes, and the
  /// snapshotter is not to take their extraction for another question.
  Awaitable<> run_after_walk_2019(std::size_t first) {
    keep_downloads_ = true;
    dialects_.erase(LabelDialect::v2019);
    for (std::size_t i = first; i < image_.chain_ids.size(); ++i) start_download(i);
    if (context_.options.unpack) co_await make_all(first);
    for (std::size_t i = first; i < image_.chain_ids.size(); ++i) {
      co_await downloads_.wait(i);
      report_.layers[i].state = LayerState::done;
    }
  }

 private:
  Awaitable<> make_all(std::size_t first) {
    std::exception_ptr failure;
    try {
      co_await make_upwards(first);
    } catch (...) {
      failure = std::current_exception();
    }
    if (!failure) co_return;
    // To be cancelled says nothing about the layers.
    const bool cancelled = as_error(failure).code() == Errc::cancelled;
    claims_.give_up(cancelled ? std::exception_ptr() : failure);
    std::rethrow_exception(failure);
  }

  Awaitable<> make_upwards(std::size_t first) {
    const std::size_t layers = image_.chain_ids.size();
    std::size_t i = first;
    for (int losses = 0;;) {
      while (i < layers) {
        if (claims_.mine(i)) {
          const auto lost = co_await protect_others();
          if (lost) {
            require_patience(++losses);
            i = *lost;
            continue;
          }
          co_await ensure(i);
          claims_.made(i);
        } else {
          const Span span(context_.trace, "wait for another pull", "layer", image_.chain_ids[i].str());
          const bool theirs = co_await claims_.others(i);
          if (!theirs) {
            claims_.take_from(i);
            if (starts_at_once_) download_ahead(i);
            continue;
          }
          follow(i);
        }
        report_.layers[i].state = LayerState::done;
        ++i;
      }
      const auto lost = co_await protect_others();
      if (!lost) co_return;
      require_patience(++losses);
      i = *lost;
    }
  }

  /// Another pull has made this layer's snapshot.
  void follow(std::size_t index) {
    followed_ = index;
    settle(index, LayerDecision::exists);
    group_.spawn(label_source(context_, image_.manifest.layers[index]));
  }

  /// What others have made goes with their leases, so before it is relied on this lease takes it: the topmost
  /// keeps all below. Returns the lowest layer that has gone already, if any has.
  Awaitable<std::optional<std::size_t>> protect_others() {
    if (!followed_) co_return std::nullopt;
    const std::size_t top = *followed_;
    followed_.reset();
    co_await context_.lease.protect_snapshot(image_.chain_ids[top].str());
    std::size_t missing = top + 1;
    // A snapshot that is there keeps its parents, so the first one found from above ends the search.
    for (std::size_t i = top + 1; i > 0; --i) {
      const bool there = co_await snapshot_exists(context_, image_.chain_ids[i - 1]);
      if (there) break;
      missing = i - 1;
    }
    if (missing > top) co_return std::nullopt;
    for (std::size_t i = missing; i <= top; ++i) {
      claims_.forget(i);
      report_.layers[i].state = LayerState::waiting;
    }
    if (missing > 0) followed_ = missing - 1;
    claims_.take_from(missing);
    if (starts_at_once_) download_ahead(missing);
    co_return missing;
  }

  void require_patience(int losses) const {
    constexpr int max_losses = 5;
    if (losses <= max_losses) return;
    throw Error(Errc::unavailable, "snapshots that other pulls have made are removed again and again");
  }

  /// One layer, from the question to its committed snapshot.
  Awaitable<> ensure(std::size_t index) {
    auto& layer = report_.layers[index];
    layer.state = LayerState::asking;
    LayerSteps steps(context_, image_, index, layer, "extract", dialects_);
    auto fill_it = [this, index](LayerSteps& with) { return fill(index, with); };
    const WalkAction end = co_await carry_out_walk<LayerWalk>(steps, fill_it);
    if (end == WalkAction::fail) rethrow_with_context(steps.failure(), "layer " + layer.digest.str());
    if (end != WalkAction::skip) co_return;
    // Containerd's own snapshotters have only what somebody has made.
    const auto provided =
        context_.options.local_snapshotter || made_elsewhere_ ? LayerDecision::exists : LayerDecision::remote;
    settle(index, steps.was_staged() ? LayerDecision::staged : provided);
    made_elsewhere_ = false;
  }

  /// The layer needs no content of ours.
  void settle(std::size_t index, LayerDecision decision) {
    auto& layer = report_.layers[index];
    if (keep_downloads_) return;
    downloads_.drop(index, executor_);
    if (decision == LayerDecision::remote && !layer.remote_hint) answers_without_hint_ = true;
    layer.decision = decision;
  }

  Awaitable<WalkAnswer> fill(std::size_t index, LayerSteps& steps) {
    auto& layer = report_.layers[index];
    const auto& descriptor = image_.manifest.layers[index];
    try {
      if (!media_type::is_layer(descriptor.media_type)) {
        throw Error(Errc::unsupported, "media type " + descriptor.media_type + " is not a layer's");
      }
      start_download(index);
      download_ahead(index + 1);
      Span waiting(steps.trace(), "wait for download", "layer", descriptor.digest.str());
      co_await downloads_.wait(index);
      waiting.end();
      auto& fetched = downloads_.result(index);
      if (fetched.by_other_process) {
        made_elsewhere_ = co_await appears(index);
        if (made_elsewhere_) co_return WalkAnswer::already_exists;
      }
      if (!fetched.unpack && fetched.stored) {
        co_await extract_stored(context_, descriptor, layer, wish_of(index), fetched);
      }
      const Stopwatch unpack(layer.unpack);
      layer.state = LayerState::unpacking;
      co_await extract(index, steps.mounts(), steps.trace());
      co_return WalkAnswer::done;
    } catch (...) {
      steps.failed(std::current_exception());
    }
    co_return WalkAnswer::failed;
  }

  /// Another process has just stored the layer's blob, so it is likely to be unpacking it: waits for its
  /// snapshot as long as unpacking may take, now that the one below is there. It may have died or have wanted
  /// the content only, so the wait has an end, after which the layer is made here; if both make it, whoever
  /// commits second takes what is there.
  Awaitable<bool> appears(std::size_t index) {
    using std::chrono::milliseconds;
    constexpr std::uint64_t slowest = 16U << 10U;  // bytes a millisecond
    const auto& chain_id = image_.chain_ids[index];
    const auto patience = milliseconds(1000 + image_.manifest.layers[index].size / slowest);
    const auto give_up = std::chrono::steady_clock::now() + patience;
    milliseconds pause{20};
    report_.layers[index].state = LayerState::asking;
    for (;;) {
      const bool there = co_await snapshot_exists(context_, chain_id);
      if (there) break;
      if (std::chrono::steady_clock::now() >= give_up) co_return false;
      co_await sleep_for(pause);
      pause = std::min(pause * 2, milliseconds(100));
    }
    co_await context_.lease.protect_snapshot(chain_id.str());
    const bool still = co_await snapshot_exists(context_, chain_id);
    co_return still;
  }

  /// Gets the fetched layer into the mounts, and marks its blob with what it unpacks to.
  Awaitable<> extract(std::size_t index, const std::vector<Mount>& mounts, TracePoint trace) {
    const auto& descriptor = image_.manifest.layers[index];
    auto& fetched = downloads_.result(index);
    bool placed = false;
    if (fetched.unpack) {
      require_diff_id(index, fetched.applied.diff_id);
      const Span span(trace, "place", "unpack", image_.chain_ids[index].str());
      placed = co_await fetched.unpack->place(mounts);
      fetched.unpack.reset();
    }
    if (!placed) {
      if (!fetched.stored) {
        throw Error(Errc::unsupported, "was not stored, and the snapshotter's mounts need it to be");
      }
      co_await apply(index, mounts, trace);
    }
    if (!fetched.stored) co_return;
    const Labels labels{{std::string(label::uncompressed), image_.config.diff_ids[index].str()}};
    co_await context_.content().update_labels(descriptor.digest, labels);
  }

  Awaitable<> apply(std::size_t index, const std::vector<Mount>& mounts, TracePoint trace) {
    const auto& descriptor = image_.manifest.layers[index];
    BlobWish blob(context_.shared, descriptor.digest, context_.rank);
    Span wait(trace, "wait", "layer", descriptor.digest.str());
    auto permit = blob.join_unpacks();
    co_await permit.granted();
    wait.end();
    const Span span(trace, "extract", "unpack", descriptor.digest.str());
    const auto applied = co_await context_.lease.applier().apply(descriptor, mounts);
    require_diff_id(index, applied.diff_id);
  }

  void require_diff_id(std::size_t index, const Digest& actual) const {
    const auto& wanted = image_.config.diff_ids[index];
    if (actual == wanted) return;
    throw Error(Errc::digest_mismatch, "its uncompressed content is " + actual.str() +
                                           ", but the config's diff_id is " + wanted.str());
  }

  UnpackWish wish_of(std::size_t index) const {
    return index == 0 ? UnpackWish::lowest_layer : UnpackWish::upper_layer;
  }

  void start_download(std::size_t index) {
    const bool unpacks = context_.options.unpack && claims_.mine(index);
    downloads_.start(group_, index, unpacks ? wish_of(index) : UnpackWish::none);
  }

  /// Starts what the policy allows from `first` upwards, now that a layer below must be downloaded.
  void download_ahead(std::size_t first) {
    for (std::size_t i = first; i < image_.chain_ids.size(); ++i) {
      if (claims_.mine(i) && may_run_ahead(i)) start_download(i);
    }
  }

  bool may_run_ahead(std::size_t index) const {
    switch (context_.options.fetch_policy) {
      case FetchPolicy::sparse:
        return false;
      case FetchPolicy::eager:
        return true;
      case FetchPolicy::automatic:
        break;
    }
    if (!media_type::is_layer(image_.manifest.layers[index].media_type)) return false;
    if (context_.options.local_snapshotter) return true;
    // A snapshotter that has provided a layer without any hint may well provide the next one.
    return !report_.layers[index].remote_hint && !answers_without_hint_;
  }

  PullContext& context_;
  const ImageNode& image_;
  ImageReport& report_;
  Downloads& downloads_;
  ImageClaims& claims_;
  TaskGroup& group_;
  asio::any_io_executor executor_;
  std::set<LabelDialect> dialects_;
  std::optional<std::size_t> followed_;  ///< topmost of others' snapshots that the lease does not have yet
  bool starts_at_once_ = false;
  bool keep_downloads_ = false;
  bool answers_without_hint_ = false;
  bool made_elsewhere_ = false;
};

Awaitable<> download_layer(PullContext& context, const Descriptor& descriptor, LayerReport& layer) {
  co_await fetch_layer(context, descriptor, layer, UnpackWish::none);
}

/// Makes whoever gets these layers as urgent as this image is.
std::vector<std::unique_ptr<BlobWish>> wish_for(PullContext& context, const ImageNode& image,
                                                std::size_t first) {
  std::vector<std::unique_ptr<BlobWish>> wishes;
  for (std::size_t i = first; i < image.manifest.layers.size(); ++i) {
    wishes.push_back(
        std::make_unique<BlobWish>(context.shared, image.manifest.layers[i].digest, context.rank));
  }
  return wishes;
}

}  // namespace

Awaitable<> provide_layers(PullContext& context, const ImageNode& image, ImageReport& report) {
  const auto executor = co_await asio::this_coro::executor;
  // Claimed before it is looked which are there, so that none is made between the two.
  ImageClaims claims(context, image, executor);
  const std::size_t first = co_await count_present(context, image, report);
  for (std::size_t i = 0; i < first; ++i) claims.made(i);
  if (first == image.chain_ids.size()) co_return;
  const auto wishes = wish_for(context, image, first);
  Downloads downloads(context, image, report, executor);
  co_await with_task_group([&](TaskGroup& group) -> Awaitable<> {
    Provider provider(context, image, report, downloads, claims, group, executor);
    co_await provider.run(first);
  });
}

Awaitable<> provide_layers_2019(PullContext& context, const ImageNode& image, ImageReport& report) {
  const auto executor = co_await asio::this_coro::executor;
  const std::size_t first = co_await walk_2019(context, image, report);
  ImageClaims claims(context, image, executor);
  for (std::size_t i = 0; i < first; ++i) claims.made(i);
  const auto wishes = wish_for(context, image, first);
  Downloads downloads(context, image, report, executor);
  co_await with_task_group([&](TaskGroup& group) -> Awaitable<> {
    Provider provider(context, image, report, downloads, claims, group, executor);
    co_await provider.run_after_walk_2019(first);
  });
}

Awaitable<> download_layers(PullContext& context, const ImageNode& image, ImageReport& report) {
  co_await with_task_group([&](TaskGroup& group) -> Awaitable<> {
    for (std::size_t i = 0; i < image.manifest.layers.size(); ++i) {
      group.spawn(download_layer(context, image.manifest.layers[i], report.layers[i]));
    }
    co_return;
  });
  for (auto& layer : report.layers) layer.state = LayerState::done;
}

}  // namespace lazypull
