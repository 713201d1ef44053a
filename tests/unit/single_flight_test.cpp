#include "engine/single_flight.hpp"

#include "engine/task_group.hpp"
#include "tests/support/coroutine.hpp"

#include <gtest/gtest.h>

#include <string>

namespace lazypull {
namespace {

using test::run;
using test::step;

TEST(SingleFlight, RunsTheWorkOnceForAllWhoWantItAtTheSameTime) {
  SingleFlight<std::string> flights;
  int runs = 0;
  int leaders = 0;
  auto work = [&]() -> Awaitable<> {
    ++runs;
    co_await step(5);
  };
  auto caller = [&]() -> Awaitable<> {
    const bool leader = co_await flights.run("blob", work);
    if (leader) ++leaders;
  };
  run(with_task_group([&](TaskGroup& group) -> Awaitable<> {
    for (int i = 0; i < 10; ++i) group.spawn(caller());
    co_return;
  }));
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(leaders, 1);
  EXPECT_EQ(flights.in_flight(), 0U);
}

TEST(SingleFlight, DifferentKeysDoNotWaitForEachOther) {
  SingleFlight<int> flights;
  int running = 0;
  int peak = 0;
  auto work = [&]() -> Awaitable<> {
    peak = std::max(peak, ++running);
    co_await step(5);
    --running;
  };
  auto caller = [&](int key) -> Awaitable<> { co_await flights.run(key, work); };
  run(with_task_group([&](TaskGroup& group) -> Awaitable<> {
    for (int i = 0; i < 4; ++i) group.spawn(caller(i));
    co_return;
  }));
  EXPECT_EQ(peak, 4);
}

TEST(SingleFlight, EveryCallerGetsTheFailure) {
  SingleFlight<std::string> flights;
  int failures = 0;
  auto work = []() -> Awaitable<> {
    co_await step(3);
    throw Error(Errc::digest_mismatch, "bad");
  };
  auto caller = [&]() -> Awaitable<> {
    try {
      co_await flights.run("blob", work);
    } catch (const Error& error) {
      if (error.code() == Errc::digest_mismatch) ++failures;
    }
  };
  run(with_task_group([&](TaskGroup& group) -> Awaitable<> {
    for (int i = 0; i < 3; ++i) group.spawn(caller());
    co_return;
  }));
  EXPECT_EQ(failures, 3);
}

TEST(SingleFlight, AWaiterTakesOverWhenTheOneWhoWorksIsCancelled) {
  SingleFlight<std::string> flights;
  int finished = 0;
  int started = 0;
  auto work = [&]() -> Awaitable<> {
    ++started;
    co_await step(6);
    ++finished;
  };
  auto caller = [&]() -> Awaitable<> { co_await flights.run("blob", work); };
  run(with_task_group([&](TaskGroup& group) -> Awaitable<> {
    auto first = group.spawn(caller());
    group.spawn(caller());
    co_await step(2);
    first.drop();
  }));
  EXPECT_EQ(started, 2);
  EXPECT_EQ(finished, 1);
}

}  // namespace
}  // namespace lazypull
