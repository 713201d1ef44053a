#include "engine/blob_fetch.hpp"

#include "engine/deadline.hpp"
#include "engine/digest.hpp"
#include "engine/task_group.hpp"

#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <chrono>
#include <exception>

namespace lazypull {
namespace {

using std::chrono::milliseconds;

constexpr int max_breaks_without_progress = 3;
constexpr milliseconds first_backoff{50};
constexpr milliseconds longest_backoff{2000};
constexpr std::chrono::minutes longest_lock_wait{10};

Awaitable<> sleep_for(milliseconds duration) {
  const auto executor = co_await asio::this_coro::executor;
  asio::steady_timer timer(executor, duration);
  co_await timer.async_wait(asio::use_awaitable);
}

std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string blob_name(const Descriptor& descriptor) {
  std::string kind = "content ";
  if (media_type::is_index(descriptor.media_type)) kind = "index ";
  if (media_type::is_manifest(descriptor.media_type)) kind = "manifest ";
  if (media_type::is_config(descriptor.media_type)) kind = "config ";
  if (media_type::is_layer(descriptor.media_type)) kind = "layer ";
  return kind + descriptor.digest.str();
}

/// Those of `wanted` that `present` does not have already.
Labels missing_labels(const PullContext& context, Labels wanted, const Labels& present) {
  if (auto source = distribution_source_label(context.reference, present)) wanted.insert(std::move(*source));
  std::erase_if(wanted, [&](const auto& item) {
    const auto found = present.find(item.first);
    return found != present.end() && found->second == item.second;
  });
  return wanted;
}

/// The content is there: keeps it there, and adds what its labels lack.
Awaitable<> adopt(PullContext& context, const ContentInfo& info, Labels wanted) {
  co_await context.lease.protect_content(info.digest);
  const Labels missing = missing_labels(context, std::move(wanted), info.labels);
  if (!missing.empty()) co_await context.content().update_labels(info.digest, missing);
}

Awaitable<std::string> download_small(PullContext& context, const Descriptor& descriptor) {
  const Permit permit = co_await context.fetches.acquire();
  const auto reader = co_await context.ports.fetcher.open(context.reference, descriptor, 0);
  std::string bytes;
  bytes.reserve(descriptor.size);
  for (;;) {
    const auto piece = co_await reader->read();
    if (piece.empty()) break;
    bytes.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    if (bytes.size() > descriptor.size) break;
  }
  context.report.metadata_bytes += bytes.size();
  co_return bytes;
}

void verify(const Descriptor& descriptor, const std::string& bytes) {
  if (bytes.size() != descriptor.size) {
    throw Error(Errc::size_mismatch, "has " + std::to_string(bytes.size()) +
                                         " bytes where its descriptor says " +
                                         std::to_string(descriptor.size));
  }
  Hasher hasher(descriptor.digest.algorithm());
  hasher.update(as_bytes(bytes));
  const Digest actual = hasher.finish();
  if (actual != descriptor.digest) {
    throw Error(Errc::digest_mismatch, "the content that was served is " + actual.str());
  }
}

Awaitable<> store_small(PullContext& context, const Descriptor& descriptor, const std::string& bytes,
                        const Labels& labels) {
  auto ref = ingest_ref(descriptor);
  const auto ingest = co_await context.content().ingest(ref, descriptor);
  if (!ingest) {
    // Somebody else stored it in the meantime.
    const auto info = co_await context.content().info(descriptor.digest);
    if (info) co_await adopt(context, *info, labels);
    co_return;
  }
  const auto have = std::min<std::uint64_t>(ingest->offset(), bytes.size());
  const auto rest = as_bytes(bytes).subspan(have);
  if (!rest.empty()) co_await ingest->write(rest);
  co_await ingest->commit(labels);
}

struct StoredBlob {
  std::optional<ContentInfo> info;
  std::string bytes;
};

Awaitable<> look_up(PullContext& context, const Descriptor& descriptor, StoredBlob& blob) {
  blob.info = co_await context.content().info(descriptor.digest);
}

Awaitable<> read_if_there(PullContext& context, const Descriptor& descriptor, StoredBlob& blob) {
  try {
    blob.bytes = co_await context.content().read(descriptor.digest, descriptor.size);
  } catch (const Error& error) {
    // Whether it is there, and whether it is what it should be, is for look_up and verify to say.
    if (error.code() != Errc::not_found && error.code() != Errc::size_mismatch) throw;
  }
}

/// What the store has of a small blob, and protects it before it is looked at: three calls at once, since for
/// an image that is there already these calls are most of the pull.
Awaitable<StoredBlob> stored_blob(PullContext& context, const Descriptor& descriptor) {
  StoredBlob blob;
  co_await with_task_group([&](TaskGroup& group) -> Awaitable<> {
    if (context.store_metadata) group.spawn(context.lease.protect_content(descriptor.digest));
    group.spawn(look_up(context, descriptor, blob));
    group.spawn(read_if_there(context, descriptor, blob));
    co_return;
  });
  co_return blob;
}

Awaitable<MetadataBlob> metadata_blob(PullContext& context, const Descriptor& descriptor,
                                      const std::function<Labels(const std::string&)>& inspect) {
  auto stored = co_await stored_blob(context, descriptor);
  MetadataBlob blob;
  if (stored.info && stored.bytes.size() == descriptor.size) {
    blob.bytes = std::move(stored.bytes);
    verify(descriptor, blob.bytes);
    const Labels missing = missing_labels(context, inspect(blob.bytes), stored.info->labels);
    if (context.store_metadata && !missing.empty()) {
      co_await context.content().update_labels(descriptor.digest, missing);
    }
    blob.labels = std::move(stored.info->labels);
    co_return blob;
  }
  blob.bytes = co_await download_small(context, descriptor);
  verify(descriptor, blob.bytes);
  blob.labels = missing_labels(context, inspect(blob.bytes), {});
  if (context.store_metadata) co_await store_small(context, descriptor, blob.bytes, blob.labels);
  co_return blob;
}

/// One connection's worth of a layer. Returns what ended it early, if anything did; throws what the store
/// says.
class LayerStream {
 public:
  LayerStream(PullContext& context, const Descriptor& descriptor, Ingest& ingest, LayerReport& layer)
      : context_(context),
        descriptor_(descriptor),
        ingest_(ingest),
        layer_(layer),
        hasher_(descriptor.digest.algorithm()),
        whole_(ingest.offset() == 0),
        offset_(ingest.offset()) {}

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
    if (whole_) {
      const Digest actual = hasher_.finish();
      if (actual != descriptor_.digest) {
        throw Error(Errc::digest_mismatch, "the content that was served is " + actual.str());
      }
    }
  }

