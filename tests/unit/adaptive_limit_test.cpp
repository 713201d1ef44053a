// How many requests to a host are under way at once, in virtual time.
#include "transport/adaptive_limit.hpp"

#include <gtest/gtest.h>

#include <random>

namespace lazypull {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class Adaptive : public ::testing::Test {
 protected:
  void succeed(std::size_t times) {
    for (std::size_t i = 0; i < times; ++i) limit.on_success();
  }
  /// Bytes at a steady rate for so long, while the limit is exhausted.
  void transfer(std::uint64_t per_second, seconds time) {
    for (auto end = now + time; now < end; now += milliseconds(100)) {
      limit.on_bytes(per_second / 10, limit.limit(), now);
    }
  }

  AdaptiveLimit limit{16};
  AdaptiveLimit::Time now{};
};

TEST_F(Adaptive, StartsWithTheMost) {
  EXPECT_EQ(limit.limit(), 16U);
  succeed(1000);
  EXPECT_EQ(limit.limit(), 16U);
}

TEST_F(Adaptive, HalvesWhereTheHostSaysThatItIsTooMuch) {
  limit.on_overload(now);
  EXPECT_EQ(limit.limit(), 8U);
  now += seconds(1);
  limit.on_overload(now);
  EXPECT_EQ(limit.limit(), 4U);
}

TEST_F(Adaptive, RefusalsOfTheSameMomentCountOnce) {
  for (int i = 0; i < 16; ++i) limit.on_overload(now);
  EXPECT_EQ(limit.limit(), 8U);
  now += milliseconds(999);
  limit.on_overload(now);
  EXPECT_EQ(limit.limit(), 8U);
}

TEST_F(Adaptive, NeverGoesBelowOne) {
  for (int i = 0; i < 20; ++i) {
    limit.on_overload(now);
    now += seconds(2);
  }
  EXPECT_EQ(limit.limit(), 1U);
}

TEST_F(Adaptive, GrowsByOneARound) {
  limit.on_overload(now);
  succeed(7);
  EXPECT_EQ(limit.limit(), 8U);
  succeed(1);
  EXPECT_EQ(limit.limit(), 9U);
  succeed(9);
  EXPECT_EQ(limit.limit(), 10U);
  succeed(1000);
  EXPECT_EQ(limit.limit(), 16U);
}

TEST_F(Adaptive, ShrinksWhereThroughputFalls) {
  transfer(100000000, seconds(10));
  EXPECT_EQ(limit.limit(), 16U);
  transfer(40000000, seconds(5));
  EXPECT_EQ(limit.limit(), 12U);
}

TEST_F(Adaptive, DoesNotShrinkAgainWhereLessHasNotMadeItWorse) {
  transfer(100000000, seconds(10));
  transfer(40000000, seconds(20));
  EXPECT_EQ(limit.limit(), 12U);
}

TEST_F(Adaptive, SmallChangesOfThroughputMeanNothing) {
  std::minstd_rand random(1);
  for (int i = 0; i < 50; ++i) transfer(80000000 + random() % 40000000, seconds(3));
  EXPECT_EQ(limit.limit(), 16U);
}

TEST_F(Adaptive, FewerBytesMeanNothingWhereFewerWereAskedFor) {
  transfer(100000000, seconds(10));
  for (int i = 0; i < 100; ++i, now += milliseconds(100)) limit.on_bytes(1000, 3, now);
  EXPECT_EQ(limit.limit(), 16U);
}

TEST_F(Adaptive, AnOldRecordIsForgotten) {
  transfer(100000000, seconds(10));
  for (std::uint64_t rate = 100000000; rate > 10000000; rate = rate * 95 / 100) transfer(rate, seconds(3));
  EXPECT_EQ(limit.limit(), 16U) << "a slow decline is not congestion";
}

TEST_F(Adaptive, ZeroIsNoLimit) {
  AdaptiveLimit open(0);
  open.on_overload(now);
  open.on_success();
  open.on_bytes(1, 100, now);
  EXPECT_EQ(open.limit(), 0U);
}

TEST_F(Adaptive, StaysWithinItsBounds) {
  std::minstd_rand random(2);
  for (int i = 0; i < 100000; ++i) {
    switch (random() % 3) {
      case 0:
        limit.on_success();
        break;
      case 1:
        if (random() % 10 == 0) limit.on_overload(now);
        break;
      default:
        limit.on_bytes(random() % 1000000, random() % 20, now);
    }
    now += milliseconds(random() % 300);
    ASSERT_GE(limit.limit(), 1U);
    ASSERT_LE(limit.limit(), 16U);
  }
}

}  // namespace
}  // namespace lazypull
