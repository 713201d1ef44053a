#include "engine/layer_provider.hpp"

#include "engine/event.hpp"
#include "engine/layer_fetch.hpp"
#include "engine/layer_steps.hpp"
#include "engine/task_group.hpp"

#include <memory>
#include <vector>

namespace lazypull {
namespace {

/// The downloads of one image. They are children of the image's task group, which this must outlive.
class Downloads {
 public:
  Downloads(PullContext& context, const ImageNode& image, ImageReport& report,
            const asio::any_io_executor& executor)
      : context_(context), image_(image), report_(report) {
    jobs_.reserve(image.manifest.layers.size());
    for (std::size_t i = 0; i < image.manifest.layers.size(); ++i) {
      jobs_.push_back(std::make_unique<Job>(executor));
    }
  }

  void start(TaskGroup& group, std::size_t index) {
    auto& job = *jobs_[index];
    if (job.started) return;
    job.started = true;
    job.handle = group.spawn(run(index));
  }

  /// The snapshotter has the layer after all.
  void drop(std::size_t index) { jobs_[index]->handle.drop(); }

  Awaitable<> wait(std::size_t index) { return jobs_[index]->ready.wait(); }

  /// What came of it, once `wait` has returned.
  FetchedLayer& result(std::size_t index) { return jobs_[index]->result; }

 private:
  struct Job {
    explicit Job(const asio::any_io_executor& executor) : ready(executor) {}
    bool started = false;
    TaskGroup::Handle handle;
    Event ready;
    FetchedLayer result;
  };

  Awaitable<> run(std::size_t index) {
    auto wish = UnpackWish::none;
    if (context_.options.unpack) wish = index == 0 ? UnpackWish::lowest_layer : UnpackWish::upper_layer;
    jobs_[index]->result =
        co_await fetch_layer(context_, image_.manifest.layers[index], report_.layers[index], wish);
    jobs_[index]->ready.set();
  }

  PullContext& context_;
  const ImageNode& image_;
  ImageReport& report_;
  std::vector<std::unique_ptr<Job>> jobs_;
};

/// One image's walk under today's protocol.
class Provider {
 public:
  Provider(PullContext& context, const ImageNode& image, ImageReport& report, Downloads& downloads,
           TaskGroup& group)
      : context_(context),
        image_(image),
        report_(report),
        downloads_(downloads),
        group_(group),
        dialects_(context.options.dialects) {}

  Awaitable<> run(std::size_t first) {
    const bool nothing_to_ask =
        context_.options.local_snapshotter && context_.options.fetch_policy == FetchPolicy::automatic;
    if (nothing_to_ask) download_ahead(first);
    for (std::size_t i = first; i < image_.chain_ids.size(); ++i) {
      const auto chain_id = image_.chain_ids[i].str();
      const bool mine = co_await context_.chains.run(chain_id, [&] { return ensure(i); });
      if (!mine) settle(i, LayerDecision::exists);
      report_.layers[i].state = LayerState::done;
    }
  }

  /// One layer, from the question to its committed snapshot.
  Awaitable<> ensure(std::size_t index) {
    auto& layer = report_.layers[index];
    layer.state = LayerState::asking;
    LayerSteps steps(context_, image_, index, layer, "extract", dialects_);
    auto fill_it = [this, index](LayerSteps& with) { return fill(index, with); };
    const WalkAction end = co_await carry_out_walk<LayerWalk>(steps, fill_it);
    if (end == WalkAction::fail) rethrow_with_context(steps.failure(), "layer " + layer.digest.str());
    if (end == WalkAction::skip)
      settle(index, steps.was_staged() ? LayerDecision::staged : LayerDecision::remote);
  }

  /// For layers that the 2019 walk has found necessary: their content is wanted whatever comes, and the
  /// snapshotter is not to take their extraction for another question.
  void after_walk_2019() {
    keep_downloads_ = true;
    dialects_.erase(LabelDialect::v2019);
  }

 private:
  /// The layer needs no content of ours.
  void settle(std::size_t index, LayerDecision decision) {
    auto& layer = report_.layers[index];
    if (keep_downloads_) return;
    downloads_.drop(index);
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
      downloads_.start(group_, index);
      download_ahead(index + 1);
      co_await downloads_.wait(index);
      const Stopwatch unpack(layer.unpack);
      layer.state = LayerState::unpacking;
      co_await extract(index, steps.mounts());
      co_return WalkAnswer::done;
    } catch (...) {
      steps.failed(std::current_exception());
    }
    co_return WalkAnswer::failed;
  }

