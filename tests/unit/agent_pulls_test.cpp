// How requests for images become pulls: who shares, who waits, what is cancelled, and how the agent ends.

#include "tools/agent/agent_pulls.hpp"

#include "engine/deadline.hpp"
#include "engine/event.hpp"
#include "tests/support/coroutine.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace lazypull {
namespace {

using test::run_on;
using test::step;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using namespace std::chrono_literals;

AgentPullRequest request(const std::string& image, PullClass pull_class = PullClass::serving) {
  AgentPullRequest wanted(Reference::parse(image));
  wanted.rank.pull_class = pull_class;
  return wanted;
}

Credentials login(const std::string& user) {
  Credentials credentials;
  credentials.username = user;
  credentials.password = "secret";
  return credentials;
}

/// Writes down what it is told.
class Witness final : public PullObserver {
 public:
  void pull_requested(const PullSubject& subject, bool shared) override {
    seen.push_back((shared ? "joined " : "asked ") + subject.reference.name());
  }
  void pull_started(const PullSubject& subject) override {
    seen.push_back("started " + subject.reference.name());
  }
  void pull_ended(const PullEnding& ending) override {
    seen.push_back((ending.failure ? "failed " : "ended ") + ending.subject.reference.name() + " for " +
                   std::to_string(ending.requests));
  }
  void image_removed(const std::string& id) override { seen.push_back("removed " + id); }

  std::vector<std::string> seen;
};

class AgentPullsTest : public ::testing::Test {
 protected:
  /// Makes pulls that end when the test says so.
  std::unique_ptr<AgentPulls> make(AgentPullLimits limits = {}) {
    RunAgentPull pull = [this](const AgentPullRequest& wanted, const std::string& snapshotter, PullShared&,
                               PullReport& report) { return work(wanted, snapshotter, report); };
    return std::make_unique<AgentPulls>(home.get_executor(), limits, "overlayfs", std::move(pull));
  }
  Awaitable<PulledImage> work(const AgentPullRequest& wanted, std::string snapshotter, PullReport& report) {
    begun.push_back(wanted.reference.name() + " " + snapshotter);
    report.reference = wanted.reference.name();
    std::exception_ptr failure;
    try {
      co_await go.wait();
    } catch (...) {
      failure = std::current_exception();
    }
    if (failure) {
      ++cancelled;
      std::rethrow_exception(failure);
    }
    if (failing) throw Error(Errc::not_found, "pull " + wanted.reference.name() + ": 404 Not Found");
    PulledImage image;
    image.image_id = Digest::sha256_of("config");
    image.target = Digest::sha256_of("manifest");
    co_return image;
  }
  void run(Awaitable<> body) { run_on(home, std::move(body)); }

