// When a body comes too slowly.
#include "transport/speed_watch.hpp"

#include <gtest/gtest.h>

namespace lazypull {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(SpeedWatch, WithoutALimitNothingIsTooSlow) {
  SpeedWatch watch(0, seconds(1));
  EXPECT_FALSE(watch.limited());
  EXPECT_TRUE(watch.note(0, seconds(1000)));
}

TEST(SpeedWatch, MeasuresOverTheWholeWindow) {
  SpeedWatch watch(1000, seconds(10));
  for (int i = 0; i < 9; ++i) EXPECT_TRUE(watch.note(10, seconds(1))) << "too early to say";
  EXPECT_FALSE(watch.note(10, seconds(1)));
}

TEST(SpeedWatch, ABurstMakesUpForASilence) {
  SpeedWatch watch(1000, seconds(10));
  EXPECT_TRUE(watch.note(12000, seconds(1)));
  EXPECT_EQ(watch.patience(), seconds(11)) << "12 s worth of bytes have come";
  EXPECT_TRUE(watch.note(1, seconds(10)));
}

TEST(SpeedWatch, EachWindowIsMeasuredByItself) {
  SpeedWatch watch(1000, seconds(10));
  EXPECT_TRUE(watch.note(1000000, seconds(10)));
  EXPECT_EQ(watch.patience(), seconds(10));
  EXPECT_FALSE(watch.note(100, seconds(10)));
}

TEST(SpeedWatch, TimeThatNobodyWaitedForBytesDoesNotCount) {
  SpeedWatch watch(1000, seconds(10));
  for (int i = 0; i < 100000; ++i) EXPECT_TRUE(watch.note(1, milliseconds(0)));
}

TEST(SpeedWatch, SilenceIsTooSlowAtTheWindowsEnd) {
  SpeedWatch watch(1000, seconds(10));
  EXPECT_TRUE(watch.note(500, seconds(4)));
  EXPECT_EQ(watch.patience(), seconds(6));
  EXPECT_FALSE(watch.note(0, seconds(6)));
}

}  // namespace
}  // namespace lazypull
