// How often a pull may try again.
#include "engine/retry_budget.hpp"

#include <gtest/gtest.h>

namespace lazypull {
namespace {

using std::chrono::milliseconds;

std::exception_ptr failure(Errc code,
                           const std::string& message = "GET https://registry.example.com/x: lost") {
  return std::make_exception_ptr(Error(code, message));
}

Error error_of(DownloadRetry& retry, Errc code) {
  try {
    retry.pause_after(failure(code));
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "there was no error";
  return {Errc::internal, ""};
}

TEST(RetryBudget, IsSpentOneByOne) {
  RetryBudget budget(2);
  EXPECT_TRUE(budget.take());
  EXPECT_TRUE(budget.take());
  EXPECT_FALSE(budget.take());
  EXPECT_EQ(RetryBudget(0).take(), false);
}

TEST(RetryBudget, EarnsOneBackForEvery64KiBAndNeverMoreThanItHad) {
  RetryBudget budget(3);
  budget.earn(10U << 20U);
  EXPECT_EQ(budget.left(), 3U);
  budget.take();
  budget.take();
  budget.earn(RetryBudget::bytes_per_retry - 1);
  EXPECT_EQ(budget.left(), 1U);
  budget.earn(1);
  EXPECT_EQ(budget.left(), 2U);
  budget.earn(UINT64_MAX / 2);
  EXPECT_EQ(budget.left(), 3U);
}

TEST(RetryBudget, NamesItselfOnce) {
  const RetryBudget budget(7);
  const auto once = budget.spent(Error(Errc::unavailable, "no answer"));
  EXPECT_EQ(once.message(), "no answer; the retry budget of this pull (7) is spent");
  EXPECT_EQ(once.code(), Errc::unavailable);
  EXPECT_EQ(budget.spent(once).message(), once.message());
}

TEST(DownloadRetry, GoesOnAtOnceAndForNothingWhereTheConnectionHasBroughtSomething) {
  RetryBudget budget(1);
  DownloadRetry retry(budget);
  for (int i = 0; i < 10000; ++i) {
    retry.progress(DownloadRetry::fruitful_bytes);
    ASSERT_EQ(retry.pause_after(failure(Errc::unavailable)), milliseconds(0));
  }
  EXPECT_EQ(budget.left(), 1U);
}

TEST(DownloadRetry, GivesUpAfterTooManyFruitlessOnesInARow) {
  RetryBudget budget(100);
  DownloadRetry retry(budget);
  auto last = milliseconds(0);
  for (int i = 0; i < DownloadRetry::max_fruitless; ++i) {
    const auto pause = retry.pause_after(failure(Errc::unavailable));
    EXPECT_GT(pause, last);
    last = pause;
  }
  EXPECT_EQ(error_of(retry, Errc::unavailable).message(), "GET https://registry.example.com/x: lost");
}

TEST(DownloadRetry, BytesEndARow) {
  RetryBudget budget(100);
  DownloadRetry retry(budget);
  for (int i = 0; i < 30; ++i) {
    if (i % 3 == 0) retry.progress(1);
    EXPECT_NO_THROW(retry.pause_after(failure(Errc::bad_response)));
  }
}

TEST(DownloadRetry, TakesFewBytesFromTheBudgetWhichEndsIt) {
  RetryBudget budget(5);
  DownloadRetry retry(budget);
  for (int i = 0; i < 5; ++i) {
    retry.progress(1);
    retry.pause_after(failure(Errc::unavailable));
  }
  retry.progress(1);
  EXPECT_EQ(error_of(retry, Errc::unavailable).message(),
            "GET https://registry.example.com/x: lost; the retry budget of this pull (5) is spent");
}

TEST(DownloadRetry, TriesNothingAgainThatWouldFailAgain) {
  for (const auto code : {Errc::not_found, Errc::unauthorized, Errc::digest_mismatch, Errc::size_mismatch,
                          Errc::cancelled, Errc::tls_failure, Errc::out_of_space}) {
    RetryBudget budget(5);
    DownloadRetry retry(budget);
    retry.progress(1U << 20U);
    EXPECT_EQ(error_of(retry, code).code(), code);
    EXPECT_EQ(budget.left(), 5U);
  }
}

}  // namespace
}  // namespace lazypull
