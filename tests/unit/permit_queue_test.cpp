#include "engine/permit_queue.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <random>

namespace lazypull {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Ticket = PermitQueue::Ticket;

constexpr PullRank serving{PullClass::serving, 0};
constexpr PullRank prewarm{PullClass::prewarm, 0};

PermitLimits total(std::size_t permits) {
  return {permits, 0, 0};
}

TEST(PermitQueue, GrantsAtOnceWhileThereIsRoom) {
  PermitQueue queue(total(2));
  const auto a = queue.join(serving, "r", 1);
  const auto b = queue.join(serving, "r", 1);
  const auto c = queue.join(serving, "r", 1);
  EXPECT_THAT(queue.take_granted(), ElementsAre(a, b));
  queue.leave(a);
  EXPECT_THAT(queue.take_granted(), ElementsAre(c));
  EXPECT_EQ(queue.in_use(), 2U);
}

TEST(PermitQueue, NoLimitGrantsAll) {
  PermitQueue queue(PermitLimits{});
  for (int i = 0; i < 100; ++i) queue.join(prewarm, "r", 1U << 30U);
  EXPECT_EQ(queue.in_use(), 100U);
}

TEST(PermitQueue, ServesOneRegistryInTheOrderOfArrival) {
  PermitQueue queue(total(1));
  std::vector<Ticket> tickets;
  for (int i = 0; i < 5; ++i) tickets.push_back(queue.join(prewarm, "r", 1));
  std::vector<Ticket> served;
  for (int i = 0; i < 5; ++i) {
    const auto granted = queue.take_granted();
    ASSERT_EQ(granted.size(), 1U);
    served.push_back(granted[0]);
    queue.leave(granted[0]);
  }
  EXPECT_EQ(served, tickets);
}

TEST(PermitQueue, RegistriesTakeTurnsHoweverManyWaitForOne) {
  PermitQueue queue(total(1));
  std::map<Ticket, std::string> registry_of;
  const auto join = [&](const std::string& registry) {
    registry_of[queue.join(prewarm, registry, 1)] = registry;
  };
  for (int i = 0; i < 6; ++i) join("a");
  for (int i = 0; i < 2; ++i) join("b");
  join("c");
  std::string order;
  while (queue.in_use() > 0) {
    const auto granted = queue.take_granted();
    order += registry_of.at(granted.at(0));
    queue.leave(granted[0]);
  }
  EXPECT_EQ(order, "abcabaaaa");
}

TEST(PermitQueue, ALimitOfARegistryLetsOthersPass) {
  PermitQueue queue(PermitLimits{3, 1, 0});
  const auto a = queue.join(prewarm, "a", 1);
  const auto a2 = queue.join(prewarm, "a", 1);
  const auto b = queue.join(prewarm, "b", 1);
  EXPECT_THAT(queue.take_granted(), ElementsAre(a, b));
  queue.leave(a);
  EXPECT_THAT(queue.take_granted(), ElementsAre(a2));
  EXPECT_EQ(queue.in_use("a"), 1U);
}

TEST(PermitQueue, TheMoreUrgentGoFirstByClassAndThenByPriority) {
  PermitQueue queue(total(1));
  const auto first = queue.join(prewarm, "r", 1);
  const auto low = queue.join({PullClass::prewarm, -1}, "r", 1);
  const auto high = queue.join({PullClass::prewarm, 9}, "s", 1);
  const auto pod = queue.join({PullClass::serving, -5}, "s", 1);
  std::vector<Ticket> order;
  for (int i = 0; i < 4; ++i) {
    order.push_back(queue.take_granted().at(0));
    queue.leave(order.back());
  }
  EXPECT_THAT(order, ElementsAre(first, pod, high, low));
}

TEST(PermitQueue, BytesInFlightAreLimitedAndALargeOneIsNotOvertakenForEver) {
  PermitQueue queue(PermitLimits{0, 0, 100});
  const auto a = queue.join(prewarm, "r", 60);
  const auto large = queue.join(prewarm, "r", 500);
  const auto small = queue.join(prewarm, "s", 10);
  EXPECT_THAT(queue.take_granted(), ElementsAre(a, small)) << "the other registry had its turn";
  const auto late = queue.join(prewarm, "r", 1);
  queue.leave(a);
  queue.leave(small);
  EXPECT_THAT(queue.take_granted(), ElementsAre(large)) << "alone";
  queue.leave(large);
  EXPECT_THAT(queue.take_granted(), ElementsAre(late));
}

TEST(PermitQueue, OneWhoLeavesTheLineIsNotGranted) {
  PermitQueue queue(total(1));
  const auto a = queue.join(serving, "r", 1);
  const auto b = queue.join(serving, "r", 1);
  const auto c = queue.join(serving, "r", 1);
  queue.leave(b);
  queue.take_granted();
  queue.leave(a);
  EXPECT_THAT(queue.take_granted(), ElementsAre(c));
  queue.leave(b);
  EXPECT_EQ(queue.in_use(), 1U) << "leaving twice changes nothing";
}

TEST(PermitQueue, APrewarmGivesWayToAPullThatServesAndGoesOnAfterIt) {
  PermitQueue queue(total(2));
  const auto a = queue.join(prewarm, "r", 1);
  const auto b = queue.join(prewarm, "r", 1);
  const auto waiting = queue.join(prewarm, "r", 1);
  EXPECT_FALSE(queue.give_way(a)) << "nobody more urgent waits";
  queue.take_granted();
  const auto pod = queue.join(serving, "s", 1);
  EXPECT_TRUE(queue.give_way(a));
  EXPECT_THAT(queue.take_granted(), ElementsAre(pod));
  EXPECT_FALSE(queue.give_way(b)) << "one is enough";
  EXPECT_FALSE(queue.give_way(pod));
  queue.leave(pod);
  EXPECT_THAT(queue.take_granted(), ElementsAre(a)) << "at its old place, before those who came after it";
  EXPECT_FALSE(queue.holds(waiting));
}

TEST(PermitQueue, APrewarmDoesNotGiveWayWhereThatWouldHelpNobody) {
  PermitQueue queue(PermitLimits{2, 1, 0});
  const auto of_a = queue.join(prewarm, "a", 1);
  const auto of_b = queue.join(prewarm, "b", 1);
  const auto pod = queue.join(serving, "a", 1);
  EXPECT_FALSE(queue.give_way(of_b)) << "registry a has no room";
  EXPECT_TRUE(queue.give_way(of_a));
  EXPECT_TRUE(queue.holds(pod));
}

TEST(PermitQueue, PrioritiesOfOneClassDoNotInterruptEachOther) {
  PermitQueue queue(total(1));
  const auto low = queue.join({PullClass::prewarm, 0}, "r", 1);
  queue.join({PullClass::prewarm, 5}, "r", 1);
  EXPECT_FALSE(queue.give_way(low));
}

TEST(PermitQueue, APromotedOneGoesFirstAndIsNotInterrupted) {
  PermitQueue queue(total(1));
  const auto holder = queue.join(prewarm, "r", 1);
  queue.join(prewarm, "r", 1);
  const auto last = queue.join(prewarm, "r", 1);
  queue.promote(last, serving);
  queue.take_granted();
  EXPECT_TRUE(queue.give_way(holder));
  EXPECT_THAT(queue.take_granted(), ElementsAre(last));
  const auto pod = queue.join(serving, "r", 1);
  EXPECT_FALSE(queue.give_way(last));
  queue.promote(12345, serving);
  queue.leave(last);
  EXPECT_TRUE(queue.holds(pod));
}

TEST(PermitQueue, NobodyStarvesHoweverManyMoreUrgentOnesCome) {
  PermitQueue queue(total(1));
  std::deque<Ticket> holder{queue.join(serving, "r", 1)};
  const auto patient = queue.join(prewarm, "r", 1);
  queue.take_granted();
  int served = 0;
  while (!queue.holds(patient)) {
    ASSERT_LT(++served, 100);
    queue.join(serving, "r", 1);
    queue.leave(holder.front());
    holder.pop_front();
    const auto granted = queue.take_granted();
    ASSERT_EQ(granted.size(), 1U);
    holder.push_back(granted[0]);
  }
  EXPECT_EQ(served, PermitQueue::favours_in_turn + 1);
  // What it got by age it keeps for a while, or it would not get on.
  for (int i = 0; i < PermitQueue::undisturbed_borders; ++i) ASSERT_FALSE(queue.give_way(patient));
  EXPECT_TRUE(queue.give_way(patient));
}

TEST(PermitQueue, LimitsCanBeChangedWhileItRuns) {
  PermitQueue queue(total(1));
  for (int i = 0; i < 5; ++i) queue.join(prewarm, "r", 1);
  queue.set_limits(total(3));
  EXPECT_EQ(queue.in_use(), 3U);
  queue.set_limits(total(1));
  EXPECT_EQ(queue.in_use(), 3U) << "nobody loses a permit";
  queue.take_granted();
}

/// Tries what callers do, at random, and checks what must hold after each step.
TEST(PermitQueue, LimitsHoldAndEverybodyIsServedWhateverHappens) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    const auto upto = [&](unsigned n) { return std::uniform_int_distribution<unsigned>(0, n)(random); };
    const PermitLimits limits{1 + upto(4), upto(2), upto(1) == 0 ? 0U : 50U + upto(50)};
    PermitQueue queue(limits);
    std::map<Ticket, std::string> open;
    for (int step = 0; step < 300; ++step) {
      const auto action = upto(5);
      if (action <= 1) {
        const std::string registry(1, static_cast<char>('a' + upto(3)));
        const PullRank rank{upto(1) == 0 ? PullClass::serving : PullClass::prewarm,
                            static_cast<int>(upto(2))};
        open[queue.join(rank, registry, upto(120))] = registry;
      } else if (!open.empty()) {
        auto chosen = std::next(open.begin(), upto(static_cast<unsigned>(open.size() - 1)));
        if (action == 2) queue.give_way(chosen->first);
        if (action == 3) queue.promote(chosen->first, serving);
        if (action >= 4) {
          queue.leave(chosen->first);
          open.erase(chosen);
        }
      }
      queue.take_granted();
      std::map<std::string, std::size_t> held;
      std::size_t in_use = 0;
      for (const auto& [ticket, registry] : open) {
        if (!queue.holds(ticket)) continue;
        ++in_use;
        ++held[registry];
      }
      ASSERT_EQ(queue.in_use(), in_use);
      ASSERT_EQ(queue.waiting(), open.size() - in_use);
      ASSERT_LE(in_use, limits.total);
      for (const auto& [registry, count] : held) {
        if (limits.per_registry > 0) ASSERT_LE(count, limits.per_registry);
      }
      if (limits.bytes > 0 && in_use > 1) ASSERT_LE(queue.bytes_in_use(), limits.bytes);
      ASSERT_TRUE(in_use > 0 || open.empty()) << "somebody waits though nobody holds anything";
    }
    // Holders leave, one after another: all others are served in turn.
    while (!open.empty()) {
      const auto holder =
          std::ranges::find_if(open, [&](const auto& item) { return queue.holds(item.first); });
      ASSERT_NE(holder, open.end());
      queue.leave(holder->first);
      open.erase(holder);
    }
    EXPECT_EQ(queue.in_use(), 0U);
    EXPECT_EQ(queue.bytes_in_use(), 0U);
  }
}

}  // namespace
}  // namespace lazypull
