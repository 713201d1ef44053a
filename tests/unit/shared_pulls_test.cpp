// Pulls that run beside each other and share what they have in common.

#include "engine/bandwidth.hpp"
#include "engine/error.hpp"
#include "engine/event.hpp"
#include "engine/labels.hpp"
#include "engine/puller.hpp"
#include "engine/task_group.hpp"
#include "tests/support/coroutine.hpp"
#include "tests/support/fake_ports.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace lazypull {
namespace {

using test::FakeImage;
using test::FakeLayer;
using test::FakeRegistry;
using test::FakeStores;
using test::make_image;
using test::run;
using test::step;
using testing::HasSubstr;

constexpr PullRank serving{PullClass::serving, 0};
constexpr PullRank prewarm{PullClass::prewarm, 0};

class SharedPulls : public ::testing::Test {
 protected:
  SharedPulls() {
    options.local_snapshotter = true;
    limits.downloads.total = 4;
  }

  struct Wanted {
    Reference reference;
    PullReport report = {};
    std::optional<Error> failure = {};
    PullRank rank = prewarm;
    int delay = 0;  ///< steps before it begins
    bool ended = false;
  };

  Wanted& want(const std::string& name, const FakeImage& image) {
    wanted.push_back({Reference::parse(name)});
    registry.tag(wanted.back().reference, image.manifest);
    return wanted.back();
  }

  Awaitable<> one(Wanted& one, PullShared& shared) {
    co_await step(one.delay);
    std::exception_ptr failure;
    try {
      co_await pull_image({registry, registry, stores}, one.reference, options, one.report, shared, one.rank);
    } catch (...) {
      failure = std::current_exception();
    }
    one.ended = true;
    if (!failure) co_return;
    one.failure = as_error(failure);
    if (one.failure->code() == Errc::cancelled) throw *one.failure;
  }

  void pull_all() {
    PullShared shared(limits);
    run(with_task_group([&](TaskGroup& group) -> Awaitable<> {
      for (auto& image : wanted) group.spawn(one(image, shared));
      co_return;
    }));
    EXPECT_EQ(shared.chains().open(), 0U);
    EXPECT_EQ(shared.downloads().queue().in_use(), 0U);
    EXPECT_EQ(shared.downloads().queue().waiting(), 0U);
    EXPECT_EQ(shared.unpacks().queue().in_use(), 0U);
    EXPECT_EQ(stores.leases, 0);
    EXPECT_EQ(stores.active_snapshots(), 0U);
  }

  void expect_all_ready() {
    for (const auto& image : wanted) {
      EXPECT_FALSE(image.failure) << image.failure->message();
      EXPECT_TRUE(stores.images.contains(image.reference.name())) << image.reference.name();
    }
  }

  void expect_each_blob_once() {
    std::set<Digest> unique;
    for (const auto& [digest, offset] : registry.opened)
      EXPECT_TRUE(unique.insert(digest).second) << digest.str();
  }

  std::ptrdiff_t position(const std::string& call) const {
    return std::ranges::find(stores.calls, call) - stores.calls.begin();
  }

