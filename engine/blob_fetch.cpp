#include "engine/blob_fetch.hpp"

#include "engine/digest.hpp"
#include "engine/lock_wait.hpp"
#include "engine/task_group.hpp"

#include <algorithm>
#include <exception>

namespace lazypull {

std::string blob_name(const Descriptor& descriptor) {
  std::string kind = "content ";
  if (media_type::is_index(descriptor.media_type)) kind = "index ";
  if (media_type::is_manifest(descriptor.media_type)) kind = "manifest ";
  if (media_type::is_config(descriptor.media_type)) kind = "config ";
  if (media_type::is_layer(descriptor.media_type)) kind = "layer ";
  return kind + descriptor.digest.str();
}

Labels missing_labels(const PullContext& context, Labels wanted, const Labels& present) {
  if (auto source = distribution_source_label(context.reference, present)) wanted.insert(std::move(*source));
  std::erase_if(wanted, [&](const auto& item) {
    const auto found = present.find(item.first);
    return found != present.end() && found->second == item.second;
  });
  return wanted;
}

Awaitable<> adopt(PullContext& context, ContentInfo info, Labels wanted) {
  co_await context.lease.protect_content(info.digest);
  const Labels missing = missing_labels(context, std::move(wanted), info.labels);
  if (!missing.empty()) co_await context.content().update_labels(info.digest, missing);
}

namespace {

std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
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

/// Opens the ingest, waiting while another process writes the same. Null if the content is there.
Awaitable<std::unique_ptr<Ingest>> open_when_free(PullContext& context, const Descriptor& descriptor) {
  const auto ref = ingest_ref(descriptor);
  LockWait wait;
  for (;;) {
    std::exception_ptr locked;
    try {
      co_return co_await context.content().ingest(ref, descriptor);
    } catch (const Error& error) {
      if (error.code() != Errc::locked) throw;
      locked = std::current_exception();
    }
    co_await wait.pause(locked);
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
