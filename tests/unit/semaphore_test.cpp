#include "engine/semaphore.hpp"

#include "engine/error.hpp"
#include "engine/task_group.hpp"
#include "tests/support/coroutine.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace lazypull {
namespace {

using test::run;
using test::step;

struct Load {
  std::size_t now = 0;
  std::size_t peak = 0;
  std::vector<int> order;
};

Awaitable<> work(Semaphore& semaphore, Load& load, int id, int steps) {
  const Permit permit = co_await semaphore.acquire();
  struct Inside {
    Load& load;
    explicit Inside(Load& into) : load(into) { load.peak = std::max(load.peak, ++load.now); }
    ~Inside() { --load.now; }
  } inside(load);
  load.order.push_back(id);
  co_await step(steps);
}

TEST(Semaphore, LetsNoMoreInThanItsLimitAndServesInOrder) {
  Semaphore semaphore(3);
  Load load;
  run(with_task_group([&](TaskGroup& group) -> Awaitable<> {
    for (int id = 0; id < 20; ++id) group.spawn(work(semaphore, load, id, 1 + id % 4));
    co_return;
  }));
  EXPECT_EQ(load.peak, 3U);
  EXPECT_TRUE(std::ranges::is_sorted(load.order));
  EXPECT_EQ(load.order.size(), 20U);
  EXPECT_EQ(semaphore.in_use(), 0U);
}

TEST(Semaphore, HasNoLimitWhenTheLimitIsZero) {
  Semaphore semaphore(0);
  Load load;
  run(with_task_group([&](TaskGroup& group) -> Awaitable<> {
    for (int id = 0; id < 50; ++id) group.spawn(work(semaphore, load, id, 3));
    co_return;
  }));
  EXPECT_EQ(load.peak, 50U);
  EXPECT_EQ(semaphore.in_use(), 0U);
}

TEST(Semaphore, GivesAPermitBackWhenItsHolderFails) {
  Semaphore semaphore(1);
  auto fails = [](Semaphore& limit) -> Awaitable<> {
    const Permit permit = co_await limit.acquire();
    throw Error(Errc::internal, "on purpose");
  };
  EXPECT_THROW(run(fails(semaphore)), Error);
  EXPECT_EQ(semaphore.in_use(), 0U);
}

TEST(Semaphore, ACancelledWaiterLeavesTheQueueAndTheNextOneIsServed) {
  Semaphore semaphore(1);
  Load load;
  run(with_task_group([&](TaskGroup& group) -> Awaitable<> {
    group.spawn(work(semaphore, load, 0, 5));
    auto second = group.spawn(work(semaphore, load, 1, 1));
    group.spawn(work(semaphore, load, 2, 1));
    co_await step(2);
    EXPECT_EQ(semaphore.waiting(), 2U);
    second.drop();
    co_await step(2);
    EXPECT_EQ(semaphore.waiting(), 1U);
  }));
  EXPECT_EQ(load.order, (std::vector<int>{0, 2}));
  EXPECT_EQ(semaphore.in_use(), 0U);
}

TEST(Semaphore, LosesNoPermitHoweverWaitersAreCancelled) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    Semaphore semaphore(2);
    Load load;
    run(with_task_group([&](TaskGroup& group) -> Awaitable<> {
      std::vector<TaskGroup::Handle> handles;
      for (int id = 0; id < 12; ++id) {
        handles.push_back(group.spawn(work(semaphore, load, id, static_cast<int>(random() % 4))));
      }
      for (auto& handle : handles) {
        co_await step(static_cast<int>(random() % 3));
        if (random() % 2 == 0) handle.drop();
      }
    }));
    ASSERT_EQ(semaphore.in_use(), 0U) << "round " << round;
    ASSERT_EQ(semaphore.waiting(), 0U) << "round " << round;
    ASSERT_LE(load.peak, 2U);
  }
}

TEST(Permit, MovesItsUnitWithIt) {
  Semaphore semaphore(2);
  auto moves = [](Semaphore& limit) -> Awaitable<> {
    Permit first = co_await limit.acquire();
    Permit second = co_await limit.acquire();
    EXPECT_EQ(limit.in_use(), 2U);
    first = std::move(second);
    EXPECT_EQ(limit.in_use(), 1U);
    first.release();
    first.release();
    EXPECT_EQ(limit.in_use(), 0U);
  };
  run(moves(semaphore));
}

}  // namespace
}  // namespace lazypull
