#include "engine/task_group.hpp"

#include "engine/deadline.hpp"
#include "engine/error.hpp"
#include "tests/support/coroutine.hpp"

#include <boost/asio/steady_timer.hpp>
#include <gtest/gtest.h>

#include <string>

namespace lazypull {
namespace {

using test::run;
using test::step;

Awaitable<> wait_forever(int& ended) {
  struct Count {
    int& ended;
    ~Count() { ++ended; }
  } count{ended};
  const auto executor = co_await asio::this_coro::executor;
  asio::steady_timer timer(executor, asio::steady_timer::time_point::max());
  co_await timer.async_wait(asio::use_awaitable);
}

Awaitable<> fail_after(int steps, std::string why) {
  co_await step(steps);
  throw Error(Errc::internal, why);
}

TEST(TaskGroup, EndsOnlyWhenEveryChildHasEnded) {
  int ended = 0;
  auto child = [](int steps, int& count) -> Awaitable<> {
    co_await step(steps);
    ++count;
  };
  run(with_task_group([&](TaskGroup& group) -> Awaitable<> {
    for (int i = 1; i <= 10; ++i) group.spawn(child(i, ended));
    co_return;
  }));
  EXPECT_EQ(ended, 10);
}

TEST(TaskGroup, ReportsTheFirstFailureAndCancelsTheOthers) {
  int ended = 0;
  try {
    run(with_task_group([&](TaskGroup& group) -> Awaitable<> {
      for (int i = 0; i < 15; ++i) group.spawn(wait_forever(ended));
      group.spawn(fail_after(3, "first"));
      group.spawn(fail_after(9, "second"));
      co_return;
    }));
    FAIL() << "the group did not fail";
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "first");
  }
  EXPECT_EQ(ended, 15);
}

TEST(TaskGroup, AFailingBodyCancelsItsChildren) {
  int ended = 0;
  EXPECT_THROW(run(with_task_group([&](TaskGroup& group) -> Awaitable<> {
                 group.spawn(wait_forever(ended));
                 co_await step(2);
                 throw Error(Errc::not_found, "body");
               })),
               Error);
  EXPECT_EQ(ended, 1);
}

TEST(TaskGroup, ATaskSpawnedAfterAFailureIsCancelledAtOnce) {
  int ended = 0;
  EXPECT_THROW(run(with_task_group([&](TaskGroup& group) -> Awaitable<> {
                 group.cancel();
                 group.spawn(wait_forever(ended));
                 co_return;
               })),
               std::exception);
  EXPECT_EQ(ended, 1);
}

TEST(TaskGroup, DroppingAChildIsNoFailure) {
  int ended = 0;
  run(with_task_group([&](TaskGroup& group) -> Awaitable<> {
    auto handle = group.spawn(wait_forever(ended));
    co_await step(2);
    handle.drop();
  }));
  EXPECT_EQ(ended, 1);
}

TEST(TaskGroup, CancellingTheCallerCancelsTheChildrenAndWaitsForThem) {
  int ended = 0;
  auto outer = [](int& count) -> Awaitable<> {
    co_await with_task_group([&](TaskGroup& group) -> Awaitable<> {
      for (int i = 0; i < 16; ++i) group.spawn(wait_forever(count));
      co_return;
    });
  };
  run(with_task_group([&](TaskGroup& group) -> Awaitable<> {
    auto handle = group.spawn(outer(ended));
    co_await step(3);
    EXPECT_EQ(ended, 0);
    handle.drop();
  }));
  EXPECT_EQ(ended, 16);
}

TEST(TaskGroup, StartedUnderACancelledCallerItStillJoinsItsChildren) {
  int ended = 0;
  auto cancelled = [](int& count) -> Awaitable<> {
    co_await asio::this_coro::throw_if_cancelled(false);
    co_await step(4);  // cancelled meanwhile
    co_await with_task_group([&](TaskGroup& group) -> Awaitable<> {
      group.spawn(wait_forever(count));
      co_return;
    });
  };
  run(with_task_group([&](TaskGroup& group) -> Awaitable<> {
    auto handle = group.spawn(cancelled(ended));
    co_await step(1);
    handle.drop();
  }));
  EXPECT_EQ(ended, 1);
}

TEST(Deadline, CancelsAnOperationThatTakesTooLongAndSaysWhat) {
  int ended = 0;
  try {
    run(with_deadline(wait_forever(ended), std::chrono::milliseconds(1), "Stat sha256:x"));
    FAIL() << "no timeout";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::timed_out);
    EXPECT_EQ(error.message(), "Stat sha256:x: timed out after 0.0 s");
  }
  EXPECT_EQ(ended, 1);
}

TEST(Deadline, HandsOnTheValueAndTheFailure) {
  auto value = []() -> Awaitable<int> {
    co_await step();
    co_return 7;
  };
  auto check = [&]() -> Awaitable<> {
    const int got = co_await with_deadline(value(), std::chrono::seconds(50), "value");
    EXPECT_EQ(got, 7);
  };
  run(check());
  EXPECT_THROW(run(with_deadline(fail_after(1, "x"), std::chrono::seconds(50), "failure")), Error);
}

TEST(Deadline, ForwardsTheCallersCancellation) {
  int ended = 0;
  auto outer = [](int& count) -> Awaitable<> {
    co_await with_deadline(wait_forever(count), std::chrono::hours(1), "long");
  };
  run(with_task_group([&](TaskGroup& group) -> Awaitable<> {
    auto handle = group.spawn(outer(ended));
    co_await step(3);
    handle.drop();
  }));
  EXPECT_EQ(ended, 1);
}

TEST(Cleanup, RunsToItsEndAlthoughTheCallerHasBeenCancelled) {
  bool cleaned = false;
  auto clean = [](bool& done) -> Awaitable<> {
    co_await step(5);
    done = true;
  };
  auto cancelled = [&](int& ended) -> Awaitable<> {
    std::exception_ptr failure;
    try {
      co_await wait_forever(ended);
    } catch (...) {
      failure = std::current_exception();
    }
    co_await asio::this_coro::throw_if_cancelled(false);
    const auto left = co_await run_cleanup(clean(cleaned), std::chrono::seconds(50), "clean");
    EXPECT_FALSE(left);
    std::rethrow_exception(failure);
  };
  int ended = 0;
  run(with_task_group([&](TaskGroup& group) -> Awaitable<> {
    auto handle = group.spawn(cancelled(ended));
    co_await step(3);
    handle.drop();
  }));
  EXPECT_TRUE(cleaned);
}

TEST(Cleanup, HasItsOwnDeadlineAndReturnsItsFailure) {
  auto check = []() -> Awaitable<> {
    int ended = 0;
    const auto failure =
        co_await run_cleanup(wait_forever(ended), std::chrono::milliseconds(1), "remove key");
    EXPECT_EQ(ended, 1);
    EXPECT_EQ(as_error(failure).code(), Errc::timed_out);
  };
  run(check());
}

}  // namespace
}  // namespace lazypull
