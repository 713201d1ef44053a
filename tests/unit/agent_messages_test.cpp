#include "tools/agent/agent_messages.hpp"

#include "engine/error.hpp"
#include "tests/support/coroutine.hpp"
#include "tools/agent/agent_prewarm.hpp"
#include "tools/agent/debug_output.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace lazypull {
namespace {

namespace api = agent::v1;
using testing::HasSubstr;
using testing::Not;

Errc refusal(const std::function<void()>& attempt) {
  try {
    attempt();
  } catch (const Error& error) {
    return error.code();
  }
  return Errc::internal;
}

TEST(AgentMessagesTest, APullRequestIsReadWithItsRankAndCredentials) {
  api::PullRequest message;
  message.set_reference("registry.example.com/app:1");
  message.set_pull_class(api::PULL_CLASS_PREWARM);
  message.set_priority(7);
  message.set_platform("linux/arm64");
  message.mutable_credentials()->set_username("alice");
  message.mutable_credentials()->set_password("secret");
  const auto request = pull_request(message);
  EXPECT_EQ(request.reference.name(), "registry.example.com/app:1");
  EXPECT_EQ(request.rank, (PullRank{PullClass::prewarm, 7}));
  EXPECT_EQ(request.platform, Platform::parse("linux/arm64"));
  EXPECT_EQ(request.credentials.value().username, "alice");
}

TEST(AgentMessagesTest, APullRequestWithoutMoreIsForSomebodyWhoWaits) {
  api::PullRequest message;
  message.set_reference("app");
  const auto request = pull_request(message);
  EXPECT_EQ(request.rank, PullRank());
  EXPECT_FALSE(request.platform.has_value());
  EXPECT_FALSE(request.credentials.has_value());
}

TEST(AgentMessagesTest, RequestsThatMakeNoSenseAreRefused) {
  api::PullRequest message;
  EXPECT_EQ(refusal([&] { pull_request(message); }), Errc::invalid_argument);
  message.set_reference("app");
  message.set_priority(1001);
  EXPECT_EQ(refusal([&] { pull_request(message); }), Errc::invalid_argument);
  message.set_priority(0);
  message.set_pull_class(static_cast<api::PullClass>(9));
  EXPECT_EQ(refusal([&] { pull_request(message); }), Errc::invalid_argument);
  message.set_pull_class(api::PULL_CLASS_SERVING);
  message.set_platform("a/b/c/d/e");
  EXPECT_EQ(refusal([&] { pull_request(message); }), Errc::invalid_argument);
}

TEST(AgentMessagesTest, APrewarmRequestHasAtLeastOneImageAndNotTooMany) {
  api::PrewarmRequest message;
  EXPECT_EQ(refusal([&] { prewarm_items(message); }), Errc::invalid_argument);
  for (int i = 0; i < 10'000; ++i) message.add_items()->set_reference("app:" + std::to_string(i));
  EXPECT_EQ(prewarm_items(message).size(), 10'000U);
  message.add_items()->set_reference("app:one-too-many");
  EXPECT_EQ(refusal([&] { prewarm_items(message); }), Errc::invalid_argument);
}

TEST(AgentMessagesTest, LiveSpansBecomeATree) {
  std::vector<LiveSpan> spans(4);
  spans[0].name = "pull";
  spans[0].object = "app:1";
  spans[1].name = "layers";
  spans[1].depth = 1;
  spans[2].name = "download";
  spans[2].depth = 2;
  spans[3].name = "pull";
  spans[3].object = "app:2";
  api::DebugResponse response;
  fill_tasks(*response.mutable_tasks(), spans);
  ASSERT_EQ(response.tasks_size(), 2);
  EXPECT_EQ(response.tasks(0).object(), "app:1");
  EXPECT_EQ(response.tasks(0).children(0).children(0).name(), "download");
  EXPECT_EQ(response.tasks(1).object(), "app:2");
  EXPECT_EQ(response.tasks(1).children_size(), 0);
}

TEST(AgentMessagesTest, ATreeIsNoDeeperThanClientsRead) {
  std::vector<LiveSpan> spans(500);
  for (std::size_t i = 0; i < spans.size(); ++i) spans[i].depth = i;
  api::DebugResponse response;
  fill_tasks(*response.mutable_tasks(), spans);
  api::DebugResponse read;
  EXPECT_TRUE(read.ParseFromString(response.SerializeAsString()));
}

TEST(AgentMessagesTest, ObjectsThatAreNoUtf8StillMakeAMessage) {
  std::vector<LiveSpan> spans(1);
  spans[0].object = "a\xff\x1b[2J";
  api::DebugResponse response;
  fill_tasks(*response.mutable_tasks(), spans);
  EXPECT_THAT(response.tasks(0).object(), Not(HasSubstr("\x1b")));
  EXPECT_FALSE(response.SerializeAsString().empty());
}

TEST(DebugOutputTest, EachTaskIsALineBelowItsParentAndLeavesAreMarked) {
  Tracer tracer(TraceMode::live);
  const Span pull(tracer.root(), "pull", "pull", "app:1");
  const Span layers(pull.point(), "layers", "phase");
  const Span download(layers.point(), "download", "layer", "sha256:0\n1");
  const auto text = task_tree(tracer);
  EXPECT_THAT(text, HasSubstr(" s  - pull app:1 [pull]\n"));
  EXPECT_THAT(text, HasSubstr(" s    - layers [phase]\n"));
  EXPECT_THAT(text, HasSubstr(" s      * download sha256:0 1 [layer]\n"));
}

/// Images by name: those with "missing" in it fail.
class AgentPrewarmTest : public ::testing::Test {
 protected:
  static Awaitable<PulledImage> pull(const AgentPullRequest& request, PullReport& report) {
    co_await test::step(3);
    if (request.reference.name().find("missing") != std::string::npos) {
      throw Error(Errc::not_found, "pull " + request.reference.name() + ": no such image");
    }
    report.metadata_bytes = 100;
    co_return PulledImage{Digest::parse("sha256:" + std::string(64, 'a')),
                          Digest::parse("sha256:" + std::string(64, 'b'))};
  }
  static std::vector<PrewarmItem> items(const std::vector<std::string>& names) {
    api::PrewarmRequest message;
    for (const auto& name : names) message.add_items()->set_reference(name);
    return prewarm_items(message);
  }

  asio::io_context home{1};
  AgentPulls pulls{home.get_executor(), AgentPullLimits(), "overlayfs",
                   [](const AgentPullRequest& request, const std::string&, PullShared&, PullReport& report) {
                     return pull(request, report);
                   }};
};

TEST_F(AgentPrewarmTest, TheSummaryHasEveryImageInItsOrder) {
  AgentPrewarm run(home.get_executor(), pulls, items({"app:1", "missing:1", "app:2"}), PrewarmOptions());
  test::run_on(home, run.run());
  EXPECT_TRUE(run.ended());
  api::PrewarmSummary summary;
  EXPECT_EQ(run.fill_summary(summary, 0), 3U);
  ASSERT_EQ(summary.images_size(), 3);
  EXPECT_EQ(summary.images(0).state(), "ready");
  EXPECT_EQ(summary.images(0).fetched_bytes(), 100U);
  EXPECT_EQ(summary.images(1).state(), "failed");
  EXPECT_EQ(summary.images(1).error_kind(), "not found");
  EXPECT_EQ(summary.images(2).reference(), "docker.io/library/app:2");
  EXPECT_TRUE(summary.complete());
  EXPECT_EQ(pulls.ended(), 3U);
}

TEST_F(AgentPrewarmTest, AnImageThatIsThereTwiceIsPulledOnceAndItsBytesAreCountedOnce) {
  AgentPrewarm run(home.get_executor(), pulls, items({"app:1", "app:1"}), PrewarmOptions());
  test::run_on(home, run.run());
  api::PrewarmProgress progress;
  run.fill(progress);
  EXPECT_EQ(progress.ready(), 2U);
  EXPECT_EQ(progress.fetched_bytes(), 100U);
  EXPECT_EQ(pulls.ended(), 1U);
}

TEST_F(AgentPrewarmTest, ALongSummaryComesInParts) {
  std::vector<std::string> names;
  for (int i = 0; i < 2500; ++i) names.push_back("app:" + std::to_string(i));
  AgentPrewarm run(home.get_executor(), pulls, items(names), PrewarmOptions());
  test::run_on(home, run.run());
  std::size_t parts = 0;
  std::size_t images = 0;
  bool complete = false;
  for (std::size_t next = 0; next < run.size(); ++parts) {
    EXPECT_FALSE(complete);
    api::PrewarmSummary summary;
    next = run.fill_summary(summary, next);
    images += static_cast<std::size_t>(summary.images_size());
    complete = summary.complete();
  }
  EXPECT_EQ(parts, 3U);
  EXPECT_EQ(images, 2500U);
  EXPECT_TRUE(complete);
}

}  // namespace
}  // namespace lazypull
