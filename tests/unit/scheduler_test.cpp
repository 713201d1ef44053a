// The scheduler of prewarm runs alone: many images under limits, with fakes for all that takes time, and
// virtual time.

#include "tests/support/scheduler_model.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lazypull::test {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;
using testing::SizeIs;

constexpr std::size_t images_at_once = 8;

PullLimits limits() {
  PullLimits limits;
  limits.downloads = {8, 4, 24U << 20U};
  limits.unpacks = 4;
  return limits;
}

/// A run of all images of a fleet.
struct Trial {
  explicit Trial(std::size_t images, bool apart = false)
      : fleet(images, 4, apart), shared(limits()), model(time, shared, fleet), report(fleet.items()) {}

  Awaitable<> prewarm() {
    PrewarmOptions options;
    options.max_concurrent_images = images_at_once;
    return prewarm_images(options, model.pull(), report);
  }
  void to_end() { time.run(prewarm()); }

  VirtualTime time;
  ModelFleet fleet;
  PullShared shared;
  SchedulerModel model;
  PrewarmReport report;
};

TEST(Scheduler, FetchesEachBlobAndMakesEachChainIdOnce) {
  Trial run(400);
  run.to_end();
  EXPECT_EQ(run.report.ready, 400U);
  EXPECT_EQ(run.model.fetches, run.fleet.distinct_layers());
  EXPECT_EQ(run.model.unpacks, run.fleet.distinct_layers());
}

TEST(Scheduler, ReachesItsLimitsAndNeverExceedsThem) {
  Trial run(400);
  run.to_end();
  EXPECT_EQ(run.model.most_downloads, limits().downloads.total);
  EXPECT_EQ(run.model.most_of_a_registry, limits().downloads.per_registry);
  EXPECT_LE(run.model.most_bytes, limits().downloads.bytes);
  EXPECT_GT(run.model.most_bytes, limits().downloads.bytes / 2);
  EXPECT_EQ(run.model.most_unpacks, limits().unpacks);
}

TEST(Scheduler, LeavesNothingBehind) {
  Trial run(100);
  run.to_end();
  for (auto* gate : {&run.shared.downloads(), &run.shared.unpacks()}) {
    EXPECT_EQ(gate->queue().in_use(), 0U);
    EXPECT_EQ(gate->queue().waiting(), 0U);
    EXPECT_EQ(gate->queue().bytes_in_use(), 0U);
  }
  EXPECT_EQ(run.shared.chains().open(), 0U);
}

TEST(Scheduler, DoesAsMuchForAnImageHoweverManyThereAre) {
  std::vector<double> steps;
  for (const std::size_t images : {1000U, 2000U, 4000U}) {
    Trial run(images);
    run.to_end();
    steps.push_back(static_cast<double>(run.time.steps()) / static_cast<double>(images));
    // What waits belongs to the images in progress.
    EXPECT_LE(run.model.most_waiting, images_at_once * ModelFleet::layers_of_an_image);
  }
  EXPECT_NEAR(steps[1] / steps[0], 1, 0.05);
  EXPECT_NEAR(steps[2] / steps[0], 1, 0.05);
}

TEST(Scheduler, IsFairToRegistriesThoughTheListIsSortedByThem) {
  Trial run(800);
  run.to_end();
  ASSERT_THAT(run.model.at_end_of_each, SizeIs(4));
  const auto& when_the_first_was_done = run.model.at_end_of_each.front();
  for (const auto& [registry, count] : when_the_first_was_done) EXPECT_GE(count, 180U) << registry;
}

TEST(Scheduler, ARegistryThatIsSlowDoesNotStopTheOthers) {
  Trial alone(400, true);
  Trial run(400, true);
  // What is in flight is in flight long with such a registry, whatever the order.
  for (auto* each : {&alone, &run}) each->shared.downloads().set_limits({8, 4, 0});
  alone.to_end();
  run.model.networks["r0.example.com"] = {seconds(2), 100'000};
  run.to_end();
  EXPECT_EQ(run.report.ready, 400U);
  const auto slow = run.model.last_end.at("r0.example.com");
  for (const auto* fast : {"r1.example.com", "r2.example.com", "r3.example.com"}) {
    EXPECT_LT(run.model.last_end.at(fast), slow / 4) << fast;
    EXPECT_LT(run.model.last_end.at(fast), 4 * alone.model.last_end.at(fast)) << fast;
  }
}

/// A run beside pulls that serve pods, of which there are always some, as many as could take every permit.
struct Siege {
  Trial run{60};
  ModelFleet pods{4000, 1};
  SchedulerModel served{run.time, run.shared, pods};
  std::size_t next = 0;
  bool over = false;
  microseconds longest{0};

  Awaitable<> one_after_another() {
    while (!over && next < pods.size()) {
      const PrewarmItem item{
          Reference::parse(pods.registry(0) + "/pod" + std::to_string(next++) + ":1"), {}, 0};
      const auto start = run.time.now();
      co_await served.pull(item, {PullClass::serving, 0});
      longest = std::max(longest, run.time.now() - start);
    }
  }
  Awaitable<> prewarm() {
    co_await run.prewarm();
    over = true;
  }
  Awaitable<> all() {
    co_await with_task_group([this](TaskGroup& group) -> Awaitable<> {
      group.spawn(prewarm());
      for (std::size_t i = 0; i < 2 * images_at_once; ++i) group.spawn(one_after_another());
      co_return;
    });
  }
};

TEST(Scheduler, NobodyStarvesBehindPullsThatNeverCease) {
  Siege siege;
  siege.run.time.run(siege.all());
  EXPECT_EQ(siege.run.report.ready, 60U);
  EXPECT_LT(siege.next, siege.pods.size()) << "they were there to the end";
  // The prewarm run gets what is left: one permit in so many.
  EXPECT_GT(siege.next, 60U * PermitQueue::favours_in_turn / 2);
}

}  // namespace
}  // namespace lazypull::test
