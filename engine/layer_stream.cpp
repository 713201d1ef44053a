#include "engine/layer_stream.hpp"

#include "engine/digest.hpp"
#include "engine/lock_wait.hpp"

#include <string>

namespace lazypull {

LayerStream::LayerStream(PullContext& context, const Descriptor& descriptor, LayerSinks& sinks,
                         LayerReport& layer, BlobWish& wish, GatePermit& permit)
    : context_(context),
      descriptor_(descriptor),
      sinks_(sinks),
      layer_(layer),
      wish_(wish),
      permit_(permit),
      retry_(*context.retries),
      hasher_(descriptor.digest.algorithm()),
      hashes_(!sinks.unpack && sinks.offset() == 0),
      resumed_(sinks.offset() > 0),
      offset_(sinks.offset()) {}

Awaitable<> LayerStream::run() {
  while (offset_ < descriptor_.size) {
    const auto broken = co_await one_connection();
    if (offset_ == descriptor_.size) break;
    if (!broken) {
      throw Error(Errc::bad_response, "ended after " + std::to_string(offset_) + " of " +
                                          std::to_string(descriptor_.size) + " bytes");
    }
    const auto wait = retry_.pause_after(broken);
    if (wait.count() > 0) co_await sleep_for(wait);
  }
  if (hashes_) {
    const Digest actual = hasher_.finish();
    if (actual != descriptor_.digest) {
      throw Error(Errc::digest_mismatch, "the content that was served is " + actual.str());
    }
  }
}

/// Returns what ended it early, if anything did; throws what the sinks say.
Awaitable<std::exception_ptr> LayerStream::one_connection() {
  Span span(wish_.trace, "download", "layer", descriptor_.digest.str());
  span.take_requests();
  std::unique_ptr<BlobReader> reader;
  std::exception_ptr broken;
  try {
    reader = co_await context_.ports.fetcher.open(context_.reference, descriptor_, offset_);
  } catch (...) {
    broken = std::current_exception();
  }
  if (broken) {
    at_fault_ = as_error(broken).code() == Errc::digest_mismatch;
    // Those who open a blob are patient enough, unless it has been coming already.
    if (connections_ == 0) std::rethrow_exception(broken);
    co_return broken;
  }
  ++connections_;
  co_await receive(std::move(reader), broken);
  co_return broken;
}

Awaitable<> LayerStream::receive(std::unique_ptr<BlobReader> reader, std::exception_ptr& broken) {
  for (;;) {
    std::span<const std::byte> piece;
    try {
      piece = co_await reader->read();
    } catch (...) {
      broken = std::current_exception();
    }
    unproven_ = unproven_ || reader->unproven();
    if (broken) at_fault_ = as_error(broken).code() == Errc::digest_mismatch;
    if (broken || piece.empty()) co_return;
    if (piece.size() > descriptor_.size - offset_) {
      throw Error(Errc::size_mismatch,
                  "is longer than the " + std::to_string(descriptor_.size) + " bytes of its descriptor");
    }
    if (hashes_) hasher_.update(piece);
    co_await hand_on(piece);
    offset_ += piece.size();
    layer_.bytes_done = offset_;
    layer_.bytes_fetched += piece.size();
    retry_.progress(piece.size());
    const auto pull_class = wish_.rank().pull_class;
    if (context_.shared.bandwidth().limited(pull_class)) {
      co_await context_.shared.bandwidth().pay(pull_class, piece.size());
    }
    if (permit_.give_way()) co_await pause();
  }
}

Awaitable<> LayerStream::hand_on(std::span<const std::byte> piece) {
  if (sinks_.ingest) co_await sinks_.ingest->write(piece);
  if (!sinks_.unpack) co_return;
  std::exception_ptr failure;
  try {
    co_await sinks_.unpack->write(piece);
    co_return;
  } catch (...) {
    failure = std::current_exception();
  }
  // What is wrong with an archive may be what a mirror has made of it. The rest tells: the digest is known
  // only then.
  if (!unproven_ || as_error(failure).code() != Errc::invalid_image) std::rethrow_exception(failure);
  unpack_failure_ = failure;
  sinks_.unpack.reset();
}

/// Somebody more urgent goes first. The connection and the ingest stay as they are meanwhile; what the
/// connection does not survive is fetched again from here on.
Awaitable<> LayerStream::pause() {
  const Stopwatch queue(layer_.queue);
  const Span span(wish_.trace, "give way", "layer", descriptor_.digest.str());
  layer_.state = LayerState::queued;
  co_await permit_.granted();
  layer_.state = LayerState::downloading;
}

}  // namespace lazypull
