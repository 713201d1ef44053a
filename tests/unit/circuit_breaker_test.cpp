// When a host that fails is left alone, and how it comes back.
#include "transport/circuit_breaker.hpp"

#include <gtest/gtest.h>

#include <random>

namespace lazypull {
namespace {

using std::chrono::milliseconds;
using State = CircuitBreaker::State;

class Breaker : public ::testing::Test {
 protected:
  void pass(milliseconds time) { now += time; }
  State state() const { return breaker.state(now); }
  bool admit() { return breaker.admit(now); }
  void note(HostVerdict verdict) { breaker.note(verdict, now); }
  void die() {
    ASSERT_TRUE(admit());
    note(HostVerdict::dead);
  }

  static constexpr milliseconds pause{100};
  CircuitBreaker breaker{BreakerPolicy{3, pause, milliseconds(350)}};
  CircuitBreaker::Time now{};
};

TEST_F(Breaker, AdmitsAnyNumberOfRequestsAtFirst) {
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(admit());
}

TEST_F(Breaker, ADeadHostCostsOneRequest) {
  die();
  EXPECT_EQ(state(), State::open);
  EXPECT_FALSE(admit());
  pass(pause - milliseconds(1));
  EXPECT_FALSE(admit());
}

TEST_F(Breaker, OneRequestProbesTheHostAfterThePause) {
  die();
  pass(pause);
  EXPECT_EQ(state(), State::half_open);
  EXPECT_TRUE(admit());
  EXPECT_FALSE(admit()) << "while the probe is under way";
}

TEST_F(Breaker, AProbeThatIsAnsweredClosesIt) {
  die();
  pass(pause);
  ASSERT_TRUE(admit());
  note(HostVerdict::alive);
  EXPECT_EQ(state(), State::closed);
  EXPECT_TRUE(admit());
  EXPECT_TRUE(admit());
}

TEST_F(Breaker, AProbeThatFailsDoublesThePauseUpToALimit) {
  die();
  for (const milliseconds next : {milliseconds(200), milliseconds(350), milliseconds(350)}) {
    while (state() == State::open) pass(milliseconds(1));
    die();
    pass(next - milliseconds(1));
    EXPECT_EQ(state(), State::open);
    pass(milliseconds(1));
    EXPECT_EQ(state(), State::half_open);
  }
}

TEST_F(Breaker, APauseIsShortAgainAfterTheHostHasRecovered) {
  die();
  pass(pause);
  die();
  pass(2 * pause);
  ASSERT_TRUE(admit());
  note(HostVerdict::alive);
  die();
  pass(pause);
  EXPECT_EQ(state(), State::half_open);
}

TEST_F(Breaker, ACancelledProbeTellsNothingAndLetsAnotherTry) {
  die();
  pass(pause);
  ASSERT_TRUE(admit());
  note(HostVerdict::unknown);
  EXPECT_EQ(state(), State::half_open);
  EXPECT_TRUE(admit());
}

TEST_F(Breaker, FaultsCountOnlyInARow) {
  for (int i = 0; i < 2; ++i) note(HostVerdict::faulty);
  note(HostVerdict::alive);
  for (int i = 0; i < 2; ++i) note(HostVerdict::faulty);
  EXPECT_EQ(state(), State::closed);
  note(HostVerdict::faulty);
  EXPECT_EQ(state(), State::open);
}

TEST_F(Breaker, RequestsThatDieTogetherCountOnce) {
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(admit());
  for (int i = 0; i < 5; ++i) note(HostVerdict::dead);
  pass(pause);
  EXPECT_EQ(state(), State::half_open);
}

TEST_F(Breaker, NeverKeepsAHostAwayForLongerThanTheLongestPause) {
  std::minstd_rand random(1);
  for (int step = 0; step < 10000; ++step) {
    if (admit()) note(static_cast<HostVerdict>(random() % 4));
    pass(milliseconds(random() % 50));
    if (state() != State::open) continue;
    EXPECT_NE(breaker.state(now + milliseconds(350)), State::open);
  }
}

}  // namespace
}  // namespace lazypull
