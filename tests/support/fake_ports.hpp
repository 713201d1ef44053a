#pragma once

#include "engine/event.hpp"
#include "engine/ports.hpp"

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace lazypull::test {

/// A registry in memory. Content is served in pieces of `piece` bytes; hooks decide about faults and timing.
class FakeRegistry : public Resolver, public Fetcher {
 public:
  Descriptor add(std::string bytes, std::string_view media_type);
  void tag(const Reference& reference, const Descriptor& root) { tags_[reference.name()] = root; }

  Awaitable<Descriptor> resolve(const Reference& reference) override;
  Awaitable<std::unique_ptr<BlobReader>> open(const Reference& repository, const Descriptor& descriptor,
                                              std::uint64_t offset) override;

  std::size_t piece = 7;
  std::vector<std::pair<Digest, std::uint64_t>> opened;  ///< digest and offset of each request, in order
  std::size_t reading = 0;                               ///< readers that are open now
  std::size_t most_reading = 0;
  std::map<Digest, std::string> served_instead;  ///< other bytes under the same digest
  /// So many times it is a mirror that serves other bytes, which is found out before the last of them.
  std::map<Digest, std::pair<std::size_t, std::string>> corrupt_mirror;
  std::map<Digest, std::vector<std::uint64_t>> breaks;  ///< connection n breaks at this offset
  std::map<Digest, Error> refuse;
  std::function<Awaitable<>(Digest)> before_body;  ///< awaited before the first byte

  std::size_t times_opened(const Digest& digest) const;

 private:
  class Reader;
  std::map<std::string, Descriptor> tags_;
  std::map<Digest, std::string> blobs_;
};

/// Everything that a containerd would hold, in memory, with a snapshotter whose answers the test decides.
class FakeStores : public LeaseManager,
                   public ContentStore,
                   public Snapshotter,
                   public Applier,
                   public ImageStore {
 public:
  Awaitable<std::unique_ptr<Lease>> acquire(std::chrono::seconds lifetime) override;

  Awaitable<std::optional<ContentInfo>> info(const Digest& digest) override;
  Awaitable<void> update_labels(const Digest& digest, const Labels& labels) override;
  Awaitable<std::string> read(const Digest& digest, std::uint64_t limit) override;
  Awaitable<std::unique_ptr<BlobReader>> open(const Digest& digest) override;
  Awaitable<std::unique_ptr<Ingest>> ingest(const std::string& ref, const Descriptor& descriptor) override;
  Awaitable<void> abort(const std::string& ref) override;

  const std::string& name() const noexcept override { return snapshotter_name; }
  Awaitable<std::optional<SnapshotInfo>> stat(const std::string& key) override;
  Awaitable<PrepareOutcome> prepare(const std::string& key, const std::string& parent,
                                    const Labels& labels) override;
  Awaitable<CommitOutcome> commit(const std::string& name, const std::string& key,
                                  const Labels& labels) override;
  Awaitable<void> remove(const std::string& key) override;

  Awaitable<AppliedLayer> apply(const Descriptor& layer, const std::vector<Mount>& mounts) override;
  Awaitable<std::unique_ptr<LayerUnpack>> start(const Descriptor& layer, UnpackTraits traits) override;

  Awaitable<std::optional<ImageRecord>> get(const std::string& name) override;
  Awaitable<void> put(const ImageRecord& image) override;

  struct Blob {
    std::string bytes;
    Labels labels;
  };

  std::string snapshotter_name = "fake";
  std::map<Digest, Blob> content;
  std::map<std::string, std::string> ingests;
  std::map<std::string, SnapshotInfo> snapshots;
  std::map<std::string, ImageRecord> images;
  std::set<std::string> protected_resources;
  int leases = 0;
  std::vector<std::string> calls;  ///< "prepare <chain>", "stat …", … in order

  /// How the snapshotter answers Prepare for a ChainID: provided remotely (today's protocol), marked as
  /// remote (2019), staged; all else is declined.
  std::set<std::string> remote;
  std::set<std::string> marked_2019;
  std::set<std::string> staged;
  std::map<std::string, Error> fail_prepare;
  std::map<std::string, Error> fail_commit;
  std::set<std::string> lock_once;    ///< ingest refs that are locked at the first try
  std::map<Digest, Digest> diff_ids;  ///< what applying a layer gives
  bool streams = false;               ///< layers are extracted while they arrive
  bool places = true;                 ///< what was extracted can be put into the mounts
  std::function<Awaitable<>(std::string)> before_call;

  std::size_t active_snapshots() const;
  std::size_t count(std::string_view prefix) const;

 private:
  class FakeLease;
  class FakeIngest;
  class FakeUnpack;
  class StoredReader;
  Awaitable<> record(std::string call);
};

/// An image made of layers whose "uncompressed content" is the layer's bytes with "tar:" before them.
struct FakeImage {
  Descriptor manifest;
  Descriptor config;
  std::vector<Descriptor> layers;
  std::vector<Digest> diff_ids;
  std::vector<std::string> chain_ids;
};

struct FakeLayer {
  std::string bytes;
  std::map<std::string, std::string> annotations;
};

/// Puts the image into the registry and tells the stores what applying its layers gives.
FakeImage make_image(FakeRegistry& registry, FakeStores& stores, const std::vector<FakeLayer>& layers,
                     const std::string& platform = "linux/amd64");
/// An index of images; `platforms` in the same order.
Descriptor make_index(FakeRegistry& registry, const std::vector<FakeImage>& images,
                      const std::vector<std::string>& platforms);

}  // namespace lazypull::test
