// A bandwidth limit, in virtual time.
#include "engine/token_bucket.hpp"

#include <gtest/gtest.h>

namespace lazypull {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class Bucket : public ::testing::Test {
 protected:
  /// Reads as fast as it may for so long, in pieces; returns the bytes.
  std::uint64_t read_for(milliseconds time, std::uint64_t piece) {
    std::uint64_t total = 0;
    const auto end = now + time;
    while (now < end) {
      total += piece;
      now += std::max<TokenBucket::Duration>(bucket.take(piece, now), TokenBucket::Duration(1));
    }
    return total;
  }

  TokenBucket::Time now{};
  TokenBucket bucket{1000000, now};
};

TEST_F(Bucket, WithoutALimitNobodyWaits) {
  TokenBucket open(0, now);
  EXPECT_FALSE(open.limited());
  EXPECT_EQ(open.take(1ULL << 60U, now).count(), 0);
}

TEST_F(Bucket, IsPaidForAfterwards) {
  EXPECT_EQ(bucket.take(500000, now), milliseconds(500));
  now += milliseconds(500);
  EXPECT_EQ(bucket.take(1000, now), milliseconds(1));
}

TEST_F(Bucket, KeepsToTheRateWhateverThePieces) {
  for (const std::uint64_t piece : {100U, 1000U, 65536U, 262144U}) {
    const auto bytes = read_for(seconds(10), piece);
    EXPECT_GE(bytes, 9900000U) << piece;
    EXPECT_LE(bytes, 10000000U + piece + 100000U) << piece;
  }
}

TEST_F(Bucket, SharesTheRateBetweenThoseWhoTakeAtOnce) {
  EXPECT_EQ(bucket.take(100000, now), milliseconds(100));
  EXPECT_EQ(bucket.take(100000, now), milliseconds(200)) << "the second one pays after the first";
}

TEST_F(Bucket, SavesUpATenthOfASecondAndNoMore) {
  now += seconds(1000);
  EXPECT_EQ(bucket.take(100000, now).count(), 0);
  EXPECT_EQ(bucket.take(1000, now), milliseconds(1));
}

TEST_F(Bucket, ANewRateCountsAtOnce) {
  EXPECT_EQ(bucket.take(1000000, now), seconds(1));
  bucket.set_rate(4000000, now);
  EXPECT_EQ(bucket.take(0, now), milliseconds(250)) << "a debt is paid at the new rate";
  bucket.set_rate(0, now);
  EXPECT_EQ(bucket.take(1000000, now).count(), 0);
  bucket.set_rate(1000, now);
  EXPECT_EQ(bucket.take(1000, now), seconds(1));
}

TEST_F(Bucket, TakesSmallPiecesWhereTheRateIsSmall) {
  EXPECT_EQ(TokenBucket(0, now).piece(), 262144U);
  EXPECT_EQ(TokenBucket(1000, now).piece(), 1024U);
  EXPECT_EQ(TokenBucket(1000000, now).piece(), 50000U);
  EXPECT_EQ(TokenBucket(1ULL << 40U, now).piece(), 262144U);
}

}  // namespace
}  // namespace lazypull