  asio::io_context home{1};
  Event go{home.get_executor()};
  std::vector<std::string> begun;
  int cancelled = 0;
  bool failing = false;
};

TEST_F(AgentPullsTest, RequestsForTheSameImageShareOnePull) {
  const auto pulls = make();
  auto body = [&]() -> Awaitable<> {
    auto first = pulls->join(request("app:1"));
    auto second = pulls->join(request("docker.io/library/app:1"));
    EXPECT_FALSE(first.shared());
    EXPECT_TRUE(second.shared());
    EXPECT_EQ(second.state().waiters, 2U);
    go.set();
    const auto image = co_await first.wait();
    const auto same = co_await second.wait();
    EXPECT_EQ(image.image_id, Digest::sha256_of("config"));
    EXPECT_EQ(same.target, image.target);
  };
  run(body());
  EXPECT_THAT(begun, ElementsAre("docker.io/library/app:1 overlayfs"));
  EXPECT_EQ(pulls->ended(), 1U);
}

TEST_F(AgentPullsTest, OthersCredentialsPlatformsSnapshottersAndClassesAreNotShared) {
  const auto pulls = make();
  auto body = [&]() -> Awaitable<> {
    std::deque<PullTicket> tickets;
    tickets.push_back(pulls->join(request("app:1")));
    auto as_alice = request("app:1");
    as_alice.credentials = login("alice");
    tickets.push_back(pulls->join(as_alice));
    auto as_bob = request("app:1");
    as_bob.credentials = login("bob");
    tickets.push_back(pulls->join(as_bob));
    auto for_arm = request("app:1");
    for_arm.platform = Platform::parse("linux/arm64");
    tickets.push_back(pulls->join(for_arm));
    auto elsewhere = request("app:1");
    elsewhere.snapshotter = "stargz";
    tickets.push_back(pulls->join(elsewhere));
    tickets.push_back(pulls->join(request("app:1", PullClass::prewarm)));
    for (const auto& ticket : tickets) EXPECT_FALSE(ticket.shared());
    const auto again = pulls->join(as_alice);
    EXPECT_TRUE(again.shared());
    go.set();
    for (auto& ticket : tickets) {
      const auto image = co_await ticket.wait();
      EXPECT_FALSE(image.image_id.empty());
    }
  };
  run(body());
  EXPECT_THAT(begun, SizeIs(6));
}

TEST_F(AgentPullsTest, APullIsCancelledWhenItsLastWaiterGoes) {
  const auto pulls = make();
  auto body = [&]() -> Awaitable<> {
    std::optional<PullTicket> first(pulls->join(request("app:1")));
    std::optional<PullTicket> second(pulls->join(request("app:1")));
    co_await step(5);
    first.reset();
    co_await step(5);
    EXPECT_EQ(cancelled, 0);
    second.reset();
    co_await step(5);
    EXPECT_EQ(cancelled, 1);
    EXPECT_THAT(pulls->running(), IsEmpty());
  };
  run(body());
}

TEST_F(AgentPullsTest, WhoComesAfterACancelGetsAPullOfItsOwn) {
  const auto pulls = make();
  auto body = [&]() -> Awaitable<> {
    std::optional<PullTicket> first(pulls->join(request("app:1")));
    co_await step(5);
    first.reset();
    auto second = pulls->join(request("app:1"));
    EXPECT_FALSE(second.shared());
    go.set();
    const auto image = co_await second.wait();
    EXPECT_FALSE(image.image_id.empty());
  };
  run(body());
}

TEST_F(AgentPullsTest, ACancelledCallerLeavesThePullToTheOthers) {
  const auto pulls = make();
  auto body = [&]() -> Awaitable<> {
    auto patient = pulls->join(request("app:1"));
    std::exception_ptr failure;
    try {
      co_await with_deadline(pulls->pull(request("app:1")), 0ms, "impatient");
    } catch (...) {
      failure = std::current_exception();
    }
    EXPECT_EQ(as_error(failure).code(), Errc::timed_out);
    EXPECT_EQ(patient.state().waiters, 1U);
    go.set();
    const auto image = co_await patient.wait();
    EXPECT_FALSE(image.image_id.empty());
  };
  run(body());
  EXPECT_EQ(cancelled, 0);
}

TEST_F(AgentPullsTest, AllWhoShareAPullGetItsFailure) {
  const auto pulls = make();
  failing = true;
  auto body = [&]() -> Awaitable<> {
    auto first = pulls->join(request("app:1"));
    auto second = pulls->join(request("app:1"));
    go.set();
    for (auto* ticket : {&first, &second}) {
      std::exception_ptr failure;
      try {
        co_await ticket->wait();
      } catch (...) {
        failure = std::current_exception();
      }
      EXPECT_EQ(as_error(failure).code(), Errc::not_found);
    }
  };
  run(body());
}

TEST_F(AgentPullsTest, PrewarmingWaitsInALineOfItsOwn) {
  AgentPullLimits limits;
  limits.prewarm = 1;
  const auto pulls = make(limits);
  auto body = [&]() -> Awaitable<> {
    auto first = pulls->join(request("a:1", PullClass::prewarm));
    auto second = pulls->join(request("b:1", PullClass::prewarm));
    auto urgent = pulls->join(request("c:1"));
    co_await step(5);
    EXPECT_FALSE(first.state().queued);
    EXPECT_TRUE(second.state().queued);
    EXPECT_FALSE(urgent.state().queued);
    EXPECT_EQ(pulls->queue(PullClass::prewarm).waiting, 1U);
    EXPECT_EQ(pulls->queue(PullClass::serving).running, 1U);
    go.set();
    const auto image = co_await second.wait();
    EXPECT_FALSE(image.image_id.empty());
    co_await first.wait();
    co_await urgent.wait();
  };
  run(body());
}

TEST_F(AgentPullsTest, TooManyPullsAreRefused) {
  AgentPullLimits limits;
  limits.queued = 2;
  const auto pulls = make(limits);
  auto body = [&]() -> Awaitable<> {
    auto first = pulls->join(request("a:1"));
    auto second = pulls->join(request("b:1"));
    try {
      pulls->join(request("c:1"));
      ADD_FAILURE() << "it is not refused";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::too_many_requests);
    }
    EXPECT_TRUE(pulls->join(request("b:1")).shared());
    go.set();
    co_await first.wait();
    co_await second.wait();
  };
  run(body());
}

