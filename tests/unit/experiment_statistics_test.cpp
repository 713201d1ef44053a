// Medians, and how sure one can be of them.

#include "tools/experiment/random.hpp"
#include "tools/experiment/statistics.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace lazypull::experiment {
namespace {

TEST(ExperimentStatistics, TheMedianIsTheMiddleOrTheMeanOfTheTwoInTheMiddle) {
  EXPECT_DOUBLE_EQ(median({3}), 3);
  EXPECT_DOUBLE_EQ(median({9, 1, 4}), 4);
  EXPECT_DOUBLE_EQ(median({9, 1, 4, 2}), 3);
}

TEST(ExperimentStatistics, TheRanksAreThoseOfPublishedTables) {
  // Of 95 % intervals of the median by the sign test.
  const std::vector<std::pair<std::size_t, std::size_t>> published = {{6, 1},  {7, 1},  {8, 1},   {9, 2},
                                                                      {10, 2}, {11, 2}, {12, 3},  {15, 4},
                                                                      {20, 6}, {25, 8}, {30, 10}, {50, 18}};
  for (const auto& [count, low] : published) {
    const auto ranks = median_ranks(count);
    EXPECT_EQ(ranks.low, low) << count;
    EXPECT_EQ(ranks.high, count + 1 - low) << count;
    EXPECT_GE(ranks.confidence, 0.95) << count;
  }
  EXPECT_NEAR(median_ranks(10).confidence, 0.978516, 1e-6);
}

TEST(ExperimentStatistics, WithFewValuesTheLevelIsSaidToBeLower) {
  EXPECT_NEAR(median_ranks(5).confidence, 0.9375, 1e-9);
  EXPECT_NEAR(median_ranks(2).confidence, 0.5, 1e-9);
  EXPECT_NEAR(median_ranks(1).confidence, 0, 1e-9);
  EXPECT_EQ(median_ranks(5).low, 1U);
  EXPECT_EQ(median_ranks(5).high, 5U);
  EXPECT_EQ(median_ranks(0).low, 0U);
}

TEST(ExperimentStatistics, ASummaryHasMedianIntervalAndRange) {
  const auto summary = summarize({10, 9, 8, 7, 6, 5, 4, 3, 2, 1});
  EXPECT_EQ(summary.count, 10U);
  EXPECT_DOUBLE_EQ(summary.median, 5.5);
  EXPECT_DOUBLE_EQ(summary.low, 2);
  EXPECT_DOUBLE_EQ(summary.high, 9);
  EXPECT_DOUBLE_EQ(summary.least, 1);
  EXPECT_DOUBLE_EQ(summary.most, 10);
  EXPECT_EQ(summarize({}).count, 0U);
}

TEST(ExperimentStatistics, TheIntervalCoversTheMedianAsOftenAsItSays) {
  Random random(3);
  int covered = 0;
  constexpr int trials = 4000;
  for (int trial = 0; trial < trials; ++trial) {
    std::vector<double> values(11);
    // Skewed, as times are; the median of the square of a uniform number is a quarter.
    for (auto& value : values) value = random.unit(), value *= value;
    const auto summary = summarize(values);
    covered += summary.low <= 0.25 && 0.25 <= summary.high ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(covered) / trials, median_ranks(11).confidence, 0.015);
}

TEST(ExperimentStatistics, ThousandsOfValuesAreNoProblem) {
  const auto ranks = median_ranks(10'000);
  // Half plus or minus 1.96 standard deviations of 50.
  EXPECT_NEAR(static_cast<double>(ranks.low), 5000 - 98, 2);
  EXPECT_NEAR(ranks.confidence, 0.95, 0.002);
}

TEST(ExperimentRandom, IsTheSameEverywhere) {
  Random random(1234567);
  EXPECT_EQ(random.next(), 6457827717110365317ULL);
  EXPECT_EQ(random.next(), 3203168211198807973ULL);
}

TEST(ExperimentRandom, IsBelowItsBoundAndReachesAll) {
  Random random(1);
  std::vector<int> seen(7);
  for (int i = 0; i < 700; ++i) ++seen[random.below(7)];
  EXPECT_TRUE(std::ranges::all_of(seen, [](int count) { return count > 60; }));
}

}  // namespace
}  // namespace lazypull::experiment
