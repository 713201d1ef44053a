#include "tests/support/fake_ports.hpp"

#include "engine/chain_id.hpp"
#include "engine/labels.hpp"
#include "tests/support/coroutine.hpp"

#include <boost/json.hpp>

#include <algorithm>

namespace lazypull::test {
namespace {

std::string chain_of(const std::string& key) {
  return key.substr(key.find(' ') + 1);
}

boost::json::object to_json(const Descriptor& descriptor) {
  boost::json::object object{
      {"mediaType", descriptor.media_type}, {"digest", descriptor.digest.str()}, {"size", descriptor.size}};
  if (!descriptor.annotations.empty()) {
    boost::json::object annotations;
    for (const auto& [key, value] : descriptor.annotations) annotations[key] = value;
    object["annotations"] = annotations;
  }
  return object;
}

}  // namespace

class FakeRegistry::Reader : public BlobReader {
 public:
  Reader(FakeRegistry& registry, Descriptor descriptor, std::string bytes, std::uint64_t offset,
         std::uint64_t breaks_at, bool corrupt_mirror)
      : registry_(registry),
        descriptor_(std::move(descriptor)),
        bytes_(std::move(bytes)),
        offset_(offset),
        breaks_at_(breaks_at),
        corrupt_mirror_(corrupt_mirror) {
    registry_.most_reading = std::max(registry_.most_reading, ++registry_.reading);
  }
  ~Reader() override { --registry_.reading; }

  Awaitable<std::span<const std::byte>> read() override {
    if (!started_ && registry_.before_body) co_await registry_.before_body(descriptor_.digest);
    started_ = true;
    co_await step();
    if (offset_ >= breaks_at_) throw Error(Errc::unavailable, "connection reset");
    const auto size =
        std::min<std::uint64_t>({registry_.piece, bytes_.size() - offset_, breaks_at_ - offset_});
    if (corrupt_mirror_ && offset_ + size == bytes_.size()) {
      throw Error(Errc::digest_mismatch, "the mirror serves something else");
    }
    const auto span = std::as_bytes(std::span(bytes_)).subspan(offset_, size);
    offset_ += size;
    co_return span;
  }
  bool unproven() const noexcept override { return corrupt_mirror_; }

 private:
  FakeRegistry& registry_;
  Descriptor descriptor_;
  std::string bytes_;
  std::uint64_t offset_;
  std::uint64_t breaks_at_;
  bool corrupt_mirror_;
  bool started_ = false;
};

Descriptor FakeRegistry::add(std::string bytes, std::string_view media_type) {
  Descriptor descriptor;
  descriptor.media_type = media_type;
  descriptor.digest = Digest::sha256_of(bytes);
  descriptor.size = bytes.size();
  blobs_[descriptor.digest] = std::move(bytes);
  return descriptor;
}

Awaitable<Descriptor> FakeRegistry::resolve(const Reference& reference) {
  co_await step();
  const auto found = tags_.find(reference.name());
  if (found == tags_.end()) throw Error(Errc::not_found, reference.name() + ": 404 Not Found");
  co_return found->second;
}

Awaitable<std::unique_ptr<BlobReader>> FakeRegistry::open(const Reference&, const Descriptor& descriptor,
                                                          std::uint64_t offset) {
  co_await step();
  opened.emplace_back(descriptor.digest, offset);
  if (const auto found = refuse.find(descriptor.digest); found != refuse.end()) throw found->second;
  const auto blob = blobs_.find(descriptor.digest);
  if (blob == blobs_.end()) throw Error(Errc::not_found, descriptor.digest.str() + ": 404 Not Found");
  std::string bytes = blob->second;
  if (const auto other = served_instead.find(descriptor.digest); other != served_instead.end()) {
    bytes = other->second;
  }
  std::uint64_t breaks_at = UINT64_MAX;
  if (const auto found = breaks.find(descriptor.digest); found != breaks.end()) {
    const auto times = times_opened(descriptor.digest) - 1;
    if (times < found->second.size()) breaks_at = found->second[times];
  }
  bool corrupt = false;
  if (const auto found = corrupt_mirror.find(descriptor.digest); found != corrupt_mirror.end()) {
    corrupt = times_opened(descriptor.digest) <= found->second.first;
    if (corrupt) bytes = found->second.second;
  }
  co_return std::make_unique<Reader>(*this, descriptor, std::move(bytes), offset, breaks_at, corrupt);
}

std::size_t FakeRegistry::times_opened(const Digest& digest) const {
  return static_cast<std::size_t>(
      std::ranges::count_if(opened, [&](const auto& request) { return request.first == digest; }));
}

class FakeStores::FakeLease : public Lease {
 public:
  explicit FakeLease(FakeStores& stores) : stores_(stores) {}
  ContentStore& content() override { return stores_; }
  Snapshotter& snapshotter() override { return stores_; }
  Applier& applier() override { return stores_; }
  ImageStore& images() override { return stores_; }
  Awaitable<void> protect_snapshot(const std::string& name) override {
    co_await stores_.record("protect " + name);
    stores_.protected_resources.insert(name);
  }
  Awaitable<void> protect_content(const Digest& digest) override {
    co_await stores_.record("protect " + digest.str());
    stores_.protected_resources.insert(digest.str());
  }
  Awaitable<void> release(bool) override {
    co_await stores_.record("release");
    --stores_.leases;
  }

