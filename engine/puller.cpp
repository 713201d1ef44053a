#include "engine/puller.hpp"

#include "engine/deadline.hpp"
#include "engine/image_tree.hpp"
#include "engine/layer_plan.hpp"
#include "engine/layer_provider.hpp"
#include "engine/pull_context.hpp"
#include "engine/task_group.hpp"

#include <exception>
#include <memory>

namespace lazypull {
namespace {

/// Names what the pull is doing, and adds its duration to the report at the end. What is traced meanwhile is
/// part of it.
class Phase {
 public:
  Phase(PullReport& report, TracePoint& trace, const char* name)
      : report_(report), trace_(trace), span_(trace, name, "phase", report.reference) {
    trace = span_.point();
    report.phase = name;
    report.phases.push_back({name, {}});
  }
  Phase(const Phase&) = delete;
  Phase& operator=(const Phase&) = delete;
  ~Phase() {
    report_.phases.back().duration = std::chrono::steady_clock::now() - start_;
    span_.end();
    trace_ = span_.point();
  }

 private:
  PullReport& report_;
  TracePoint& trace_;
  Span span_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

void add_image(PullReport& report, const ImageNode& image) {
  ImageReport entry;
  entry.platform = image.runnable              ? image.config.platform
                   : image.descriptor.platform ? *image.descriptor.platform
                                               : Platform{};
  entry.manifest = image.descriptor.digest;
  entry.config = image.manifest.config.digest;
  if (!image.chain_ids.empty()) entry.chain_id = image.chain_ids.back();
  for (std::size_t i = 0; i < image.manifest.layers.size(); ++i) {
    const auto& descriptor = image.manifest.layers[i];
    LayerReport layer;
    layer.digest = descriptor.digest;
    layer.media_type = descriptor.media_type;
    layer.size = descriptor.size;
    layer.remote_hint = has_remote_hint(descriptor);
    if (i < image.chain_ids.size()) {
      layer.diff_id = image.config.diff_ids[i];
      layer.chain_id = image.chain_ids[i];
    }
    entry.layers.push_back(std::move(layer));
  }
  report.images.push_back(std::move(entry));
}

Awaitable<std::vector<ImageNode>> load(PullContext& context) {
  const Phase phase(context.report, context.trace, "metadata");
  auto images = co_await load_images(context, context.report.target);
  for (const auto& image : images) add_image(context.report, image);
  co_return images;
}

/// Marks the topmost snapshot as what the config keeps alive, as containerd does.
Awaitable<> reference_snapshot(PullContext& context, const ImageNode& image, const Digest& chain_id) {
  const std::string key = std::string(label::gc_snapshot) + context.snapshotter().name();
  const auto found = image.config_labels.find(key);
  if (found != image.config_labels.end() && found->second == chain_id.str()) co_return;
  const Labels labels{{key, chain_id.str()}};
  co_await context.content().update_labels(image.manifest.config.digest, labels);
}

/// The highest layer from the bottom up whose snapshot is in place without a gap.
std::optional<Digest> top_snapshot(const PullContext& context, const ImageReport& report) {
  std::optional<Digest> top;
  for (const auto& layer : report.layers) {
    const bool content_only = !context.options.unpack && (layer.decision == LayerDecision::download ||
                                                          layer.decision == LayerDecision::present);
    if (content_only) break;
    top = layer.chain_id;
  }
  return top;
}

Awaitable<> provide_image(PullContext& context, const ImageNode& image, ImageReport& report) {
  const bool has_snapshots = !image.chain_ids.empty();
  const bool by_2019 = context.options.protocol == RemoteProtocol::v2019;
  if (!has_snapshots || (!context.options.unpack && !by_2019)) {
    co_await download_layers(context, image, report);
    co_return;
  }
  if (by_2019) {
    co_await provide_layers_2019(context, image, report);
  } else {
    co_await provide_layers(context, image, report);
  }
  const auto top = top_snapshot(context, report);
  if (top) co_await reference_snapshot(context, image, *top);
}

void require_runnable(const PullContext& context, const ImageNode& image) {
  if (image.runnable || !context.options.unpack || context.options.all_platforms) return;
  throw Error(Errc::unsupported, "manifest " + image.descriptor.digest.str() + ": config media type " +
                                     image.manifest.config.media_type +
                                     " is not an image's, so it cannot be unpacked");
}

Awaitable<> record_image(PullContext& context) {
  const Span span(context.trace, "image record", "images", context.reference.name());
  auto& store = context.lease.images();
  const ImageRecord record{context.reference.name(), context.report.target, context.options.image_labels};
  const auto existing = co_await store.get(record.name);
  const bool same = existing && existing->target.digest == record.target.digest &&
                    existing->target.media_type == record.target.media_type &&
                    existing->target.size == record.target.size && existing->labels == record.labels;
  // Writing what is there already would cost containerd a synchronous write to disk.
  if (!same) co_await store.put(record);
}

Awaitable<> pull_under_lease(PullContext& context) {
  const auto images = co_await load(context);
  for (const auto& image : images) require_runnable(context, image);
  {
    const Phase phase(context.report, context.trace, "layers");
    co_await with_task_group([&](TaskGroup& group) -> Awaitable<> {
      for (std::size_t i = 0; i < images.size(); ++i) {
        group.spawn(provide_image(context, images[i], context.report.images[i]));
      }
      co_return;
    });
  }
  const Phase phase(context.report, context.trace, "record");
  co_await record_image(context);
}

Awaitable<> plan_under_lease(PullContext& context) {
  const auto images = co_await load(context);
  const Phase phase(context.report, context.trace, "layers");
  for (std::size_t i = 0; i < images.size(); ++i) {
    co_await plan_layers(context, images[i], context.report.images[i]);
  }
}

Awaitable<> resolve(PullPorts ports, const Reference& reference, PullReport& report, TracePoint trace) {
  Span span(trace, "resolve", "registry", reference.name());
  span.take_requests();
  report.target = co_await ports.resolver.resolve(reference);
}

Awaitable<> acquire(PullPorts ports, const PullOptions& options, std::unique_ptr<Lease>& lease,
                    TracePoint trace) {
  const Span span(trace, "lease", "lease");
  lease = co_await ports.leases.acquire(options.lease_lifetime);
}

/// The registry and containerd do not know of each other, so neither waits for the other.
Awaitable<> resolve_and_acquire(PullPorts ports, const Reference& reference, const PullOptions& options,
                                PullReport& report, std::unique_ptr<Lease>& lease, TracePoint& trace) {
  const Phase phase(report, trace, "resolve");
  co_await with_task_group([&](TaskGroup& group) -> Awaitable<> {
    group.spawn(resolve(ports, reference, report, trace));
    group.spawn(acquire(ports, options, lease, trace));
    co_return;
  });
}

using Work = Awaitable<> (*)(PullContext&);

/// With whom a pull shares, and how urgent it is.
struct Company {
  PullShared& shared;
  PullRank rank;
};

Awaitable<> run_under_lease(PullPorts ports, const Reference& reference, const PullOptions& options,
                            PullReport& report, Company company, Work work) {
  const auto start = std::chrono::steady_clock::now();
  report.reference = reference.name();
  Span span(options.trace, work == plan_under_lease ? "plan" : "pull", "pull", report.reference);
  TracePoint trace = span.point();
  std::unique_ptr<Lease> lease;
  std::exception_ptr failure;
  try {
    co_await resolve_and_acquire(ports, reference, options, report, lease, trace);
    report.snapshotter = lease->snapshotter().name();
    PullContext context(ports, reference, options, report, *lease, company.shared, company.rank);
    context.store_metadata = work != plan_under_lease;
    context.trace = trace;
    co_await work(context);
  } catch (...) {
    failure = std::current_exception();
  }
  if (lease) {
    // After a plan, the collection that takes its trial snapshots away is waited for.
    const bool wait = work == plan_under_lease;
    // Only after a failure is there a hurry: beside many other pulls containerd may take its time.
    const bool patient = wait || !failure;
    const std::chrono::milliseconds limit = patient ? std::chrono::seconds(10) : options.cleanup_timeout;
    const Span releasing(span.point(), "release", "phase", report.reference);
    auto release = lease->release(wait);
    co_await asio::this_coro::throw_if_cancelled(false);
    const auto unreleased = co_await run_cleanup(std::move(release), limit, "release lease");
    co_await asio::this_coro::throw_if_cancelled(true);
    if (unreleased && !failure) failure = unreleased;
  }
  report.total = std::chrono::steady_clock::now() - start;
  if (failure) std::rethrow_exception(failure);
}

PullLimits own_limits(const PullOptions& options) {
  PullLimits limits;
  limits.downloads.total = options.max_concurrent_downloads;
  return limits;
}

}  // namespace

Awaitable<> pull_image(PullPorts ports, Reference reference, PullOptions options, PullReport& report) {
  PullShared alone(own_limits(options));
  co_await pull_image(ports, std::move(reference), std::move(options), report, alone, PullRank());
}

Awaitable<> pull_image(PullPorts ports, Reference reference, PullOptions options, PullReport& report,
                       PullShared& shared, PullRank rank) {
  std::exception_ptr failure;
  try {
    co_await run_under_lease(ports, reference, options, report, {shared, rank}, pull_under_lease);
    co_return;
  } catch (...) {
    failure = std::current_exception();
  }
  rethrow_with_context(failure, (options.unpack ? "pull " : "fetch ") + reference.name());
}

Awaitable<> plan_image(PullPorts ports, Reference reference, PullOptions options, PullReport& report) {
  PullShared alone(own_limits(options));
  co_await plan_image(ports, std::move(reference), std::move(options), report, alone, PullRank());
}

Awaitable<> plan_image(PullPorts ports, Reference reference, PullOptions options, PullReport& report,
                       PullShared& shared, PullRank rank) {
  std::exception_ptr failure;
  try {
    co_await run_under_lease(ports, reference, options, report, {shared, rank}, plan_under_lease);
    co_return;
  } catch (...) {
    failure = std::current_exception();
  }
  rethrow_with_context(failure, "plan " + reference.name());
}

}  // namespace lazypull
