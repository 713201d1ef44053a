#include "engine/layer_fetch.hpp"

#include "engine/blob_fetch.hpp"
#include "engine/deadline.hpp"
#include "engine/digest.hpp"
#include "engine/lock_wait.hpp"

#include <chrono>
#include <exception>

namespace lazypull {
namespace {

using std::chrono::milliseconds;

constexpr int max_breaks_without_progress = 3;
constexpr int max_take_overs = 3;
constexpr milliseconds first_backoff{50};

/// Where the bytes of a layer go: into the store, into the extraction, or into both.
struct LayerSinks {
  std::unique_ptr<Ingest> ingest;
  std::unique_ptr<LayerUnpack> unpack;

  std::uint64_t offset() const noexcept { return ingest ? ingest->offset() : 0; }

  Awaitable<> write(std::span<const std::byte> bytes) {
    if (ingest) co_await ingest->write(bytes);
    if (unpack) co_await unpack->write(bytes);
  }
};

/// A layer's bytes on their way, over as many connections as it takes.
class LayerStream {
 public:
  LayerStream(PullContext& context, const Descriptor& descriptor, LayerSinks& sinks, LayerReport& layer,
              BlobWish& wish, GatePermit& permit)
      : context_(context),
        descriptor_(descriptor),
        sinks_(sinks),
        layer_(layer),
        wish_(wish),
        permit_(permit),
        hasher_(descriptor.digest.algorithm()),
        hashes_(!sinks.unpack && sinks.offset() == 0),
        offset_(sinks.offset()) {}

  Awaitable<> run() {
    int breaks = 0;
    while (offset_ < descriptor_.size) {
      const auto before = offset_;
      const auto broken = co_await one_connection();
      if (offset_ == descriptor_.size) break;
      breaks = offset_ > before ? 1 : breaks + 1;
      if (!broken) {
        throw Error(Errc::bad_response, "ended after " + std::to_string(offset_) + " of " +
                                            std::to_string(descriptor_.size) + " bytes");
      }
      const auto code = as_error(broken).code();
      const bool worth_it = is_transient(code) || code == Errc::bad_response;
      if (!worth_it || breaks > max_breaks_without_progress) std::rethrow_exception(broken);
      co_await sleep_for(first_backoff * (1 << breaks));
    }
    if (hashes_) {
      const Digest actual = hasher_.finish();
      if (actual != descriptor_.digest) {
        throw Error(Errc::digest_mismatch, "the content that was served is " + actual.str());
      }
    }
  }

 private:
  /// Returns what ended it early, if anything did; throws what the sinks say.
  Awaitable<std::exception_ptr> one_connection() {
    auto reader = co_await context_.ports.fetcher.open(context_.reference, descriptor_, offset_);
    for (;;) {
      std::span<const std::byte> piece;
      std::exception_ptr broken;
      try {
        piece = co_await reader->read();
      } catch (...) {
        broken = std::current_exception();
      }
      if (broken || piece.empty()) co_return broken;
      if (piece.size() > descriptor_.size - offset_) {
        throw Error(Errc::size_mismatch,
                    "is longer than the " + std::to_string(descriptor_.size) + " bytes of its descriptor");
      }
      if (hashes_) hasher_.update(piece);
      co_await sinks_.write(piece);
      offset_ += piece.size();
      layer_.bytes_done = offset_;
      layer_.bytes_fetched += piece.size();
      const auto pull_class = wish_.rank().pull_class;
      if (context_.shared.bandwidth().limited(pull_class)) {
        co_await context_.shared.bandwidth().pay(pull_class, piece.size());
      }
      if (permit_.give_way()) co_await pause();
    }
  }

  /// Somebody more urgent goes first. The connection and the ingest stay as they are meanwhile; what the
  /// connection does not survive is fetched again from here on.
  Awaitable<> pause() {
    const Stopwatch queue(layer_.queue);
    layer_.state = LayerState::queued;
    co_await permit_.granted();
    layer_.state = LayerState::downloading;
  }