 private:
  FakeStores& stores_;
};

class FakeStores::FakeIngest : public Ingest {
 public:
  FakeIngest(FakeStores& stores, std::string ref, Descriptor descriptor)
      : stores_(stores),
        ref_(std::move(ref)),
        descriptor_(std::move(descriptor)),
        offset_(partial().size()) {}
  std::uint64_t offset() const noexcept override { return offset_; }
  Awaitable<void> write(std::span<const std::byte> bytes) override {
    co_await step();
    partial().append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  Awaitable<CommitOutcome> commit(const Labels& labels) override {
    co_await stores_.record("commit content " + ref_);
    std::string bytes = partial();
    if (bytes.size() != descriptor_.size) throw Error(Errc::size_mismatch, ref_ + ": wrong size");
    if (Digest::sha256_of(bytes) != descriptor_.digest)
      throw Error(Errc::digest_mismatch, ref_ + ": wrong digest");
    stores_.content[descriptor_.digest] = {std::move(bytes), labels};
    stores_.ingests.erase(ref_);
    co_return CommitOutcome::committed;
  }

 private:
  std::string& partial() { return stores_.ingests[ref_]; }
  FakeStores& stores_;
  std::string ref_;
  Descriptor descriptor_;
  std::uint64_t offset_;
};

class FakeStores::StoredReader : public BlobReader {
 public:
  explicit StoredReader(std::string bytes) : bytes_(std::move(bytes)) {}
  Awaitable<std::span<const std::byte>> read() override {
    co_await step();
    const auto rest = std::as_bytes(std::span(bytes_)).subspan(offset_);
    offset_ = bytes_.size();
    co_return rest;
  }

 private:
  std::string bytes_;
  std::size_t offset_ = 0;
};

/// Keeps what is written, and says in the calls what became of it.
class FakeStores::FakeUnpack : public LayerUnpack {
 public:
  FakeUnpack(FakeStores& stores, Descriptor layer, bool verify)
      : stores_(stores), layer_(std::move(layer)), verify_(verify) {}
  ~FakeUnpack() override {
    if (!placed_) stores_.calls.push_back("drop " + layer_.digest.str());
  }
  Awaitable<void> write(std::span<const std::byte> bytes) override {
    co_await step();
    bytes_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (bytes_.find('!') != std::string::npos) throw Error(Errc::invalid_image, "not an archive");
  }
  Awaitable<AppliedLayer> finish() override {
    co_await stores_.record("extracted " + layer_.digest.str());
    if (verify_ && Digest::sha256_of(bytes_) != layer_.digest) {
      throw Error(Errc::digest_mismatch, "extracted something else");
    }
    co_return AppliedLayer{stores_.diff_ids.at(layer_.digest), bytes_.size()};
  }
  Awaitable<bool> place(const std::vector<Mount>&) override {
    co_await stores_.record("place " + layer_.digest.str());
    placed_ = stores_.places;
    co_return placed_;
  }