  /// Gets the fetched layer into the mounts, and marks its blob with what it unpacks to.
  Awaitable<> extract(std::size_t index, const std::vector<Mount>& mounts) {
    const auto& descriptor = image_.manifest.layers[index];
    auto& fetched = downloads_.result(index);
    bool placed = false;
    if (fetched.unpack) {
      require_diff_id(index, fetched.applied.diff_id);
      placed = co_await fetched.unpack->place(mounts);
      fetched.unpack.reset();
    }
    if (!placed) {
      if (!fetched.stored) {
        throw Error(Errc::unsupported, "was not stored, and the snapshotter's mounts need it to be");
      }
      const auto applied = co_await context_.lease.applier().apply(descriptor, mounts);
      require_diff_id(index, applied.diff_id);
    }
    if (!fetched.stored) co_return;
    const Labels labels{{std::string(label::uncompressed), image_.config.diff_ids[index].str()}};
    co_await context_.content().update_labels(descriptor.digest, labels);
  }

  void require_diff_id(std::size_t index, const Digest& actual) const {
    const auto& wanted = image_.config.diff_ids[index];
    if (actual == wanted) return;
    throw Error(Errc::digest_mismatch, "its uncompressed content is " + actual.str() +
                                           ", but the config's diff_id is " + wanted.str());
  }

  /// Starts what the policy allows from `first` upwards, now that a layer below must be downloaded.
  void download_ahead(std::size_t first) {
    for (std::size_t i = first; i < image_.chain_ids.size(); ++i) {
      if (may_run_ahead(i)) downloads_.start(group_, i);
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
  TaskGroup& group_;
  std::set<LabelDialect> dialects_;
  bool keep_downloads_ = false;
  bool answers_without_hint_ = false;
};

Awaitable<> download_layer(PullContext& context, const Descriptor& descriptor, LayerReport& layer) {
  co_await fetch_layer(context, descriptor, layer, UnpackWish::none);
}

Awaitable<bool> exists(PullContext& context, const Digest& chain_id) {
  const auto info = co_await context.snapshotter().stat(chain_id.str());
  co_return info.has_value();
}

void mark_present(ImageReport& report, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    report.layers[i].decision = LayerDecision::exists;
    report.layers[i].state = LayerState::done;
  }
}

/// How many layers the snapshotter provides from the lowest up; the walk ends at the first it cannot.
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

}  // namespace

Awaitable<std::size_t> count_present(PullContext& context, const ImageNode& image, ImageReport& report) {
  const std::size_t layers = image.chain_ids.size();
  // The lease takes the snapshot before we look, so that it cannot go between the two.
  co_await context.lease.protect_snapshot(image.chain_ids.back().str());
  const bool all = co_await exists(context, image.chain_ids.back());
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
    const bool there = co_await exists(context, image.chain_ids[middle]);
    if (there) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low > 0) {
    co_await context.lease.protect_snapshot(image.chain_ids[low - 1].str());
    const bool still = co_await exists(context, image.chain_ids[low - 1]);
    if (!still) low = 0;
  }
  mark_present(report, low);
  co_return low;
}

Awaitable<> provide_layers(PullContext& context, const ImageNode& image, ImageReport& report) {
  const auto executor = co_await asio::this_coro::executor;
  const std::size_t first = co_await count_present(context, image, report);
  if (first == image.chain_ids.size()) co_return;
  Downloads downloads(context, image, report, executor);
  co_await with_task_group([&](TaskGroup& group) -> Awaitable<> {
    Provider provider(context, image, report, downloads, group);
    co_await provider.run(first);
  });
}

Awaitable<> provide_layers_2019(PullContext& context, const ImageNode& image, ImageReport& report) {
  const auto executor = co_await asio::this_coro::executor;
  const std::size_t first = co_await walk_2019(context, image, report);
  Downloads downloads(context, image, report, executor);
  co_await with_task_group([&](TaskGroup& group) -> Awaitable<> {
    for (std::size_t i = first; i < image.chain_ids.size(); ++i) downloads.start(group, i);
    Provider provider(context, image, report, downloads, group);
    provider.after_walk_2019();
    for (std::size_t i = first; i < image.chain_ids.size(); ++i) {
      if (context.options.unpack) {
        co_await provider.ensure(i);
      }
      co_await downloads.wait(i);
      report.layers[i].state = LayerState::done;
    }
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
