#include "transport/retry_policy.hpp"

#include <gtest/gtest.h>

namespace lazypull {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Sun, 06 Nov 1994 08:49:37 GMT.
const std::chrono::system_clock::time_point now{seconds(784111777)};

AttemptOutcome status(int value, std::optional<std::string> retry_after = std::nullopt) {
  return {value, std::nullopt, std::move(retry_after)};
}
AttemptOutcome failure(Errc code) {
  return {0, code, std::nullopt};
}

std::optional<milliseconds> delay(int attempts, const AttemptOutcome& outcome, double jitter = 0.5) {
  return retry_delay(RetryPolicy(), attempts, outcome, jitter, now);
}

TEST(RetryPolicy, RetriesStatusesThatMayPass) {
  for (const int value : {408, 429, 500, 502, 503, 504}) EXPECT_TRUE(delay(1, status(value))) << value;
}

TEST(RetryPolicy, LeavesEveryOtherStatusAlone) {
  for (const int value : {200, 206, 301, 400, 401, 403, 404, 405, 416, 501, 505}) {
    EXPECT_FALSE(delay(1, status(value))) << value;
  }
}

TEST(RetryPolicy, RetriesLostConnectionsButNoPermanentFailures) {
  EXPECT_TRUE(delay(4, failure(Errc::unavailable)));
  for (const auto code : {Errc::host_not_found, Errc::tls_failure, Errc::bad_response, Errc::cancelled,
                          Errc::invalid_argument}) {
    EXPECT_FALSE(delay(1, failure(code))) << to_string(code);
  }
}

TEST(RetryPolicy, RetriesATimeoutOnceOnly) {
  EXPECT_TRUE(delay(1, failure(Errc::timed_out)));
  EXPECT_FALSE(delay(2, failure(Errc::timed_out)));
}

TEST(RetryPolicy, GivesUpAfterTheLastAttempt) {
  EXPECT_TRUE(delay(4, status(503)));
  EXPECT_FALSE(delay(5, status(503)));
}

TEST(RetryPolicy, DoublesTheDelayUpToTheCap) {
  RetryPolicy policy;
  policy.max_attempts = 100;
  const auto full = [&](int attempts) { return *retry_delay(policy, attempts, status(503), 0.999999, now); };
  EXPECT_NEAR(static_cast<double>(full(1).count()), 200, 1);
  EXPECT_NEAR(static_cast<double>(full(2).count()), 400, 1);
  EXPECT_NEAR(static_cast<double>(full(3).count()), 800, 1);
  EXPECT_NEAR(static_cast<double>(full(50).count()), 10000, 1);
}

TEST(RetryPolicy, JitterTakesAtMostHalfOff) {
  EXPECT_EQ(delay(1, status(503), 0.0), milliseconds(100));
  EXPECT_EQ(delay(1, status(503), 0.5), milliseconds(150));
}

TEST(RetryPolicy, ObeysRetryAfterUpToTheCap) {
  EXPECT_EQ(delay(1, status(429, "3")), seconds(3));
  EXPECT_EQ(delay(1, status(429, "0")), seconds(0));
  EXPECT_EQ(delay(1, status(503, "3600")), seconds(10));
  EXPECT_EQ(delay(1, status(503, "99999999999999999999")), delay(1, status(503)));
  EXPECT_EQ(delay(1, status(429, "soon")), delay(1, status(429)));
}

TEST(RetryAfter, MayBeADate) {
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:40 GMT", now), seconds(3));
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:00 GMT", now), seconds(0));
  EXPECT_EQ(parse_retry_after("Thu, 29 Feb 1996 00:00:00 GMT", now),
            milliseconds(825552000000 - 784111777000));
}

TEST(RetryAfter, NeedsAValidDate) {
  for (const auto* bad :
       {"Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nox 1994 08:49:37 GMT", "Sun, 06 Nov 1994 25:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT", "-1", "", "1.5"}) {
    EXPECT_FALSE(parse_retry_after(bad, now)) << bad;
  }
}

}  // namespace
}  // namespace lazypull
