#include "engine/layer_fetch.hpp"

#include "engine/blob_fetch.hpp"
#include "engine/deadline.hpp"
#include "engine/digest.hpp"
#include "engine/layer_stream.hpp"

#include <exception>

namespace lazypull {
namespace {

constexpr int max_take_overs = 3;
/// Tries at a layer whose digest mismatched. Each that a mirror was found guilty of has one host less to ask.
constexpr int max_tries_with_mirrors = 10;
constexpr int max_tries_in_doubt = 3;

/// Leave to extract a layer: of this image's, and of all pulls'.
class UnpackSlot {
 public:
  Awaitable<> take(PullContext& context, BlobWish& blob, LayerReport& layer) {
    const Stopwatch queue(layer.queue);
    const Span span(blob.trace, "wait to unpack", "layer", blob.digest().str());
    layer.state = LayerState::queued;
    of_image_ = co_await context.streams.acquire();
    of_all_ = blob.join_unpacks();
    co_await of_all_.granted();
  }
  void release() {
    of_all_.release();
    of_image_.release();
  }

 private:
  Permit of_image_;
  GatePermit of_all_;
};

/// What the applier's threads have done, as spans.
void record_unpack(const BlobWish& blob, const AppliedLayer& applied) {
  record_work(blob.trace, "inflate", "unpack", blob.digest().str(), applied.inflate);
  record_work(blob.trace, "extract", "unpack", blob.digest().str(), applied.extract);
}

/// One layer, tried again from its first byte where a mirror has served something else.
class LayerFetch {
 public:
  LayerFetch(PullContext& context, const Descriptor& descriptor, LayerReport& layer, UnpackWish wish,
             BlobWish& blob, FetchedLayer& fetched)
      : context_(context),
        descriptor_(descriptor),
        layer_(layer),
        wish_(wish),
        blob_(blob),
        fetched_(fetched) {}

  Awaitable<> run() {
    for (;;) {
      const auto info = co_await context_.content().info(descriptor_.digest);
      if (info) {
        co_await use(*info);
        co_return;
      }
      const auto mismatch = co_await download();
      if (!mismatch) co_return;
      if (!context_.retries->take()) throw context_.retries->spent(as_error(mismatch));
    }
  }

 private:
  Awaitable<> use(ContentInfo info) {
    co_await adopt(context_, std::move(info), {});
    layer_.decision = LayerDecision::present;
  }

  /// Returns a mismatch that another try may not have.
  Awaitable<std::exception_ptr> download() {
    co_await queue_up();
    const Stopwatch fetch(layer_.fetch);
    LayerSinks sinks;
    const bool wanted = co_await open_sinks(sinks);
    if (!wanted) {
      const auto info = co_await context_.content().info(descriptor_.digest);
      if (info) co_await use(*info);
      // It was not there a moment ago, and of this process's pulls this is the only one that fetches it.
      fetched_.by_other_process = true;
      co_return nullptr;
    }
    if (!sinks.unpack) slot_.release();
    // A store may have it all and yet want a commit, such as containerd with content of another namespace.
    const bool all_there = descriptor_.size > 0 && sinks.offset() == descriptor_.size;
    layer_.decision = all_there ? LayerDecision::present : LayerDecision::download;
    layer_.bytes_done = sinks.offset();
    LayerStream stream(context_, descriptor_, sinks, layer_, blob_, permit_);
    std::exception_ptr failure;
    try {
      co_await receive(stream, sinks);
    } catch (...) {
      failure = std::current_exception();
    }
    const bool stored = sinks.ingest != nullptr;
    sinks.ingest.reset();  // also ends its lock
    if (failure) {
      sinks.unpack.reset();
      if (stored) co_await drop_unless_resumable(as_error(failure).code());
      if (!may_be_right_next_time(failure, stream)) std::rethrow_exception(failure);
      permit_.release();
      slot_.release();
      fetched_ = FetchedLayer();
      layer_.bytes_done = 0;
      co_return failure;
    }
    fetched_.stored = stored;
    fetched_.unpack = std::move(sinks.unpack);
    co_return nullptr;
  }