  PullContext& context_;
  const Descriptor& descriptor_;
  LayerSinks& sinks_;
  LayerReport& layer_;
  BlobWish& wish_;
  GatePermit& permit_;
  Hasher hasher_;
  bool hashes_;  ///< nobody else looks at the digest before the store's own commit does
  std::uint64_t offset_;
};

/// Leave to extract a layer: of this image's, and of all pulls'.
class UnpackSlot {
 public:
  Awaitable<> take(PullContext& context, BlobWish& blob, LayerReport& layer) {
    const Stopwatch queue(layer.queue);
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

/// One try at one layer.
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
    const auto info = co_await context_.content().info(descriptor_.digest);
    if (info) {
      co_await use(*info);
    } else {
      co_await download();
    }
  }

 private:
  Awaitable<> use(ContentInfo info) {
    co_await adopt(context_, std::move(info), {});
    layer_.decision = LayerDecision::present;
  }

  Awaitable<> download() {
    co_await queue_up();
    const Stopwatch fetch(layer_.fetch);
    LayerSinks sinks;
    const bool wanted = co_await open_sinks(sinks);
    if (!wanted) {
      const auto info = co_await context_.content().info(descriptor_.digest);
      if (info) co_await use(*info);
      // It was not there a moment ago, and of this process's pulls this is the only one that fetches it.
      fetched_.by_other_process = true;
      co_return;
    }
    if (!sinks.unpack) slot_.release();
    // A store may have it all and yet want a commit, such as containerd with content of another namespace.
    const bool all_there = descriptor_.size > 0 && sinks.offset() == descriptor_.size;
    layer_.decision = all_there ? LayerDecision::present : LayerDecision::download;
    layer_.bytes_done = sinks.offset();
    std::exception_ptr failure;
    try {
      co_await stream(sinks);
    } catch (...) {
      failure = std::current_exception();
    }
    const bool stored = sinks.ingest != nullptr;
    sinks.ingest.reset();  // also ends its lock
    if (failure) {
      sinks.unpack.reset();
      if (stored) co_await drop_unless_resumable(as_error(failure).code());
      std::rethrow_exception(failure);
    }
    fetched_.stored = stored;
    fetched_.unpack = std::move(sinks.unpack);
  }

  Awaitable<> queue_up() {
    if (wish_ != UnpackWish::none) co_await slot_.take(context_, blob_, layer_);
    const Stopwatch queue(layer_.queue);
    layer_.state = LayerState::queued;
    permit_ = blob_.join_downloads(context_.reference.domain(), descriptor_.size);
    co_await permit_.granted();
    layer_.state = LayerState::downloading;
  }

  /// False if the content has turned out to be there.
  Awaitable<bool> open_sinks(LayerSinks& sinks) {
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

  /// Opens the ingest, waiting while another process writes the same layer. Null if the content is there.
  Awaitable<std::unique_ptr<Ingest>> open_ingest() {
    const auto ref = ingest_ref(descriptor_);
    LockWait wait;
    for (;;) {
      std::exception_ptr locked;
      try {
        co_return co_await context_.content().ingest(ref, descriptor_);
      } catch (const Error& error) {
        if (error.code() != Errc::locked) throw;
        locked = std::current_exception();
      }
      permit_.release();
      slot_.release();
      layer_.state = LayerState::queued;
      co_await wait.pause(locked);
      co_await queue_up();
    }
  }

  Awaitable<> stream(LayerSinks& sinks) {
    LayerStream stream(context_, descriptor_, sinks, layer_, blob_, permit_);
    co_await stream.run();
    // The extraction goes on while the store commits.
    if (sinks.ingest) {
      const Labels labels = missing_labels(context_, {}, {});
      co_await sinks.ingest->commit(labels);
    }
    permit_.release();
    if (!sinks.unpack) co_return;
    const Stopwatch unpack(layer_.unpack);
    layer_.state = LayerState::unpacking;
    fetched_.applied = co_await sinks.unpack->finish();
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
