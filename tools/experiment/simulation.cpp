#include "tools/experiment/simulation.hpp"

#include "engine/error.hpp"
#include "engine/puller.hpp"
#include "tools/experiment/random.hpp"
#include "tools/experiment/simulated_image.hpp"
#include "tools/experiment/virtual_clock.hpp"

#include <algorithm>
#include <cmath>

namespace lazypull::experiment {
namespace {

using std::chrono::nanoseconds;

constexpr std::uint64_t piece_bytes = 256U << 10U;
constexpr std::size_t parts_at_once = 4;

nanoseconds time_for(std::uint64_t bytes, double rate) {
  if (rate <= 0) return nanoseconds(0);
  return nanoseconds(static_cast<std::int64_t>(std::llround(static_cast<double>(bytes) * 1e9 / rate)));
}

/// Something that serves one at a time, in the order in which they come: a link, or a core.
class Server {
 public:
  explicit Server(std::uint64_t rate) : rate_(static_cast<double>(rate)) {}
  nanoseconds free() const noexcept { return free_; }
  /// When so many bytes are through that come now.
  nanoseconds serve(nanoseconds now, std::uint64_t bytes) {
    free_ = std::max(now, free_) + time_for(bytes, rate_);
    return free_;
  }

 private:
  double rate_;
  nanoseconds free_{0};
};

/// What all ports share: the clock, the latencies, and the account of what was called.
class World {
 public:
  World(const Scenario& of, const Knobs& with, std::uint64_t seed, const Latencies& known)
      : scenario(of), knobs(with), image(of), link(of.bandwidth), seed_(seed), known_(known) {
    for (std::size_t i = 0; i < std::max<std::size_t>(1, of.cores); ++i) cores.emplace_back(of.unpack_rate);
  }

  /// One call, from its begin to its answer. The name gets a number when it comes again.
  Awaitable<> call(std::string name, nanoseconds latency) {
    const auto number = ++times_called_[name];
    if (number > 1) name += " #" + std::to_string(number);
    if (const auto found = known_.find(name); found != known_.end()) {
      latency = found->second;
    } else {
      latency +=
          nanoseconds(std::llround(static_cast<double>(latency.count()) * scenario.jitter * chance(name)));
    }
    result.calls.push_back({std::move(name), clock.now(), latency});
    co_await clock.sleep(latency);
  }
  Awaitable<> registry(const std::string& name) {
    ++result.requests;
    return call(name, scenario.latency);
  }
  Awaitable<> snapshotter(const std::string& name, bool provides = false) {
    ++result.snapshotter_calls;
    return call(name, scenario.snapshotter_latency + (provides ? scenario.mount_latency : nanoseconds(0)));
  }

  /// The time at which a core has extracted so many bytes that come now.
  nanoseconds extract(std::uint64_t bytes) {
    auto& core = *std::ranges::min_element(cores, {}, &Server::free);
    return core.serve(clock.now(), bytes);
  }

  const Scenario& scenario;
  const Knobs& knobs;
  SimulatedImage image;
  VirtualClock clock;
  Server link;
  std::vector<Server> cores;
  SimulatedPull result;

 private:
  /// From 0 to 1, by the seed and the name alone, so that a call takes as long whenever it comes.
  double chance(const std::string& name) const {
    std::uint64_t hash = seed_ ^ 0xcbf29ce484222325ULL;
    for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
    return Random(hash).unit();
  }

  std::uint64_t seed_;
  const Latencies& known_;
  std::map<std::string, int> times_called_;
};

/// Bytes that come over the link, at the pace of the connection or connections. Parts come over four
/// connections at once, of which each waits for the latency before every part.
class SimulatedReader : public BlobReader {
 public:
  SimulatedReader(World& world, const Descriptor& blob, std::uint64_t offset)
      : world_(world),
        left_(blob.size - std::min(blob.size, offset)),
        connection_(connection_rate(world, left_)),
        zeros_(piece_bytes) {
    if (const auto text = world.image.texts.find(blob.digest); text != world.image.texts.end()) {
      text_ = text->second.substr(std::min<std::size_t>(text->second.size(), offset));
    }
  }

