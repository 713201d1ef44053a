#pragma once

#include "engine/pull_context.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace lazypull {

/// A manifest, index or config, verified.
struct MetadataBlob {
  std::string bytes;
  Labels labels;  ///< as the content store has them now
};

/// Reads it from the content store or else fetches it, verifies size and digest, lets `inspect` parse it (and
/// refuse it by throwing) and only then stores it, with the labels that `inspect` returned. Protected by the
/// lease.
Awaitable<MetadataBlob> fetch_metadata(PullContext& context, const Descriptor& descriptor,
                                       std::uint64_t limit,
                                       std::function<Labels(const std::string&)> inspect);

/// "layer", "config", …; "content" if it is none of what images are made of.
std::string_view blob_kind(const Descriptor& descriptor);

/// "layer sha256:…", "config sha256:…", for messages.
std::string blob_name(const Descriptor& descriptor);

/// Those of `wanted`, and the label that says where it comes from, that `present` does not have already.
Labels missing_labels(const PullContext& context, Labels wanted, const Labels& present);

/// What is done while content is locked: it is given the pause that is to be awaited.
using WaitWhileLocked = std::function<Awaitable<>(Awaitable<> pause)>;

/// Opens the ingest of a blob, waiting while another process writes the same. Null if the content is there.
Awaitable<std::unique_ptr<Ingest>> open_when_free(PullContext& context, const Descriptor& descriptor,
                                                  WaitWhileLocked wait = {});

/// Adds what the labels of content lack. False if the content has gone.
Awaitable<bool> add_labels(PullContext& context, ContentInfo info, Labels wanted);

/// The content is there: keeps it there, and adds what its labels lack.
Awaitable<> adopt(PullContext& context, ContentInfo info, Labels wanted);

}  // namespace lazypull
