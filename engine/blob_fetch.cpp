#include "engine/blob_fetch.hpp"

#include "engine/digest.hpp"
#include "engine/lock_wait.hpp"
#include "engine/task_group.hpp"

#include <algorithm>
#include <exception>

namespace lazypull {

namespace {
constexpr int max_lookups = 3;
}

std::string_view blob_kind(const Descriptor& descriptor) {
  if (media_type::is_index(descriptor.media_type)) return "index";
  if (media_type::is_manifest(descriptor.media_type)) return "manifest";
  if (media_type::is_config(descriptor.media_type)) return "config";
  if (media_type::is_layer(descriptor.media_type)) return "layer";
  return "content";
}

std::string blob_name(const Descriptor& descriptor) {
  return std::string(blob_kind(descriptor)) + " " + descriptor.digest.str();
}

Labels missing_labels(const PullContext& context, Labels wanted, const Labels& present) {
  if (auto source = distribution_source_label(context.reference, present)) wanted.insert(std::move(*source));
  std::erase_if(wanted, [&](const auto& item) {
    const auto found = present.find(item.first);
    return found != present.end() && found->second == item.second;
  });
  return wanted;
}

Awaitable<bool> add_labels(PullContext& context, ContentInfo info, Labels wanted) {
  if (missing_labels(context, wanted, info.labels).empty()) co_return true;
  // The repositories that content comes from share one label, so it is read again where no other pull of
  // ours can change it before it is written.
  const Permit turn = co_await context.shared.label_updates().acquire();
  const auto now = co_await context.content().info(info.digest);
  if (!now) co_return false;
  const Labels missing = missing_labels(context, std::move(wanted), now->labels);
  if (!missing.empty()) co_await context.content().update_labels(info.digest, missing);
  co_return true;
}

Awaitable<> adopt(PullContext& context, ContentInfo info, Labels wanted) {
  co_await context.lease.protect_content(info.digest);
  co_await add_labels(context, std::move(info), std::move(wanted));
}

Awaitable<std::unique_ptr<Ingest>> open_when_free(PullContext& context, const Descriptor& descriptor,
                                                  WaitWhileLocked wait) {
  const auto ref = ingest_ref(descriptor);
  LockWait patience;
  for (;;) {
    std::exception_ptr locked;
    try {
      co_return co_await context.content().ingest(ref, descriptor);
    } catch (const Error& error) {
      if (error.code() != Errc::locked) throw;
      locked = std::current_exception();
    }
    auto pause = patience.pause(locked);
    if (wait) {
      co_await wait(std::move(pause));
    } else {
      co_await std::move(pause);
    }
  }
}

namespace {

std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

/// Returns what broke it off, if anything did.
Awaitable<std::exception_ptr> download_rest(PullContext& context, const Descriptor& descriptor,
                                            std::string& bytes, DownloadRetry& retry) {
  const auto reader = co_await context.ports.fetcher.open(context.reference, descriptor, bytes.size());
  std::exception_ptr broken;
  try {
    while (bytes.size() <= descriptor.size) {
      const auto piece = co_await reader->read();
      if (piece.empty()) break;
      bytes.append(reinterpret_cast<const char*>(piece.data()), piece.size());
      retry.progress(piece.size());
    }
  } catch (...) {
    broken = std::current_exception();
  }
  co_return broken;
}

Awaitable<std::string> download_small(PullContext& context, BlobWish& wish, const Descriptor& descriptor) {
  Span wait(wish.trace, "wait", "metadata", descriptor.digest.str());
  auto permit = wish.join_downloads(context.reference.domain(), descriptor.size);
  co_await permit.granted();
  wait.end();
  std::string bytes;
  bytes.reserve(descriptor.size);
  DownloadRetry retry(*context.retries);
  for (;;) {
    const auto broken = co_await download_rest(context, descriptor, bytes, retry);
    if (!broken) break;
    const auto pause = retry.pause_after(broken);
    if (pause.count() > 0) co_await sleep_for(pause);
  }
  context.report.metadata_bytes += bytes.size();
  permit.release();
  co_await context.shared.bandwidth().pay(wish.rank().pull_class, bytes.size());
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
  const auto ingest = co_await open_when_free(context, descriptor);
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

using Inspect = std::function<Labels(const std::string&)>;

/// False if the store does not have it.
Awaitable<bool> use_stored(PullContext& context, const Descriptor& descriptor, const Inspect& inspect,
                           MetadataBlob& blob) {
  auto stored = co_await stored_blob(context, descriptor);
  if (!stored.info || stored.bytes.size() != descriptor.size) co_return false;
  blob.bytes = std::move(stored.bytes);
  verify(descriptor, blob.bytes);
  Labels wanted = inspect(blob.bytes);
  blob.labels = stored.info->labels;
  if (context.store_metadata) {
    // Where it has gone in this moment it is fetched again.
    const bool still = co_await add_labels(context, std::move(*stored.info), std::move(wanted));
    co_return still;
  }
  co_return true;
}

Awaitable<> download_metadata(PullContext& context, BlobWish& wish, const Descriptor& descriptor,
                              const Inspect& inspect, MetadataBlob& blob) {
  blob.bytes = co_await download_small(context, wish, descriptor);
  verify(descriptor, blob.bytes);
  blob.labels = missing_labels(context, inspect(blob.bytes), {});
  if (!context.store_metadata) co_return;
  const Span span(wish.trace, "commit", "content", descriptor.digest.str());
  co_await store_small(context, descriptor, blob.bytes, blob.labels);
}

/// Sets `fetched` unless another pull has stored it since this one has looked.
Awaitable<> download_unless_there(PullContext& context, BlobWish& wish, const Descriptor& descriptor,
                                  const Inspect& inspect, MetadataBlob& blob, bool& fetched) {
  if (context.store_metadata) {
    const auto info = co_await context.content().info(descriptor.digest);
    if (info && info->size == descriptor.size) co_return;
  }
  co_await download_metadata(context, wish, descriptor, inspect, blob);
  fetched = true;
}

Awaitable<MetadataBlob> metadata_blob(PullContext& context, const Descriptor& descriptor,
                                      const Inspect& inspect) {
  Span span(context.trace, blob_kind(descriptor), "metadata", descriptor.digest.str());
  span.take_requests();
  BlobWish wish(context.shared, descriptor.digest, context.rank);
  wish.trace = span.point();
  MetadataBlob blob;
  for (int tries = 0; tries < max_lookups; ++tries) {
    const bool there = co_await use_stored(context, descriptor, inspect, blob);
    if (there) co_return blob;
    if (!context.store_metadata) break;  // what one fetches is of no use to another
    bool fetched = false;
    co_await context.shared.fetch_once(wish, context.reference.locator(), [&] {
      return download_unless_there(context, wish, descriptor, inspect, blob, fetched);
    });
    if (fetched) co_return blob;
  }
  // Or others have stored it again and again, and each time it was gone before it was protected.
  co_await download_metadata(context, wish, descriptor, inspect, blob);
  co_return blob;
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

}  // namespace lazypull