 private:
  FakeStores& stores_;
  Descriptor layer_;
  bool verify_;
  bool placed_ = false;
  std::string bytes_;
};

Awaitable<> FakeStores::record(std::string call) {
  calls.push_back(call);
  co_await step();
  if (before_call) co_await before_call(std::move(call));
}

Awaitable<std::unique_ptr<Lease>> FakeStores::acquire(std::chrono::seconds) {
  co_await record("lease");
  ++leases;
  co_return std::make_unique<FakeLease>(*this);
}

Awaitable<std::optional<ContentInfo>> FakeStores::info(const Digest& digest) {
  co_await record("info " + digest.str());
  const auto found = content.find(digest);
  if (found == content.end()) co_return std::nullopt;
  co_return ContentInfo{digest, found->second.bytes.size(), found->second.labels};
}

Awaitable<void> FakeStores::update_labels(const Digest& digest, const Labels& labels) {
  co_await record("label " + digest.str());
  const auto found = content.find(digest);
  if (found == content.end()) throw Error(Errc::not_found, digest.str() + ": no such content");
  for (const auto& [key, value] : labels) found->second.labels[key] = value;
}

Awaitable<std::string> FakeStores::read(const Digest& digest, std::uint64_t limit) {
  co_await record("read " + digest.str());
  const auto found = content.find(digest);
  if (found == content.end()) throw Error(Errc::not_found, digest.str() + ": no such content");
  const auto& bytes = found->second.bytes;
  if (bytes.size() > limit) throw Error(Errc::size_mismatch, digest.str() + ": too long");
  co_return bytes;
}

Awaitable<std::unique_ptr<BlobReader>> FakeStores::open(const Digest& digest) {
  co_await record("open " + digest.str());
  const auto found = content.find(digest);
  if (found == content.end()) throw Error(Errc::not_found, digest.str() + ": no such content");
  co_return std::make_unique<StoredReader>(found->second.bytes);
}

Awaitable<std::unique_ptr<Ingest>> FakeStores::ingest(const std::string& ref, const Descriptor& descriptor) {
  co_await record("ingest " + ref);
  if (lock_once.erase(ref) > 0) throw Error(Errc::locked, ref + ": locked");
  if (content.contains(descriptor.digest)) co_return nullptr;
  co_return std::make_unique<FakeIngest>(*this, ref, descriptor);
}

Awaitable<void> FakeStores::abort(const std::string& ref) {
  co_await record("abort " + ref);
  ingests.erase(ref);
}

Awaitable<std::optional<SnapshotInfo>> FakeStores::stat(const std::string& key) {
  co_await record("stat " + key);
  const auto found = snapshots.find(key);
  if (found == snapshots.end()) co_return std::nullopt;
  co_return found->second;
}

Awaitable<PrepareOutcome> FakeStores::prepare(const std::string& key, const std::string& parent,
                                              const Labels& labels) {
  const std::string chain = chain_of(key);
  co_await record("prepare " + chain);
  if (const auto found = fail_prepare.find(chain); found != fail_prepare.end()) throw found->second;
  if (!parent.empty() && !snapshots.contains(parent)) throw Error(Errc::not_found, "parent " + parent);
  PrepareOutcome outcome;
  const bool asked_today = labels.contains(std::string(label::snapshot_ref));
  if (asked_today && (snapshots.contains(chain) || remote.contains(chain))) {
    snapshots.emplace(chain, SnapshotInfo{chain, parent, SnapshotKind::committed, labels});
    outcome.already_exists = true;
    co_return outcome;
  }
  Labels own = labels;
  if (marked_2019.contains(chain) && labels.contains(std::string(label::remote_2019_digest))) {
    own[std::string(label::remote_2019)] = "yes";
  }
  snapshots[key] = SnapshotInfo{key, parent, SnapshotKind::active, own};
  outcome.mounts.push_back({"bind", "/fake/" + chain, "", {staged.contains(chain) ? "ro" : "rw", "rbind"}});
  co_return outcome;
}

Awaitable<CommitOutcome> FakeStores::commit(const std::string& name, const std::string& key, const Labels&) {
  co_await record("commit " + name);
  if (const auto found = fail_commit.find(name); found != fail_commit.end()) throw found->second;
  if (snapshots.contains(name)) co_return CommitOutcome::already_exists;
  auto node = snapshots.extract(key);
  if (node.empty()) throw Error(Errc::not_found, key);
  SnapshotInfo info = std::move(node.mapped());
  info.name = name;
  info.kind = SnapshotKind::committed;
  snapshots[name] = std::move(info);
  co_return CommitOutcome::committed;
}

Awaitable<void> FakeStores::remove(const std::string& key) {
  co_await record("remove " + chain_of(key));
  snapshots.erase(key);
}

Awaitable<AppliedLayer> FakeStores::apply(const Descriptor& layer, const std::vector<Mount>&) {
  co_await record("apply " + layer.digest.str());
  const auto blob = content.find(layer.digest);
  if (blob == content.end()) throw Error(Errc::not_found, layer.digest.str() + ": no such content");
  co_return AppliedLayer{diff_ids.at(layer.digest), blob->second.bytes.size()};
}

Awaitable<std::unique_ptr<LayerUnpack>> FakeStores::start(const Descriptor& layer, UnpackTraits traits) {
  co_await record((traits.lowest ? "start lowest " : "start ") + layer.digest.str());
  if (!streams) co_return nullptr;
  co_return std::make_unique<FakeUnpack>(*this, layer, traits.verify);
}

Awaitable<std::optional<ImageRecord>> FakeStores::get(const std::string& name) {
  co_await record("get image " + name);
  const auto found = images.find(name);
  if (found == images.end()) co_return std::nullopt;
  co_return found->second;
}

Awaitable<void> FakeStores::put(const ImageRecord& image) {
  co_await record("put image " + image.name);
  images[image.name] = image;
}

std::size_t FakeStores::active_snapshots() const {
  return static_cast<std::size_t>(std::ranges::count_if(
      snapshots, [](const auto& item) { return item.second.kind == SnapshotKind::active; }));
}

std::size_t FakeStores::count(std::string_view prefix) const {
  return static_cast<std::size_t>(
      std::ranges::count_if(calls, [&](const std::string& call) { return call.starts_with(prefix); }));
}

FakeImage make_image(FakeRegistry& registry, FakeStores& stores, const std::vector<FakeLayer>& layers,
                     const std::string& platform) {
  FakeImage image;
  const Platform parsed = Platform::parse(platform);
  boost::json::array diffs;
  boost::json::array descriptors;
  for (const auto& layer : layers) {
    auto descriptor = registry.add(layer.bytes, "application/vnd.oci.image.layer.v1.tar+gzip");
    descriptor.annotations = layer.annotations;
    const auto diff_id = Digest::sha256_of("tar:" + layer.bytes);
    stores.diff_ids[descriptor.digest] = diff_id;
    image.diff_ids.push_back(diff_id);
    diffs.emplace_back(diff_id.str());
    descriptors.emplace_back(to_json(descriptor));
    image.layers.push_back(std::move(descriptor));
  }
  for (const auto& chain : chain_ids(image.diff_ids)) image.chain_ids.push_back(chain.str());
  const boost::json::object config{{"os", parsed.os},
                                   {"architecture", parsed.architecture},
                                   {"rootfs", {{"type", "layers"}, {"diff_ids", diffs}}}};
  image.config = registry.add(boost::json::serialize(config), media_type::oci_config);
  const boost::json::object manifest{{"schemaVersion", 2},
                                     {"mediaType", media_type::oci_manifest},
                                     {"config", to_json(image.config)},
                                     {"layers", descriptors}};
  image.manifest = registry.add(boost::json::serialize(manifest), media_type::oci_manifest);
  return image;
}

Descriptor make_index(FakeRegistry& registry, const std::vector<FakeImage>& images,
                      const std::vector<std::string>& platforms) {
  boost::json::array entries;
  for (std::size_t i = 0; i < images.size(); ++i) {
    auto entry = to_json(images[i].manifest);
    const Platform platform = Platform::parse(platforms[i]);
    entry["platform"] = boost::json::object{
        {"os", platform.os}, {"architecture", platform.architecture}, {"variant", platform.variant}};
    entries.emplace_back(std::move(entry));
  }
  const boost::json::object index{
      {"schemaVersion", 2}, {"mediaType", media_type::oci_index}, {"manifests", entries}};
  return registry.add(boost::json::serialize(index), media_type::oci_index);
}

}  // namespace lazypull::test
