#pragma once

#include "engine/prewarm.hpp"
#include "engine/pull_shared.hpp"
#include "engine/task_group.hpp"
#include "tests/support/virtual_time.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace lazypull::test {

/// What a model's registry needs for a download.
struct ModelNetwork {
  VirtualTime::Duration latency{20'000};
  std::uint64_t bytes_a_second = 50'000'000;  ///< of one download
};

struct ModelLayer {
  Digest digest;
  std::uint64_t bytes = 0;
};

/// Images of ten layers: four of a base, three of a runtime, three of their own. There are
/// eight bases and forty runtimes, which they have in turn.
class ModelFleet {
 public:
  static constexpr std::size_t layers_of_an_image = 10;

  /// The registries have the same number of images each, one registry's after the other's. `apart`: images of
  /// different registries have no layer in common.
  ModelFleet(std::size_t images, std::size_t registries, bool apart = false)
      : count_(images), registries_(registries), apart_(apart) {}

  std::size_t size() const noexcept { return count_; }
  std::string registry(std::size_t image) const {
    return "r" + std::to_string(image * registries_ / count_) + ".example.com";
  }
  std::vector<PrewarmItem> items() const {
    std::vector<PrewarmItem> items;
    items.reserve(count_);
    for (std::size_t i = 0; i < count_; ++i) {
      items.push_back({Reference::parse(registry(i) + "/app" + std::to_string(i) + ":1"), {}, 0});
    }
    return items;
  }
  /// The lowest first.
  std::vector<ModelLayer> layers(std::size_t image) const {
    std::vector<ModelLayer> layers;
    const std::size_t world = apart_ ? image * registries_ / count_ : 0;
    for (std::size_t i = 0; i < layers_of_an_image; ++i) {
      const std::size_t kind = i < 4 ? 0 : (i < 7 ? 1 : 2);
      const std::size_t owner = kind == 0 ? image % 8 : (kind == 1 ? image % 40 : image);
      layers.push_back(layer(((3 * world + kind) * count_ + owner) * layers_of_an_image + i));
    }
    return layers;
  }
  /// Unless they are apart.
  std::size_t distinct_layers() const {
    return 4 * std::min<std::size_t>(8, count_) + 3 * std::min<std::size_t>(40, count_) + 3 * count_;
  }
  static std::size_t index_of(const Reference& reference) {
    return std::stoul(reference.repository().substr(3));
  }

 private:
  static ModelLayer layer(std::size_t number) {
    std::string hex = std::to_string(number);
    hex.insert(0, 64 - hex.size(), '0');
    return {Digest::parse("sha256:" + hex), 100'000 + (number * 2'654'435'761U) % 8'000'000U};
  }

  std::size_t count_;
  std::size_t registries_;
  bool apart_;
};

/// Pulls the images of a fleet through what real pulls go through, but for what takes real time: who fetches
/// which blob and makes which ChainID, and the gates of downloads and unpacks. Notes what must hold.
class SchedulerModel {
 public:
  SchedulerModel(VirtualTime& time, PullShared& shared, const ModelFleet& fleet)
      : time_(time), shared_(shared), fleet_(fleet) {
    for (std::size_t i = 0; i < fleet.size(); ++i) ++images_of_[fleet.registry(i)];
  }

  std::map<std::string, ModelNetwork> networks;  ///< of registries that are unlike the others

  // What has been seen.
  std::size_t fetches = 0;
  std::size_t unpacks = 0;
  std::size_t most_downloads = 0;
  std::size_t most_of_a_registry = 0;
  std::uint64_t most_bytes = 0;  ///< where more than one was under way
  std::size_t most_unpacks = 0;
  std::size_t most_waiting = 0;
  std::map<std::string, std::size_t> ended;                        ///< images of each registry
  std::map<std::string, VirtualTime::Duration> last_end;           ///< of each registry
  std::vector<std::map<std::string, std::size_t>> at_end_of_each;  ///< `ended`, whenever a registry was done

  /// Lives no longer than this.
  PullOne pull() {
    return
        [this](const PrewarmItem& item, PullRank rank, PullReport& /*report*/) { return pull(item, rank); };
  }

  Awaitable<> pull(const PrewarmItem& item, PullRank rank) {
    const auto layers = fleet_.layers(ModelFleet::index_of(item.reference));
    const std::string registry = item.reference.domain();
    co_await with_task_group([&](TaskGroup& group) -> Awaitable<> {
      for (const auto& layer : layers) group.spawn(fetch(layer, registry, rank));
      co_return;
    });
    for (const auto& layer : layers) co_await make(layer, registry, rank);
    note_end(registry);
  }

 private:
  Awaitable<> fetch(const ModelLayer& layer, const std::string& registry, PullRank rank) {
    if (stored_.contains(layer.digest)) co_return;
    BlobWish wish(shared_, layer.digest, rank);
    co_await shared_.fetch_once(wish, registry, [&] { return download(layer, registry, wish); });
  }

  Awaitable<> download(const ModelLayer& layer, const std::string& registry, BlobWish& wish) {
    if (stored_.contains(layer.digest)) co_return;
    auto permit = wish.join_downloads(registry, layer.bytes);
    co_await permit.granted();
    note_limits(registry);
    const auto found = networks.find(registry);
    const ModelNetwork network = found == networks.end() ? ModelNetwork() : found->second;
    co_await time_.sleep(network.latency);
    // A border of the work for each mebibyte.
    for (std::uint64_t done = 0; done < layer.bytes; done += 1U << 20U) {
      if (permit.give_way()) co_await permit.granted();
      const auto piece = std::min<std::uint64_t>(1U << 20U, layer.bytes - done);
      co_await time_.sleep(VirtualTime::Duration(piece * 1'000'000 / network.bytes_a_second));
    }
    ++fetches;
    stored_.insert(layer.digest);
  }

  Awaitable<> make(const ModelLayer& layer, const std::string& registry, PullRank rank) {
    // Each layer of the fleet lies upon one other only, so that its digest tells the chain too.
    const std::string chain = layer.digest.str();
    if (made_.contains(chain)) co_return;
    const auto executor = co_await asio::this_coro::executor;
    const auto answer = shared_.chains().take(chain, registry, executor);
    if (!answer.mine) {
      co_await answer.claim->settled.wait();
      co_return;
    }
    BlobWish wish(shared_, layer.digest, rank);
    auto permit = wish.join_unpacks();
    co_await permit.granted();
    most_unpacks = std::max(most_unpacks, shared_.unpacks().queue().in_use());
    co_await time_.sleep(VirtualTime::Duration(layer.bytes / 100));
    ++unpacks;
    made_.insert(chain);
    shared_.chains().settle(chain, true, {});
  }

  void note_limits(const std::string& registry) {
    const auto& queue = shared_.downloads().queue();
    most_downloads = std::max(most_downloads, queue.in_use());
    most_of_a_registry = std::max(most_of_a_registry, queue.in_use(registry));
    if (queue.in_use() > 1) most_bytes = std::max(most_bytes, queue.bytes_in_use());
    most_waiting = std::max(most_waiting, queue.waiting());
  }

  void note_end(const std::string& registry) {
    last_end[registry] = time_.now();
    if (++ended[registry] == images_of_[registry]) at_end_of_each.push_back(ended);
  }

  VirtualTime& time_;
  PullShared& shared_;
  const ModelFleet& fleet_;
  std::unordered_set<std::string> made_;
  std::set<Digest> stored_;
  std::map<std::string, std::size_t> images_of_;  ///< of each registry, in all
};

}  // namespace lazypull::test
