// Blocking work runs on other threads while the home thread goes on.

#include "engine/offload.hpp"

#include "engine/error.hpp"
#include "engine/task_group.hpp"
#include "tests/support/coroutine.hpp"

#include <gtest/gtest.h>

#include <future>
#include <string>
#include <thread>
#include <vector>

namespace lazypull::test {
namespace {

TEST(BlockingPool, GivesTheResultOfTheJobOnTheHomeThread) {
  run([]() -> Awaitable<> {
    BlockingPool pool(1);
    const auto home = std::this_thread::get_id();
    const auto worker = co_await pool.run([] { return std::this_thread::get_id(); });
    EXPECT_NE(worker, home);
    EXPECT_EQ(std::this_thread::get_id(), home);
  }());
}

TEST(BlockingPool, RethrowsWhatTheJobThrew) {
  run([]() -> Awaitable<> {
    BlockingPool pool(1);
    std::string message;
    try {
      co_await pool.run([] { throw Error(Errc::not_found, "no such file"); });
    } catch (const Error& error) {
      message = error.message();
    }
    EXPECT_EQ(message, "no such file");
  }());
}

TEST(BlockingPool, TheHomeThreadGoesOnWhileAJobBlocks) {
  run([]() -> Awaitable<> {
    BlockingPool pool(1);
    std::promise<int> answer;
    auto question = answer.get_future();
    int got = 0;
    co_await with_task_group([&](TaskGroup& group) -> Awaitable<> {
      auto wait = [](BlockingPool& on, std::future<int>& for_it, int& into) -> Awaitable<> {
        into = co_await on.run([&] { return for_it.get(); });
      };
      auto give = [](std::promise<int>& it) -> Awaitable<> {
        it.set_value(42);
        co_return;
      };
      group.spawn(wait(pool, question, got));
      group.spawn(give(answer));
      co_return;
    });
    EXPECT_EQ(got, 42);
  }());
}

TEST(BlockingPool, OneThreadRunsJobsInTheirOrder) {
  run([]() -> Awaitable<> {
    BlockingPool pool(1);
    std::vector<int> order;
    co_await with_task_group([&](TaskGroup& group) -> Awaitable<> {
      auto add = [](BlockingPool& on, std::vector<int>& to, int number) -> Awaitable<> {
        co_await on.run([&to, number] { to.push_back(number); });
      };
      for (int i = 0; i < 5; ++i) group.spawn(add(pool, order, i));
      co_return;
    });
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
  }());
}

}  // namespace
}  // namespace lazypull::test