TEST_F(AgentPullsTest, DrainingRefusesNewPullsAndLetsOthersFinish) {
  const auto pulls = make();
  auto body = [&]() -> Awaitable<> {
    auto running = pulls->join(request("app:1"));
    co_await step(5);
    pulls->stop_taking();
    EXPECT_TRUE(pulls->draining());
    for (const auto* image : {"app:1", "other:1"}) {
      try {
        pulls->join(request(image));
        ADD_FAILURE() << image << " is not refused";
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), Errc::unavailable);
        EXPECT_THAT(error.message(), HasSubstr(image));
      }
    }
    go.set();
    co_await pulls->drain(1h);
    const auto image = co_await running.wait();
    EXPECT_FALSE(image.image_id.empty());
  };
  run(body());
  EXPECT_EQ(cancelled, 0);
}

TEST_F(AgentPullsTest, DrainingCancelsWhatTakesTooLong) {
  const auto pulls = make();
  auto body = [&]() -> Awaitable<> {
    auto running = pulls->join(request("app:1"));
    co_await step(5);
    co_await pulls->drain(0ms);
    EXPECT_TRUE(running.ended());
    std::exception_ptr failure;
    try {
      co_await running.wait();
    } catch (...) {
      failure = std::current_exception();
    }
    EXPECT_EQ(as_error(failure).code(), Errc::cancelled);
  };
  run(body());
  EXPECT_EQ(cancelled, 1);
  EXPECT_THAT(pulls->running(), IsEmpty());
}

TEST_F(AgentPullsTest, ADrainThatIsCancelledCancelsTheRestAtOnce) {
  const auto pulls = make();
  auto body = [&]() -> Awaitable<> {
    auto running = pulls->join(request("app:1"));
    co_await step(5);
    std::exception_ptr failure;
    try {
      co_await with_deadline(pulls->drain(1h), 0ms, "hurry");
    } catch (...) {
      failure = std::current_exception();
    }
    EXPECT_EQ(as_error(failure).code(), Errc::timed_out);
    EXPECT_TRUE(running.ended());
  };
  run(body());
  EXPECT_EQ(cancelled, 1);
}

TEST_F(AgentPullsTest, ObserversSeeEachPullOnceAndEachRequest) {
  const auto pulls = make();
  Witness witness;
  pulls->add_observer(witness);
  auto body = [&]() -> Awaitable<> {
    auto first = pulls->join(request("app:1"));
    auto second = pulls->join(request("app:1"));
    go.set();
    co_await first.wait();
    co_await second.wait();
  };
  run(body());
  pulls->image_removed("sha256:0");
  const std::string name = "docker.io/library/app:1";
  EXPECT_THAT(witness.seen, ElementsAre("asked " + name, "started " + name, "joined " + name,
                                        "ended " + name + " for 2", "removed sha256:0"));
}

}  // namespace
}  // namespace lazypull
