// The scheduler of a prewarm run, alone and with the engine's pulls on fakes.

#include "engine/prewarm.hpp"

#include "engine/deadline.hpp"
#include "engine/puller.hpp"
#include "tests/support/coroutine.hpp"
#include "tests/support/fake_ports.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <queue>

namespace lazypull {
namespace {

using test::FakeLayer;
using test::FakeRegistry;
using test::FakeStores;
using test::make_image;
using test::run;
using test::step;
using testing::ElementsAre;
using testing::HasSubstr;
using enum PrewarmState;

PrewarmItem item(const std::string& reference, int priority = 0) {
  return {Reference::parse(reference), {}, priority};
}

std::vector<PrewarmItem> items(int count) {
  std::vector<PrewarmItem> result;
  for (int i = 0; i < count; ++i)
    result.push_back(item("registry.example.com/app" + std::to_string(i) + ":1"));
  return result;
}

std::vector<PrewarmState> states(const PrewarmReport& report) {
  std::vector<PrewarmState> result;
  for (const auto& image : report.images) result.push_back(image.state);
  return result;
}

TEST(Prewarm, PullsAllImagesSoManyAtATime) {
  PrewarmReport report(items(20));
  PrewarmOptions options;
  options.max_concurrent_images = 3;
  std::size_t running = 0;
  std::size_t most = 0;
  const PullOne pull = [&](const PrewarmItem&, PullRank, PullReport&) -> Awaitable<> {
    most = std::max(most, ++running);
    EXPECT_EQ(report.running.size(), running);
    co_await step(3);
    --running;
  };
  run(prewarm_images(options, pull, report));
  EXPECT_EQ(report.ready, 20U);
  EXPECT_EQ(most, 3U);
}

TEST(Prewarm, BeginsWithTheHighestPriorityAndKeepsTheOrderOfTheListOtherwise) {
  PrewarmReport report({item("a", 0), item("b", 5), item("c", 0), item("d", -1), item("e", 5)});
  PrewarmOptions options;
  options.max_concurrent_images = 1;
  std::string order;
  const PullOne pull = [&](const PrewarmItem& one, PullRank rank, PullReport&) -> Awaitable<> {
    order += one.reference.repository().back();
    EXPECT_EQ(rank, (PullRank{PullClass::prewarm, one.priority}));
    co_return;
  };
  run(prewarm_images(options, pull, report));
  EXPECT_EQ(order, "beacd");
}

TEST(Prewarm, OneFailureLeavesTheOthersAlone) {
  PrewarmReport report(items(4));
  const PullOne pull = [&](const PrewarmItem& one, PullRank, PullReport&) -> Awaitable<> {
    co_await step();
    if (one.reference.repository() == "app1") throw Error(Errc::not_found, "pull app1: 404");
  };
  run(prewarm_images({}, pull, report));
  EXPECT_THAT(states(report), ElementsAre(ready, failed, ready, ready));
  EXPECT_THAT(report.images[1].failure->message(), HasSubstr("404"));
  EXPECT_FALSE(report.stopped);
}

TEST(Prewarm, FailFastStopsAtTheFirstFailure) {
  PrewarmReport report(items(4));
  PrewarmOptions options;
  options.fail_fast = true;
  options.max_concurrent_images = 2;
  const PullOne pull = [&](const PrewarmItem& one, PullRank, PullReport&) -> Awaitable<> {
    co_await step(one.reference.repository() == "app0" ? 1000 : 3);
    throw Error(Errc::not_found, "404");
  };
  run(prewarm_images(options, pull, report));
  EXPECT_THAT(states(report), ElementsAre(stopped, failed, waiting, waiting));
  EXPECT_EQ(report.stopped->code(), Errc::not_found);
}

TEST(Prewarm, AFullDiskStopsTheRunThoughItKeepsGoingOtherwise) {
  PrewarmReport report(items(3));
  PrewarmOptions options;
  options.max_concurrent_images = 1;
  const PullOne pull = [&](const PrewarmItem&, PullRank, PullReport&) -> Awaitable<> {
    co_await step();
    throw Error(Errc::out_of_space, "disk is full");
  };
  run(prewarm_images(options, pull, report));
  EXPECT_THAT(states(report), ElementsAre(failed, waiting, waiting));
  EXPECT_EQ(report.stopped->code(), Errc::out_of_space);
}

TEST(Prewarm, TheCheckStopsTheRunBeforeItAndDuringIt) {
  const PullOne pull = [](const PrewarmItem&, PullRank, PullReport&) -> Awaitable<> {
    const auto executor = co_await asio::this_coro::executor;
    Event never(executor);
    co_await never.wait();
  };
  PrewarmOptions options;
  options.check_interval = std::chrono::milliseconds(1);
  int checks = 0;
  int allowed = 0;
  options.check = [&] {
    if (++checks > allowed) throw Error(Errc::out_of_space, "too little is free");
  };
  PrewarmReport before(items(2));
  run(prewarm_images(options, pull, before));
  EXPECT_THAT(states(before), ElementsAre(waiting, waiting));
  EXPECT_EQ(before.stopped->code(), Errc::out_of_space);
  allowed = 20;
  PrewarmReport during(items(2));
  run(prewarm_images(options, pull, during));
  EXPECT_THAT(states(during), ElementsAre(stopped, stopped));
}

TEST(Prewarm, ADeadlineLeavesAReportOfHowFarItCame) {
  PrewarmReport report(items(3));
  PrewarmOptions options;
  options.max_concurrent_images = 1;
  const PullOne pull = [](const PrewarmItem& one, PullRank, PullReport&) -> Awaitable<> {
    const auto executor = co_await asio::this_coro::executor;
    Event never(executor);
    if (one.reference.repository() != "app0") co_await never.wait();
  };
  auto limited = [&]() -> Awaitable<> {
    co_await with_deadline(prewarm_images(options, pull, report), std::chrono::milliseconds(20), "prewarm");
  };
  try {
    run(limited());
    ADD_FAILURE() << "it ended in time";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::timed_out);
  }
  EXPECT_THAT(states(report), ElementsAre(ready, stopped, waiting));
}

/// What it costs to prewarm images of ten layers that share bases, in calls of the ports.
struct Cost {
  std::size_t calls = 0;
  std::size_t requests = 0;
  std::size_t layers = 0;
  std::size_t most_reading = 0;
};

Cost cost_of(int images) {
  FakeRegistry registry;
  registry.piece = 1U << 16U;
  FakeStores stores;
  std::vector<PrewarmItem> wanted = items(images);
  std::set<std::string> chains;
  for (int i = 0; i < images; ++i) {
    std::vector<FakeLayer> layers;
    for (int k = 0; k < 8; ++k) {
      layers.push_back({"base " + std::to_string(i % (images / 10)) + " layer " + std::to_string(k), {}});
    }
    for (int k = 0; k < 2; ++k) layers.push_back({"app " + std::to_string(i) + " " + std::to_string(k), {}});
    const auto image = make_image(registry, stores, layers);
    registry.tag(wanted[static_cast<std::size_t>(i)].reference, image.manifest);
    chains.insert(image.chain_ids.begin(), image.chain_ids.end());
  }
  PullLimits limits;
  limits.downloads = {8, 6, 0};
  PullShared shared(limits);
  PullOptions options;
  options.local_snapshotter = true;
  const PullOne pull = [&](const PrewarmItem& one, PullRank rank, PullReport& report) {
    return pull_image({registry, registry, stores}, one.reference, options, report, shared, rank);
  };
  PrewarmReport report(std::move(wanted));
  PrewarmOptions many;
  many.max_concurrent_images = 16;
  run(prewarm_images(many, pull, report));
  EXPECT_EQ(report.ready, static_cast<std::size_t>(images));
  EXPECT_EQ(stores.leases, 0);
  EXPECT_EQ(stores.snapshots.size(), chains.size());
  EXPECT_EQ(stores.count("apply "), chains.size()) << "each ChainID is unpacked once";
  std::set<Digest> unique;
  for (const auto& [digest, offset] : registry.opened) unique.insert(digest);
  EXPECT_EQ(unique.size(), registry.opened.size()) << "each blob is fetched once";
  for (const auto& image : report.images) EXPECT_EQ(image.report, nullptr);
  return {stores.calls.size(), registry.opened.size(), chains.size(), registry.most_reading};
}

TEST(Prewarm, TheWorkGrowsWithTheImagesAndNotFaster) {
  const Cost few = cost_of(100);
  const Cost many = cost_of(1000);
  EXPECT_EQ(many.requests, 10 * few.requests);
  EXPECT_EQ(many.layers, 10 * few.layers);
  EXPECT_LE(many.calls, 11 * few.calls);
  EXPECT_EQ(few.most_reading, 6U) << "of one registry";
  EXPECT_EQ(many.most_reading, 6U);
}

/// Virtual time: layers take as long as they have bytes. Returns the number of events.
struct Simulation {
  struct Running {
    std::uint64_t end;
    PermitQueue::Ticket ticket;
    bool operator>(const Running& other) const { return end > other.end; }
  };