  Awaitable<std::span<const std::byte>> read() override {
    const auto size = std::min<std::uint64_t>(left_, piece_bytes);
    if (size == 0) co_return std::span<const std::byte>();
    const auto now = world_.clock.now();
    const auto arrival = std::max(world_.link.serve(now, size), connection_.serve(now, size));
    co_await world_.clock.sleep_until(arrival);
    left_ -= size;
    if (!text_.empty()) {
      const auto rest = std::as_bytes(std::span(text_)).last(static_cast<std::size_t>(left_ + size));
      co_return rest.first(static_cast<std::size_t>(size));
    }
    world_.result.bytes += size;
    co_return std::span(zeros_).first(static_cast<std::size_t>(size));
  }

 private:
  /// 0 is no limit. A part of c bytes takes a connection of rate r the latency and c / r.
  static std::uint64_t connection_rate(const World& world, std::uint64_t size) {
    const auto rate = static_cast<double>(world.scenario.connection_bandwidth);
    const auto part = static_cast<double>(world.knobs.chunk_size);
    if (world.knobs.chunk_size == 0 || size <= world.knobs.chunk_size)
      return world.scenario.connection_bandwidth;
    const double parts = std::min<double>(parts_at_once, std::ceil(static_cast<double>(size) / part));
    const double seconds =
        std::chrono::duration<double>(world.scenario.latency).count() + (rate > 0 ? part / rate : 0);
    return seconds > 0 ? static_cast<std::uint64_t>(std::max(1.0, parts * part / seconds)) : 0;
  }

  World& world_;
  std::uint64_t left_;
  Server connection_;
  std::string text_;
  std::vector<std::byte> zeros_;
};

class SimulatedRegistry : public Resolver, public Fetcher {
 public:
  explicit SimulatedRegistry(World& world) : world_(world) {}

  Awaitable<Descriptor> resolve(const Reference& /*reference*/) override {
    co_await world_.registry("HEAD manifest");
    co_return world_.image.manifest;
  }
  Awaitable<std::unique_ptr<BlobReader>> open(const Reference& /*repository*/, const Descriptor& descriptor,
                                              std::uint64_t offset) override {
    const auto name = world_.image.names.find(descriptor.digest);
    if (name == world_.image.names.end()) throw Error(Errc::not_found, descriptor.digest.str());
    co_await world_.registry("GET " + name->second);
    co_return std::make_unique<SimulatedReader>(world_, descriptor, offset);
  }

