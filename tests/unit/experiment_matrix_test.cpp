// Which runs an experiment consists of, and in which order.

#include "engine/error.hpp"
#include "tools/experiment/matrix.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

namespace lazypull::experiment {
namespace {

Spec everything() {
  Spec spec;
  spec.name = "all";
  spec.repetitions = 4;
  spec.images.resize(2);
  spec.images[0].name = "a";
  spec.images[1].name = "b";
  spec.pullers = {Puller::lazypull, Puller::ctr, Puller::ctr_remote};
  spec.snapshotters = {SnapshotterKind::overlayfs, SnapshotterKind::native, SnapshotterKind::stargz,
                       SnapshotterKind::lazypull};
  spec.unpack = {Unpack::automatic, Unpack::direct, Unpack::diff_service};
  spec.networks = {{"near", {}}, {"far", {}}};
  spec.caches = {CacheState::cold, CacheState::all_warm};
  return spec;
}

std::vector<std::string> ids(const std::vector<Coordinates>& runs) {
  std::vector<std::string> all;
  for (const auto& run : runs) all.push_back(run.id());
  return all;
}

TEST(ExperimentMatrix, HasEveryPossibleCombinationInEveryRepetitionOnce) {
  const auto runs = plan_runs(everything());
  // lazypull: overlayfs 3, native 2, stargz 2, lazypull 3; ctr: 2; ctr-remote: 1.
  EXPECT_EQ(runs.size(), 13U * 2 * 2 * 2 * 4);
  const auto all = ids(runs);
  EXPECT_EQ(std::set(all.begin(), all.end()).size(), all.size());
}

TEST(ExperimentMatrix, LeavesOutWhatAPullerCannotDo) {
  for (const auto& run : plan_runs(everything())) {
    if (run.puller == "ctr") {
      EXPECT_TRUE(run.snapshotter == "overlayfs" || run.snapshotter == "native") << run.id();
      EXPECT_EQ(run.unpack, "-");
    } else if (run.puller == "ctr-remote") {
      EXPECT_EQ(run.snapshotter, "stargz");
    } else {
      EXPECT_NE(run.unpack, "-");
      if (run.unpack == "direct") {
        EXPECT_TRUE(run.snapshotter == "overlayfs" || run.snapshotter == "lazypull") << run.id();
      }
    }
  }
}

TEST(ExperimentMatrix, EveryConfigurationComesOnceBeforeAnyComesAgain) {
  const auto runs = plan_runs(everything());
  const auto round = runs.size() / 4;
  for (std::size_t i = 0; i < runs.size(); ++i) EXPECT_EQ(runs[i].repetition, i / round);
}

TEST(ExperimentMatrix, TheOrderIsThatOfTheSeed) {
  auto spec = everything();
  const auto first = ids(plan_runs(spec));
  EXPECT_EQ(ids(plan_runs(spec)), first);
  spec.seed = 2;
  const auto other = ids(plan_runs(spec));
  EXPECT_NE(other, first);
  EXPECT_THAT(other, testing::UnorderedElementsAreArray(first));
}

TEST(ExperimentMatrix, EachRoundHasAnotherOrder) {
  const auto runs = plan_runs(everything());
  const auto round = runs.size() / 4;
  std::set<std::vector<std::string>> orders;
  for (std::size_t start = 0; start < runs.size(); start += round) {
    std::vector<std::string> order;
    for (std::size_t i = start; i < start + round; ++i) order.push_back(runs[i].configuration());
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 4U);
}

TEST(ExperimentMatrix, NoConfigurationIsAlwaysAmongTheFirst) {
  auto spec = everything();
  spec.repetitions = 40;
  const auto runs = plan_runs(spec);
  const auto round = runs.size() / 40;
  std::map<std::string, int> in_first_half;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    in_first_half[runs[i].configuration()] += i % round < round / 2 ? 1 : 0;
  }
  for (const auto& [name, count] : in_first_half) {
    EXPECT_GT(count, 5) << name;
    EXPECT_LT(count, 35) << name;
  }
}

TEST(ExperimentMatrix, AnExclusionTakesOutAllThatItFits) {
  auto spec = everything();
  spec.exclude.resize(1);
  spec.exclude[0].puller = "ctr";
  spec.exclude[0].network = "far";
  const auto runs = plan_runs(spec);
  const auto fits = [](const Coordinates& run) { return run.puller == "ctr" && run.network == "far"; };
  EXPECT_TRUE(std::ranges::none_of(runs, fits));
  EXPECT_EQ(runs.size(), (13U * 2 * 2 * 2 - 2 * 2 * 2) * 4);
}

TEST(ExperimentMatrix, WithNothingToRunItIsRefused) {
  auto spec = everything();
  spec.pullers = {Puller::ctr_remote};
  spec.snapshotters = {SnapshotterKind::native};
  EXPECT_THROW(plan_runs(spec), Error);
}

TEST(ExperimentMatrix, WithTooManyRunsItIsRefused) {
  auto spec = everything();
  spec.repetitions = 1000;
  EXPECT_THROW(plan_runs(spec), Error);
}

}  // namespace
}  // namespace lazypull::experiment