  bool may_be_right_next_time(const std::exception_ptr& failure, const LayerStream& stream) {
    const bool mismatch = as_error(failure).code() == Errc::digest_mismatch;
    // An archive that nobody has verified was broken by a mirror, or so it seems.
    const bool doubtful = mismatch || stream.unpack_failure() == failure;
    if (!doubtful || !stream.worth_another_try()) return false;
    ++tries_;
    return tries_ < (stream.mirror_at_fault() ? max_tries_with_mirrors : max_tries_in_doubt);
  }

  Awaitable<> queue_up() {
    if (wish_ != UnpackWish::none) co_await slot_.take(context_, blob_, layer_);
    const Stopwatch queue(layer_.queue);
    const Span span(blob_.trace, "wait", "layer", descriptor_.digest.str());
    layer_.state = LayerState::queued;
    permit_ = blob_.join_downloads(context_.reference.domain(), descriptor_.size);
    co_await permit_.granted();
    layer_.state = LayerState::downloading;
  }

  /// False if the content has turned out to be there.
  Awaitable<bool> open_sinks(LayerSinks& sinks) {
    const Span span(blob_.trace, "open", "content", descriptor_.digest.str());
    auto& applier = context_.lease.applier();
    UnpackTraits traits;
    traits.lowest = wish_ == UnpackWish::lowest_layer;
    if (context_.options.discard_unpacked_layers && wish_ != UnpackWish::none) {
      sinks.unpack = co_await applier.start(descriptor_, traits);
      fetched_.unpack_tried = true;
      if (sinks.unpack) co_return true;
    }
    sinks.ingest = co_await open_ingest();
    if (!sinks.ingest) co_return false;
    // What an earlier pull has stored cannot be extracted on the way: it is applied from the store.
    if (wish_ != UnpackWish::none && sinks.ingest->offset() == 0) {
      traits.verify = false;
      sinks.unpack = co_await applier.start(descriptor_, traits);
      fetched_.unpack_tried = true;
    }
    co_return true;
  }

  /// Null if the content is there.
  Awaitable<std::unique_ptr<Ingest>> open_ingest() {
    const WaitWhileLocked wait = [this](Awaitable<> pause) { return wait_in_line(std::move(pause)); };
    co_return co_await open_when_free(context_, descriptor_, wait);
  }

  /// Others go on meanwhile.
  Awaitable<> wait_in_line(Awaitable<> pause) {
    permit_.release();
    slot_.release();
    layer_.state = LayerState::queued;
    co_await std::move(pause);
    co_await queue_up();
  }

  Awaitable<> receive(LayerStream& stream, LayerSinks& sinks) {
    co_await stream.run();
    // The extraction goes on while the store commits.
    if (sinks.ingest) {
      const Span span(blob_.trace, "commit", "content", descriptor_.digest.str());
      const Labels labels = missing_labels(context_, {}, {});
      co_await sinks.ingest->commit(labels);
    }
    permit_.release();
    if (stream.unpack_failure()) std::rethrow_exception(stream.unpack_failure());
    if (!sinks.unpack) co_return;
    const Stopwatch unpack(layer_.unpack);
    const Span span(blob_.trace, "finish", "unpack", descriptor_.digest.str());
    layer_.state = LayerState::unpacking;
    fetched_.applied = co_await sinks.unpack->finish();
    record_unpack(blob_, fetched_.applied);
  }

  /// What came over a broken or interrupted connection is good as far as it goes: the next pull goes on from
  /// there. Anything else means that the bytes are not to be trusted.
  Awaitable<> drop_unless_resumable(Errc code) {
    if (code == Errc::cancelled || is_transient(code)) co_return;
    const auto ref = ingest_ref(descriptor_);
    auto drop = context_.content().abort(ref);
    co_await asio::this_coro::throw_if_cancelled(false);
    co_await run_cleanup(std::move(drop), context_.options.cleanup_timeout, "abort ingest " + ref);
    co_await asio::this_coro::throw_if_cancelled(true);
  }

