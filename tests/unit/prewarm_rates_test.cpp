// What each class of pulls may take from the network, and how that is changed while they run.

#include "tools/prewarm_rates.hpp"

#include "engine/bandwidth.hpp"
#include "engine/error.hpp"
#include "tests/support/coroutine.hpp"
#include "tests/support/temp_dir.hpp"
#include "tools/live_rates.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>

namespace lazypull {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using testing::StartsWith;

std::string refusal(const std::string& text) {
  try {
    parse_class_rates(text, "rates");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::invalid_argument);
    return error.message();
  }
  ADD_FAILURE() << "accepted: " << text;
  return {};
}

TEST(ClassRates, AreOneALine) {
  EXPECT_THAT(parse_class_rates("# by night\nprewarm=20M # a third\n\n  serving = 0\r\n", "rates"),
              ElementsAre(Pair(PullClass::serving, 0U), Pair(PullClass::prewarm, 20U << 20U)));
  EXPECT_TRUE(parse_class_rates("", "rates").empty());
}

TEST(ClassRates, AMistakeIsNamedWithFileAndLine) {
  EXPECT_EQ(refusal("prewarm=1k\nother=1k"), "rates:2: 'other=1k' is neither prewarm=RATE nor serving=RATE");
  EXPECT_EQ(refusal("prewarm"), "rates:1: 'prewarm' is neither prewarm=RATE nor serving=RATE");
  EXPECT_EQ(refusal("\nprewarm=fast"), "rates:2: 'prewarm=fast' has no number of bytes such as 500k or 20M");
  EXPECT_EQ(refusal("prewarm=1k\nprewarm=2k"), "rates:2: the class is there twice");
}

TEST(ClassRates, AFileThatCannotBeReadIsAMistake) {
  EXPECT_THROW(read_class_rates("/no/such/rates"), Error);
  const test::TempDir folder("rates");
  EXPECT_THROW(read_class_rates(folder.path().string()), Error) << "a directory";
  const auto large = (folder / "large").string();
  std::ofstream(large) << std::string((64U << 10U) + 1, '#');
  EXPECT_THROW(read_class_rates(large), Error);
}

struct LiveRatesOfAFile : ::testing::Test {
  void write(const std::string& text) const { std::ofstream(file) << text; }

  /// Has the signal delivered, and what it does done.
  static Awaitable<> hang_up() {
    const auto home = co_await asio::this_coro::executor;
    asio::signal_set heard(home, SIGHUP);
    std::raise(SIGHUP);
    co_await heard.async_wait(asio::use_awaitable);
    co_await test::step(2);  // all who listen have been told by now
  }

  test::TempDir folder{"rates"};
  std::string file = (folder / "rates").string();
  Bandwidth bandwidth;
};

TEST_F(LiveRatesOfAFile, GoBeforeThoseOfTheCommandLineAndAreReadAnewAtHangUp) {
  test::run([](LiveRatesOfAFile& self) -> Awaitable<> {
    self.write("prewarm=1M\n");
    const auto home = co_await asio::this_coro::executor;
    const LiveRates rates(home, self.bandwidth, {{PullClass::prewarm, 5}, {PullClass::serving, 7}},
                          self.file);
    EXPECT_EQ(self.bandwidth.rate(PullClass::prewarm), 1U << 20U);
    EXPECT_EQ(self.bandwidth.rate(PullClass::serving), 7U);
    self.write("prewarm=3M\n");
    co_await hang_up();
    EXPECT_EQ(self.bandwidth.rate(PullClass::prewarm), 3U << 20U);
    self.write("# no limit any more\n");
    co_await hang_up();
    EXPECT_EQ(self.bandwidth.rate(PullClass::prewarm), 5U);
  }(*this));
}

TEST_F(LiveRatesOfAFile, StayWhereTheFileIsWrong) {
  test::run([](LiveRatesOfAFile& self) -> Awaitable<> {
    self.write("prewarm=1M\n");
    const auto home = co_await asio::this_coro::executor;
    const LiveRates rates(home, self.bandwidth, {}, self.file);
    self.write("prewarm=nonsense\n");
    testing::internal::CaptureStderr();
    co_await hang_up();
    const auto told = testing::internal::GetCapturedStderr();
    EXPECT_THAT(told, StartsWith("lazypull: the rates stay as they are: "));
    EXPECT_THAT(told, HasSubstr(self.file + ":1: "));
    EXPECT_EQ(self.bandwidth.rate(PullClass::prewarm), 1U << 20U);
  }(*this));
}

TEST_F(LiveRatesOfAFile, AreToBeRightInTheBeginning) {
  test::run([](LiveRatesOfAFile& self) -> Awaitable<> {
    self.write("nonsense\n");
    const auto home = co_await asio::this_coro::executor;
    EXPECT_THROW(LiveRates(home, self.bandwidth, {}, self.file), Error);
  }(*this));
}

}  // namespace
}  // namespace lazypull