 private:
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
      if (whole_) hasher_.update(piece);
      co_await ingest_.write(piece);
      offset_ += piece.size();
      layer_.bytes_done = offset_;
      layer_.bytes_fetched += piece.size();
    }
  }

  PullContext& context_;
  const Descriptor& descriptor_;
  Ingest& ingest_;
  LayerReport& layer_;
  Hasher hasher_;
  bool whole_;  ///< we see every byte, so we can check the digest ourselves; else the store's commit does
  std::uint64_t offset_;
};

/// Opens the ingest, waiting while another process writes the same layer. Null if the content is there.
Awaitable<std::unique_ptr<Ingest>> open_ingest(PullContext& context, const Descriptor& descriptor,
                                               LayerReport& layer, Permit& permit) {
  const auto ref = ingest_ref(descriptor);
  const auto give_up = std::chrono::steady_clock::now() + longest_lock_wait;
  milliseconds backoff = first_backoff;
  for (;;) {
    std::exception_ptr locked;
    try {
      co_return co_await context.content().ingest(ref, descriptor);
    } catch (const Error& error) {
      if (error.code() != Errc::locked || std::chrono::steady_clock::now() > give_up) throw;
      locked = std::current_exception();
    }
    permit.release();
    layer.state = LayerState::queued;
    co_await sleep_for(backoff);
    backoff = std::min(backoff * 2, longest_backoff);
    permit = co_await context.fetches.acquire();
    layer.state = LayerState::downloading;
  }
}