  FakeRegistry registry;
  FakeStores stores;
  PullOptions options;
  PullLimits limits;
  std::deque<Wanted> wanted;
};

std::vector<FakeLayer> layers_on_base(const std::string& name) {
  return {{"base 0", {}}, {"base 1", {}}, {"base 2", {}}, {name + " 3", {}}, {name + " 4", {}}};
}

TEST_F(SharedPulls, SharedBasesAreFetchedAndUnpackedOnceHoweverTheyInterleave) {
  for (const bool streams : {false, true}) {
    for (int delay = 0; delay < 60; delay += 3) {
      registry = {};
      stores = {};
      stores.streams = streams;
      wanted.clear();
      std::set<std::string> chains;
      std::set<Digest> blobs;
      for (int i = 0; i < 6; ++i) {
        const auto image = make_image(registry, stores, layers_on_base("app " + std::to_string(i / 2)));
        auto& one = want("registry.example.com/app" + std::to_string(i) + ":1", image);
        one.delay = delay * i;
        chains.insert(image.chain_ids.begin(), image.chain_ids.end());
      }
      pull_all();
      expect_all_ready();
      expect_each_blob_once();
      ASSERT_EQ(stores.count(streams ? "extracted " : "apply "), chains.size()) << "delay " << delay;
      ASSERT_EQ(stores.snapshots.size(), chains.size());
      ASSERT_EQ(stores.count(streams ? "place " : "apply "), chains.size());
    }
  }
}

TEST_F(SharedPulls, TheSameImageUnderTwoNamesIsPulledOnceAndRecordedTwice) {
  const auto image = make_image(registry, stores, layers_on_base("app"));
  auto& first = want("registry.example.com/app:1", image);
  auto& second = want("registry.example.com/other:1", image);
  pull_all();
  expect_all_ready();
  expect_each_blob_once();
  EXPECT_EQ(first.report.fetched_bytes() + second.report.fetched_bytes(), 3 * 6 + 2 * 5U);
  EXPECT_EQ(stores.count("commit sha256:"), 5U);
}

TEST_F(SharedPulls, ABlobSaysOfEachRepositoryThatItComesFromThere) {
  const auto image = make_image(registry, stores, layers_on_base("app"));
  want("registry.example.com/app:1", image);
  want("registry.example.com/other:1", image);
  want("registry.example.com/third:1", image);
  pull_all();
  for (const auto& layer : image.layers) {
    EXPECT_EQ(
        stores.content.at(layer.digest).labels.at("containerd.io/distribution.source.registry.example.com"),
        "app,other,third");
  }
}

TEST_F(SharedPulls, WhatAnotherHasMadeIsProtectedBeforeItIsReliedOn) {
  const auto base = make_image(registry, stores, {{"base 0", {}}, {"base 1", {}}});
  const auto derived = make_image(registry, stores, {{"base 0", {}}, {"base 1", {}}, {"own", {}}});
  want("registry.example.com/base:1", base);
  want("registry.example.com/derived:1", derived).delay = 8;
  pull_all();
  expect_all_ready();
  ASSERT_EQ(stores.count("prepare " + derived.chain_ids[1]), 1U) << "the second one waited for it";
  EXPECT_LT(position("protect " + derived.chain_ids[1]), position("prepare " + derived.chain_ids[2]));
}

TEST_F(SharedPulls, WhatGoesBeforeItIsProtectedIsMadeAgain) {
  const auto base = make_image(registry, stores, {{"base 0", {}}, {"base 1", {}}});
  const auto derived = make_image(registry, stores, {{"base 0", {}}, {"base 1", {}}, {"own", {}}});
  want("registry.example.com/base:1", base);
  want("registry.example.com/derived:1", derived).delay = 8;
  bool collected = false;
  // The first pull has ended, and somebody has removed its image, just before the second one's lease comes.
  stores.before_call = [&](std::string call) -> Awaitable<> {
    if (call != "protect " + base.chain_ids[1] || collected || !stores.snapshots.contains(base.chain_ids[1]))
      co_return;
    collected = true;
    stores.snapshots.erase(base.chain_ids[1]);
    stores.content.erase(base.layers[1].digest);
  };
  pull_all();
  EXPECT_TRUE(collected);
  expect_all_ready();
  EXPECT_EQ(stores.count("apply " + base.layers[1].digest.str()), 2U);
  EXPECT_EQ(stores.count("apply " + base.layers[0].digest.str()), 1U);
  EXPECT_EQ(stores.snapshots.size(), 3U);
}

TEST_F(SharedPulls, AnotherTakesOverFromACancelledLeader) {
  for (int steps = 0; steps < 120; steps += 2) {
    registry = {};
    stores = {};
    stores.streams = steps % 4 == 0;
    wanted.clear();
    const auto image = make_image(registry, stores, layers_on_base("app"));
    auto& leader = want("registry.example.com/leader:1", image);
    want("registry.example.com/second:1", image).delay = 2;
    want("registry.example.com/third:1", image).delay = 4;
    PullShared shared(limits);
    run(with_task_group([&](TaskGroup& group) -> Awaitable<> {
      auto handle = group.spawn(one(leader, shared));
      group.spawn(one(wanted[1], shared));
      group.spawn(one(wanted[2], shared));
      co_await step(steps);
      if (!leader.ended) handle.drop();
    }));
    for (std::size_t i = 1; i < 3; ++i) {
      ASSERT_FALSE(wanted[i].failure) << wanted[i].failure->message() << " after " << steps;
      ASSERT_TRUE(stores.images.contains(wanted[i].reference.name())) << steps;
    }
    ASSERT_EQ(shared.chains().open(), 0U);
    ASSERT_EQ(stores.leases, 0);
    ASSERT_EQ(stores.active_snapshots(), 0U) << steps;
    ASSERT_EQ(stores.snapshots.size(), 5U);
  }
}

TEST_F(SharedPulls, AFailureOfTheSharedLayerIsEachImagesOwn) {
  const auto a = make_image(registry, stores, layers_on_base("a"));
  const auto b = make_image(registry, stores, layers_on_base("b"));
  const auto other = make_image(registry, stores, {{"unrelated", {}}});
  registry.refuse.emplace(a.layers[1].digest, Error(Errc::not_found, "GET …: 404 Not Found"));
  auto& first = want("registry.example.com/a:1", a);
  auto& second = want("registry.example.com/b:1", b);
  auto& third = want("registry.example.com/c:1", other);
  pull_all();
  for (const auto* one : {&first, &second}) {
    ASSERT_TRUE(one->failure);
    EXPECT_EQ(one->failure->code(), Errc::not_found);
    EXPECT_THAT(one->failure->message(), HasSubstr("pull " + one->reference.name()));
    EXPECT_THAT(one->failure->message(), HasSubstr(a.layers[1].digest.str()));
  }
  EXPECT_FALSE(third.failure);
}

TEST_F(SharedPulls, WhatOneRepositoryRefusesAnotherMayServe) {
  const auto image = make_image(registry, stores, layers_on_base("app"));
  auto& first = want("registry.example.com/private:1", image);
  auto& second = want("registry.example.com/public:1", image);
  // The first request for the layer is that of the first image.
  bool refused = false;
  registry.before_body = [&](Digest digest) -> Awaitable<> {
    if (digest != image.layers[0].digest || refused) co_return;
    refused = true;
    co_await step(40);  // so that the other one waits for it
    throw Error(Errc::forbidden, "GET …: 403 Forbidden");
  };
  pull_all();
  EXPECT_NE(first.failure.has_value(), second.failure.has_value());
  EXPECT_EQ(registry.times_opened(image.layers[0].digest), 2U);
}

TEST_F(SharedPulls, DownloadsOfAllPullsTogetherKeepTheLimits) {
  for (int i = 0; i < 10; ++i) {
    const auto image = make_image(registry, stores, layers_on_base("app " + std::to_string(i)));
    want((i % 2 == 0 ? "a.example.com/app" : "b.example.com/app") + std::to_string(i) + ":1", image);
  }
  limits.downloads = {3, 2, 0};
  limits.unpacks = 1;
  pull_all();
  expect_all_ready();
  EXPECT_LE(registry.most_reading, 3U);
}

TEST_F(SharedPulls, APullThatServesInterruptsAPrewarmAtTheNextPiece) {
  const auto slow = make_image(registry, stores, {{std::string(700, 's'), {}}});
  const auto urgent = make_image(registry, stores, {{"urgent", {}}});
  want("registry.example.com/slow:1", slow);
  auto& pod = want("registry.example.com/urgent:1", urgent);
  pod.rank = serving;
  limits.downloads.total = 1;
  std::uint64_t slow_had = 0;
  // The pod comes once the prewarm is in the middle of its layer.
  PullShared shared(limits);
  run(with_task_group([&](TaskGroup& group) -> Awaitable<> {
    group.spawn(one(wanted[0], shared));
    while (wanted[0].report.fetched_bytes() < 70) co_await step();
    co_await one(pod, shared);
    slow_had = wanted[0].report.fetched_bytes();
    EXPECT_FALSE(wanted[0].ended);
  }));
  expect_all_ready();
  EXPECT_LT(slow_had, 700U);
  EXPECT_EQ(registry.times_opened(slow.layers[0].digest), 1U) << "it went on where it was";
}

TEST_F(SharedPulls, APullThatServesMakesThePrewarmUrgentThatFetchesItsLayer) {
  const auto common = make_image(registry, stores, {{std::string(350, 'c'), {}}});
  const auto other = make_image(registry, stores, {{std::string(350, 'o'), {}}});
  want("registry.example.com/warm:1", common);
  want("registry.example.com/pod:1", common);
  want("registry.example.com/later:1", other);
  limits.downloads.total = 1;
  PullShared shared(limits);
  run(with_task_group([&](TaskGroup& group) -> Awaitable<> {
    group.spawn(one(wanted[0], shared));
    while (wanted[0].report.fetched_bytes() < 70) co_await step();
    wanted[1].rank = serving;
    wanted[2].rank = serving;
    group.spawn(one(wanted[1], shared));
    co_await step(60);
    group.spawn(one(wanted[2], shared));
  }));
  expect_all_ready();
  expect_each_blob_once();
}

TEST_F(SharedPulls, AnotherProcesssSnapshotIsWaitedForInsteadOfBeingMadeAgain) {
  const auto image = make_image(registry, stores, {{"one", {}}, {"two", {}}});
  want("registry.example.com/app:1", image);
  const auto ref = "layer-" + image.layers[0].digest.str();
  stores.lock_once.insert(ref);
  int asked = 0;
  stores.before_call = [&](std::string call) -> Awaitable<> {
    // Another process has it, and ends while this one waits.
    if (call == "ingest " + ref) stores.content[image.layers[0].digest] = {"one", {}};
    if (call == "stat " + image.chain_ids[0] && stores.count("ingest " + ref) == 2 && ++asked == 2) {
      stores.snapshots[image.chain_ids[0]] = {image.chain_ids[0], "", SnapshotKind::committed, {}};
    }
    co_return;
  };
  pull_all();
  expect_all_ready();
  EXPECT_EQ(registry.times_opened(image.layers[0].digest), 0U);
  EXPECT_EQ(stores.count("apply " + image.layers[0].digest.str()), 0U);
  EXPECT_EQ(wanted[0].report.images[0].layers[0].decision, LayerDecision::exists);
  EXPECT_GT(stores.count("protect " + image.chain_ids[0]), 0U);
}

TEST_F(SharedPulls, ALayerThatTheOtherProcessDoesNotUnpackIsUnpackedHere) {
  const auto image = make_image(registry, stores, {{"one", {}}, {"two", {}}});
  want("registry.example.com/app:1", image);
  const auto ref = "layer-" + image.layers[0].digest.str();
  stores.lock_once.insert(ref);
  stores.before_call = [&](std::string call) -> Awaitable<> {
    if (call == "ingest " + ref) stores.content[image.layers[0].digest] = {"one", {}};
    co_return;
  };
  pull_all();
  expect_all_ready();
  EXPECT_EQ(stores.count("apply " + image.layers[0].digest.str()), 1U);
}

TEST(Bandwidth, ARateCanBeChangedForThoseWhoWaitAlready) {
  Bandwidth bandwidth;
  EXPECT_FALSE(bandwidth.limited(PullClass::prewarm));
  run(bandwidth.pay(PullClass::prewarm, 1U << 30U));
  bandwidth.set_rate(PullClass::prewarm, 10);
  run(with_task_group([&](TaskGroup& group) -> Awaitable<> {
    // At ten bytes a second this would take three years.
    group.spawn(bandwidth.pay(PullClass::prewarm, 1U << 30U));
    co_await bandwidth.pay(PullClass::serving, 1U << 30U);
    co_await step(3);
    bandwidth.set_rate(PullClass::prewarm, 0);
  }));
  EXPECT_EQ(bandwidth.rate(PullClass::prewarm), 0U);
}

}  // namespace
}  // namespace lazypull