  PullContext& context_;
  const Descriptor& descriptor_;
  LayerReport& layer_;
  UnpackWish wish_;
  BlobWish& blob_;
  FetchedLayer& fetched_;
  UnpackSlot slot_;
  GatePermit permit_;
  int tries_ = 0;
};

Awaitable<> fetch_once(PullContext& context, const Descriptor& descriptor, LayerReport& layer,
                       UnpackWish wish, BlobWish& blob, FetchedLayer& fetched) {
  LayerFetch fetch(context, descriptor, layer, wish, blob, fetched);
  co_await fetch.run();
}

/// Another pull has got the blob: takes it under this pull's lease. False if it has gone before that.
Awaitable<bool> take_over(PullContext& context, const Descriptor& descriptor, LayerReport& layer) {
  co_await context.lease.protect_content(descriptor.digest);
  const auto info = co_await context.content().info(descriptor.digest);
  if (!info) co_return false;
  const bool still = co_await add_labels(context, *info, {});
  layer.decision = LayerDecision::present;
  co_return still;
}

/// Sees to it that the blob is there, and protected.
Awaitable<> get_blob(PullContext& context, const Descriptor& descriptor, LayerReport& layer, UnpackWish wish,
                     FetchedLayer& fetched) {
  BlobWish blob(context.shared, descriptor.digest, context.rank);
  const Span span(context.trace, "fetch", "layer", descriptor.digest.str());
  blob.trace = span.point();
  // A layer that is not stored is of no use to a second one with the same content.
  const bool keeps_it = !context.options.discard_unpacked_layers || wish == UnpackWish::none;
  for (int tries = 0; tries < max_take_overs; ++tries) {
    const bool mine = co_await context.shared.fetch_once(blob, context.reference.locator(), [&] {
      return fetch_once(context, descriptor, layer, wish, blob, fetched);
    });
    if (mine) co_return;
    if (!keeps_it) break;
    const bool there = co_await take_over(context, descriptor, layer);
    if (there) co_return;
  }
  co_await fetch_once(context, descriptor, layer, wish, blob, fetched);
}

}  // namespace

Awaitable<> extract_stored(PullContext& context, const Descriptor& descriptor, LayerReport& layer,
                           UnpackWish wish, FetchedLayer& fetched) {
  if (fetched.unpack_tried) co_return;
  UnpackSlot slot;
  BlobWish blob(context.shared, descriptor.digest, context.rank);
  const Span span(context.trace, "unpack", "layer", descriptor.digest.str());
  blob.trace = span.point();
  co_await slot.take(context, blob, layer);
  UnpackTraits traits;
  traits.lowest = wish == UnpackWish::lowest_layer;
  traits.verify = false;  // the store did when it took it
  auto unpack = co_await context.lease.applier().start(descriptor, traits);
  fetched.unpack_tried = true;
  if (!unpack) co_return;
  const Stopwatch watch(layer.unpack);
  layer.state = LayerState::unpacking;
  const auto reader = co_await context.content().open(descriptor.digest);
  for (;;) {
    const auto piece = co_await reader->read();
    if (piece.empty()) break;
    co_await unpack->write(piece);
  }
  fetched.applied = co_await unpack->finish();
  record_unpack(blob, fetched.applied);
  fetched.unpack = std::move(unpack);
}

Awaitable<FetchedLayer> fetch_layer(PullContext& context, const Descriptor& descriptor, LayerReport& layer,
                                    UnpackWish wish) {
  std::exception_ptr failure;
  try {
    FetchedLayer fetched;
    co_await get_blob(context, descriptor, layer, wish, fetched);
    if (wish != UnpackWish::none && !fetched.unpack && !fetched.by_other_process) {
      co_await extract_stored(context, descriptor, layer, wish, fetched);
    }
    layer.bytes_done = descriptor.size;
    layer.state = LayerState::downloaded;
    co_return fetched;
  } catch (...) {
    failure = std::current_exception();
  }
  rethrow_with_context(failure, blob_name(descriptor));
}

}  // namespace lazypull