 private:
  World& world_;
};

/// Everything that a containerd has. Its own calls take no time, those to the snapshotter do.
class SimulatedStores : public LeaseManager,
                        public ContentStore,
                        public Snapshotter,
                        public Applier,
                        public ImageStore {
 public:
  explicit SimulatedStores(World& world) : world_(world) {}

  Awaitable<std::unique_ptr<Lease>> acquire(std::chrono::seconds /*lifetime*/) override {
    co_return std::make_unique<SimulatedLease>(*this);
  }

  Awaitable<std::optional<ContentInfo>> info(const Digest& digest) override {
    const auto found = content_.find(digest);
    if (found == content_.end()) co_return std::nullopt;
    co_return found->second;
  }
  Awaitable<void> update_labels(const Digest& digest, const Labels& labels) override {
    for (const auto& [key, value] : labels) content_[digest].labels[key] = value;
    co_return;
  }
  Awaitable<std::string> read(const Digest& digest, std::uint64_t /*limit*/) override {
    const auto text = world_.image.texts.find(digest);
    if (text == world_.image.texts.end()) throw Error(Errc::not_found, digest.str() + ": no such content");
    co_return text->second;
  }
  Awaitable<std::unique_ptr<BlobReader>> open(const Digest& digest) override {
    throw Error(Errc::not_found, digest.str() + ": no such content");
    co_return nullptr;
  }
  Awaitable<std::unique_ptr<Ingest>> ingest(const std::string& /*ref*/, const Descriptor& blob) override {
    if (content_.contains(blob.digest)) co_return nullptr;
    co_return std::make_unique<SimulatedIngest>(*this, blob);
  }
  Awaitable<void> abort(const std::string& /*ref*/) override { co_return; }

  const std::string& name() const noexcept override { return name_; }
  Awaitable<std::optional<SnapshotInfo>> stat(const std::string& key) override {
    co_await world_.snapshotter("Stat " + name_of(key));
    const auto found = snapshots_.find(key);
    if (found == snapshots_.end()) co_return std::nullopt;
    co_return found->second;
  }
  Awaitable<PrepareOutcome> prepare(const std::string& key, const std::string& parent,
                                    const Labels& labels) override {
    const bool provides = can_provide(key, labels);
    co_await world_.snapshotter("Prepare " + name_of(key), provides);
    const auto chain = chain_of(key);
    PrepareOutcome outcome;
    const bool today = world_.knobs.dialect != LabelDialect::v2019;
    if (today && (snapshots_.contains(chain) || provides)) {
      snapshots_.emplace(chain, SnapshotInfo{chain, parent, SnapshotKind::committed, labels});
      outcome.already_exists = true;
      co_return outcome;
    }
    auto own = labels;
    if (provides) own[std::string(label::remote_2019)] = "yes";
    snapshots_[key] = SnapshotInfo{key, parent, SnapshotKind::active, own};
    outcome.mounts.push_back({"bind", "/simulated", "", {"rw", "rbind"}});
    co_return outcome;
  }
  Awaitable<CommitOutcome> commit(const std::string& name, const std::string& key,
                                  const Labels& /*labels*/) override {
    co_await world_.snapshotter("Commit " + name_of(name));
    if (snapshots_.contains(name)) co_return CommitOutcome::already_exists;
    auto node = snapshots_.extract(key);
    if (node.empty()) throw Error(Errc::not_found, key);
    auto info = std::move(node.mapped());
    info.name = name;
    info.kind = SnapshotKind::committed;
    snapshots_[name] = std::move(info);
    co_return CommitOutcome::committed;
  }
  Awaitable<void> remove(const std::string& key) override {
    co_await world_.snapshotter("Remove " + name_of(key));
    snapshots_.erase(key);
  }

  Awaitable<AppliedLayer> apply(const Descriptor& layer, const std::vector<Mount>& /*mounts*/) override {
    co_await world_.clock.sleep_until(world_.extract(layer.size));
    AppliedLayer applied;
    applied.diff_id = world_.image.diff_ids.at(world_.image.index.at(layer.digest));
    applied.size = layer.size;
    co_return applied;
  }
  Awaitable<std::unique_ptr<LayerUnpack>> start(const Descriptor& layer, UnpackTraits /*traits*/) override {
    co_return std::make_unique<SimulatedUnpack>(world_, layer);
  }

  Awaitable<std::optional<ImageRecord>> get(const std::string& /*name*/) override { co_return std::nullopt; }
  Awaitable<void> put(const ImageRecord& /*image*/) override { co_return; }

 private:
  class SimulatedLease : public Lease {
   public:
    explicit SimulatedLease(SimulatedStores& stores) : stores_(stores) {}
    ContentStore& content() override { return stores_; }
    Snapshotter& snapshotter() override { return stores_; }
    Applier& applier() override { return stores_; }
    ImageStore& images() override { return stores_; }
    Awaitable<void> protect_snapshot(const std::string& /*name*/) override { co_return; }
    Awaitable<void> protect_content(const Digest& /*digest*/) override { co_return; }
    Awaitable<void> release(bool /*synchronous*/) override { co_return; }

   private:
    SimulatedStores& stores_;
  };

  class SimulatedIngest : public Ingest {
   public:
    SimulatedIngest(SimulatedStores& stores, Descriptor blob) : stores_(stores), blob_(std::move(blob)) {}
    std::uint64_t offset() const noexcept override { return 0; }
    Awaitable<void> write(std::span<const std::byte> /*bytes*/) override { co_return; }
    Awaitable<CommitOutcome> commit(const Labels& labels) override {
      stores_.content_[blob_.digest] = {blob_.digest, blob_.size, labels};
      co_return CommitOutcome::committed;
    }

   private:
    SimulatedStores& stores_;
    Descriptor blob_;
  };

  /// Holds the download back by at most one piece.
  class SimulatedUnpack : public LayerUnpack {
   public:
    SimulatedUnpack(World& world, Descriptor layer) : world_(world), layer_(std::move(layer)) {}
    Awaitable<void> write(std::span<const std::byte> bytes) override {
      const auto before = done_;
      done_ = world_.extract(bytes.size());
      co_await world_.clock.sleep_until(before);
    }
    Awaitable<AppliedLayer> finish() override {
      co_await world_.clock.sleep_until(done_);
      AppliedLayer applied;
      applied.diff_id = world_.image.diff_ids.at(world_.image.index.at(layer_.digest));
      applied.size = layer_.size;
      co_return applied;
    }
    Awaitable<bool> place(const std::vector<Mount>& /*mounts*/) override { co_return true; }

   private:
    World& world_;
    Descriptor layer_;
    nanoseconds done_{0};
  };

  static std::string chain_of(const std::string& key) { return key.substr(key.find(' ') + 1); }
  std::string name_of(const std::string& key) const {
    const auto found = world_.image.chain_index.find(chain_of(key));
    return found == world_.image.chain_index.end() ? "scratch" : "layer " + std::to_string(found->second);
  }
  /// Whether it has the layer and understands what it is told.
  bool can_provide(const std::string& key, const Labels& labels) const {
    const auto found = world_.image.chain_index.find(chain_of(key));
    if (found == world_.image.chain_index.end() || !world_.scenario.remote[found->second]) return false;
    switch (world_.scenario.speaks.value_or(LabelDialect::containerd)) {
      case LabelDialect::containerd:
        return labels.contains(std::string(label::snapshot_ref));
      case LabelDialect::cri:
        return labels.contains("containerd.io/snapshot/cri.layer-digest");
      case LabelDialect::stargz:
        return labels.contains("containerd.io/snapshot/remote/stargz.digest");
      case LabelDialect::v2019:
        return labels.contains(std::string(label::remote_2019_digest));
    }
    return false;
  }

  World& world_;
  std::string name_ = "scripted";
  std::map<Digest, ContentInfo> content_;
  std::map<std::string, SnapshotInfo> snapshots_;
};

/// So that no sum of times leaves the bounds of its type.
void check(const Scenario& scenario) {
  if (scenario.layers.empty() || scenario.layers.size() != scenario.remote.size()) {
    throw Error(Errc::invalid_argument, "a simulated image needs layers");
  }
  std::uint64_t left = 1ULL << 40U;
  for (const auto size : scenario.layers) {
    if (size > left) throw Error(Errc::invalid_argument, "a simulated image has at most 1 TiB");
    left -= size;
  }
  for (const auto rate : {scenario.bandwidth, scenario.connection_bandwidth, scenario.unpack_rate}) {
    if (rate != 0 && rate < 1000) {
      throw Error(Errc::invalid_argument,
                  "a simulated rate is at least 1000 bytes a second, or 0 for no limit");
    }
  }
  for (const auto latency : {scenario.latency, scenario.snapshotter_latency, scenario.mount_latency}) {
    if (latency < nanoseconds(0) || latency > std::chrono::hours(1)) {
      throw Error(Errc::invalid_argument, "a simulated latency is at most an hour");
    }
  }
}

PullOptions options_of(const Knobs& knobs) {
  PullOptions options;
  options.dialects = {LabelDialect::containerd, knobs.dialect};
  if (knobs.dialect == LabelDialect::v2019) {
    options.dialects = {LabelDialect::v2019};
    options.protocol = RemoteProtocol::v2019;
  }
  options.fetch_policy = knobs.policy;
  options.max_concurrent_downloads = knobs.fetch_limit;
  return options;
}

}  // namespace

SimulatedPull simulate_pull(const Scenario& scenario, const Knobs& knobs, std::uint64_t seed,
                            const Latencies& recorded) {
  check(scenario);
  World world(scenario, knobs, seed, recorded);
  SimulatedRegistry registry(world);
  SimulatedStores stores(world);
  PullLimits limits;
  limits.downloads.total = knobs.fetch_limit;
  limits.unpacks = knobs.unpack_limit;
  PullShared shared(limits);
  PullReport report;
  const PullPorts ports{registry, registry, stores};
  const auto reference = Reference::parse("registry.example.com/simulated:1");
  world.result.duration =
      world.clock.run(pull_image(ports, reference, options_of(knobs), report, shared, PullRank()));
  return std::move(world.result);
}

}  // namespace lazypull::experiment