Awaitable<> download_layer(PullContext& context, const Descriptor& descriptor, LayerReport& layer) {
  Permit permit;
  {
    const Stopwatch queue(layer.queue);
    layer.state = LayerState::queued;
    permit = co_await context.fetches.acquire();
  }
  const Stopwatch fetch(layer.fetch);
  layer.state = LayerState::downloading;
  auto ingest = co_await open_ingest(context, descriptor, layer, permit);
  if (!ingest) {
    const auto info = co_await context.content().info(descriptor.digest);
    if (info) co_await adopt(context, *info, {});
    layer.decision = LayerDecision::present;
    co_return;
  }
  // A store may have it all and yet want a commit, such as containerd with content of another namespace.
  const bool all_there = descriptor.size > 0 && ingest->offset() == descriptor.size;
  layer.decision = all_there ? LayerDecision::present : LayerDecision::download;
  layer.bytes_done = ingest->offset();
  std::exception_ptr failure;
  try {
    LayerStream stream(context, descriptor, *ingest, layer);
    co_await stream.run();
    const Labels labels = missing_labels(context, {}, {});
    co_await ingest->commit(labels);
  } catch (...) {
    failure = std::current_exception();
  }
  if (!failure) co_return;
  ingest.reset();
  const auto code = as_error(failure).code();
  // What came over a broken or interrupted connection is good as far as it goes: the next pull goes on from
  // there. Anything else means that the bytes are not to be trusted.
  if (code != Errc::cancelled && !is_transient(code)) {
    const auto ref = ingest_ref(descriptor);
    auto drop = context.content().abort(ref);
    co_await asio::this_coro::throw_if_cancelled(false);
    co_await run_cleanup(std::move(drop), context.options.cleanup_timeout, "abort ingest " + ref);
    co_await asio::this_coro::throw_if_cancelled(true);
  }
  std::rethrow_exception(failure);
}

Awaitable<> bring_layer(PullContext& context, const Descriptor& descriptor, LayerReport& layer) {
  const auto info = co_await context.content().info(descriptor.digest);
  if (info) {
    co_await adopt(context, *info, {});
    layer.decision = LayerDecision::present;
  } else {
    co_await download_layer(context, descriptor, layer);
  }
}

}  // namespace

Awaitable<MetadataBlob> fetch_metadata(PullContext& context, const Descriptor& descriptor,
                                       std::uint64_t limit,
                                       std::function<Labels(const std::string&)> inspect) {
  std::exception_ptr failure;
  try {
    if (descriptor.size > limit) {
      throw Error(Errc::invalid_image, std::to_string(descriptor.size) +
                                           " bytes are more than the limit of " + std::to_string(limit));
    }
    co_return co_await metadata_blob(context, descriptor, inspect);
  } catch (...) {
    failure = std::current_exception();
  }
  rethrow_with_context(failure, blob_name(descriptor));
}

Awaitable<> fetch_layer(PullContext& context, const Descriptor& descriptor, LayerReport& layer) {
  std::exception_ptr failure;
  try {
    const bool leader = co_await context.blobs.run(descriptor.digest,
                                                   [&] { return bring_layer(context, descriptor, layer); });
    if (!leader) layer.decision = LayerDecision::present;
    layer.bytes_done = descriptor.size;
    layer.state = LayerState::downloaded;
    co_return;
  } catch (...) {
    failure = std::current_exception();
  }
  rethrow_with_context(failure, blob_name(descriptor));
}

}  // namespace lazypull