  explicit Simulation(int image_count) : images(image_count) {}

  void go() {
    PermitQueue queue(limits);
    std::map<PermitQueue::Ticket, std::pair<std::string, std::uint64_t>> jobs;
    for (int i = 0; i < images; ++i) {
      for (int k = 0; k < 10; ++k) {
        const std::string registry = "r" + std::to_string(i % registries);
        const std::uint64_t bytes = 1 + static_cast<std::uint64_t>((i * 7 + k * 13) % 100);
        const PullRank rank{i % 50 == 0 ? PullClass::serving : PullClass::prewarm, i % 3};
        const auto ticket = queue.join(rank, registry, bytes);
        jobs[ticket] = {registry, bytes};
      }
    }
    std::priority_queue<Running, std::vector<Running>, std::greater<>> running;
    std::map<std::string, std::size_t> held;
    std::uint64_t now = 0;
    for (;;) {
      for (const auto ticket : queue.take_granted()) {
        const auto& [registry, bytes] = jobs.at(ticket);
        running.push({now + bytes, ticket});
        most_at_once = std::max(most_at_once, running.size());
        most_of_one = std::max(most_of_one, ++held[registry]);
        ++grants[registry];
        if (running.size() > 1) most_bytes = std::max(most_bytes, queue.bytes_in_use());
      }
      if (running.empty()) break;
      const auto ended = running.top();
      running.pop();
      now = ended.end;
      --held[jobs.at(ended.ticket).first];
      queue.leave(ended.ticket);
      jobs.erase(ended.ticket);
      ++served;
      if (served == static_cast<std::size_t>(images) * 5) halfway = grants;
    }
    left = jobs.size() + queue.waiting() + queue.in_use();
  }

  static constexpr int registries = 8;
  int images;
  PermitLimits limits{16, 4, 600};
  std::size_t served = 0;
  std::size_t left = 0;
  std::size_t most_at_once = 0;
  std::size_t most_of_one = 0;
  std::uint64_t most_bytes = 0;
  std::map<std::string, std::size_t> grants;
  std::map<std::string, std::size_t> halfway;
};

TEST(PrewarmScheduler, TenThousandImagesOfTenLayersKeepTheLimitsAndAreServedFairly) {
  Simulation simulation(10'000);
  simulation.go();
  EXPECT_EQ(simulation.served, 100'000U);
  EXPECT_EQ(simulation.left, 0U);
  EXPECT_LE(simulation.most_at_once, simulation.limits.total);
  EXPECT_LE(simulation.most_of_one, simulation.limits.per_registry);
  EXPECT_LE(simulation.most_bytes, simulation.limits.bytes);
  for (const auto& [registry, count] : simulation.halfway) {
    EXPECT_NEAR(static_cast<double>(count), 50'000.0 / Simulation::registries, 1000) << registry;
  }
}

}  // namespace
}  // namespace lazypull
