#include "tools/experiment/matrix.hpp"

#include "engine/error.hpp"
#include "tools/experiment/random.hpp"

#include <algorithm>

namespace lazypull::experiment {
namespace {

bool matches(const Exclusion& exclusion, const Coordinates& at) {
  const auto fits = [](const std::string& wanted, const std::string& value) {
    return wanted.empty() || wanted == value;
  };
  return fits(exclusion.image, at.image) && fits(exclusion.puller, at.puller) &&
         fits(exclusion.snapshotter, at.snapshotter) && fits(exclusion.unpack, at.unpack) &&
         fits(exclusion.network, at.network) && fits(exclusion.cache, at.cache);
}

struct Way {
  std::string puller;
  std::string snapshotter;
  std::string unpack;
};

std::vector<Way> ways_to_pull(const Spec& spec) {
  std::vector<Way> ways;
  for (const auto puller : spec.pullers) {
    const auto unpacks = puller == Puller::lazypull ? spec.unpack : std::vector{Unpack::none};
    for (const auto snapshotter : spec.snapshotters) {
      for (const auto unpack : unpacks) {
        if (!is_possible(puller, snapshotter, unpack)) continue;
        ways.push_back({std::string(to_string(puller)), std::string(to_string(snapshotter)),
                        std::string(to_string(unpack))});
      }
    }
  }
  return ways;
}

std::vector<Coordinates> configurations(const Spec& spec) {
  std::vector<Coordinates> all;
  const auto ways = ways_to_pull(spec);
  for (const auto& image : spec.images) {
    for (const auto& network : spec.networks) {
      for (const auto cache : spec.caches) {
        for (const auto& way : ways) {
          Coordinates at{image.name, way.puller,   way.snapshotter,
                         way.unpack, network.name, std::string(to_string(cache)),
                         0};
          const bool excluded = std::ranges::any_of(
              spec.exclude, [&](const Exclusion& exclusion) { return matches(exclusion, at); });
          if (!excluded) all.push_back(std::move(at));
        }
      }
    }
  }
  return all;
}

}  // namespace

std::string Coordinates::configuration() const {
  return image + "/" + puller + "/" + snapshotter + "/" + unpack + "/" + network + "/" + cache;
}

std::string Coordinates::id() const {
  return configuration() + "#" + std::to_string(repetition);
}

bool is_possible(Puller puller, SnapshotterKind snapshotter, Unpack unpack) noexcept {
  const bool own = snapshotter == SnapshotterKind::overlayfs || snapshotter == SnapshotterKind::native;
  switch (puller) {
    case Puller::ctr:
      return own && unpack == Unpack::none;
    case Puller::ctr_remote:
      return snapshotter == SnapshotterKind::stargz && unpack == Unpack::none;
    case Puller::lazypull:
      break;
  }
  if (unpack == Unpack::none) return false;
  if (unpack != Unpack::direct) return true;
  return snapshotter == SnapshotterKind::overlayfs || snapshotter == SnapshotterKind::lazypull;
}

std::vector<Coordinates> plan_runs(const Spec& spec) {
  const auto all = configurations(spec);
  if (all.empty()) throw Error(Errc::invalid_argument, "experiment " + spec.name + ": the matrix is empty");
  if (all.size() > SpecLimits::runs / spec.repetitions) {
    throw Error(Errc::invalid_argument,
                "experiment " + spec.name + ": more than " + std::to_string(SpecLimits::runs) + " runs");
  }
  Random random(spec.seed);
  std::vector<Coordinates> runs;
  runs.reserve(all.size() * spec.repetitions);
  for (std::size_t repetition = 0; repetition < spec.repetitions; ++repetition) {
    auto round = all;
    for (std::size_t i = round.size(); i > 1; --i) std::swap(round[i - 1], round[random.below(i)]);
    for (auto& at : round) {
      at.repetition = repetition;
      runs.push_back(std::move(at));
    }
  }
  return runs;
}

}  // namespace lazypull::experiment
