// What a pull leaves behind that is stopped in the middle, and that the next one goes on from there.

#include "tests/integration/support/containerd_state.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/lazypull.hpp"
#include "tests/integration/support/registry.hpp"
#include "tests/support/scripted_server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <thread>

namespace lazypull::test {
namespace {

using std::chrono::milliseconds;
using testing::IsEmpty;
using Clock = std::chrono::steady_clock;

/// Large enough that a signal finds the pull at work: random bytes, and many files to unpack.
Image large_image() {
  ImageBuilder builder;
  for (std::uint64_t i = 0; i < 4; ++i) {
    std::vector<tar::Entry> files{tar::directory("d" + std::to_string(i))};
    for (int j = 0; j < 200; ++j) {
      files.push_back(tar::file("d" + std::to_string(i) + "/" + std::to_string(j), std::string(2000, 'x')));
    }
    files.push_back(tar::file("noise" + std::to_string(i), tar::noise(30'000'000, i)));
    builder.layer(files);
  }
  return builder.build();
}

class Interrupted : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    registry = new Registry;
    image = new Image(large_image());
    reference = new std::string(registry->store(*image, "large:1"));
  }
  static void TearDownTestSuite() {
    delete reference;
    delete image;
    delete registry;
  }

  void expect_nothing_active() {
    const auto state = read_state(containerd);
    EXPECT_THAT(state.leases, IsEmpty());
    EXPECT_THAT(state.images, IsEmpty());
    for (const auto& [name, snapshot] : state.snapshots) EXPECT_EQ(snapshot.kind, "committed") << name;
  }

  static Registry* registry;
  static Image* image;
  static std::string* reference;
  Containerd containerd;
};
Registry* Interrupted::registry = nullptr;
Image* Interrupted::image = nullptr;
std::string* Interrupted::reference = nullptr;

TEST_F(Interrupted, SignalsEndThePullWithinASecondAndLeaveNothingActive) {
  struct Case {
    int signal;
    int exit_code;
    int after_ms;
  };
  for (const auto& [signal, exit_code, after_ms] :
       {Case{SIGINT, 130, 60}, Case{SIGTERM, 143, 150}, Case{SIGINT, 130, 300}, Case{SIGINT, 130, 500}}) {
    auto process = Lazypull(containerd).start({"pull", *reference});
    std::this_thread::sleep_for(milliseconds(after_ms));
    const auto start = Clock::now();
    process.signal(signal);
    const auto ended = process.wait(std::chrono::seconds(30));
    const auto took = Clock::now() - start;
    ASSERT_TRUE(ended.has_value());
    if (*ended == 0) break;  // it was faster than the signal
    EXPECT_EQ(*ended, exit_code) << process.err();
    EXPECT_LT(took, milliseconds(1500)) << "after " << after_ms << " ms";
    expect_nothing_active();
  }
}

TEST_F(Interrupted, TheTotalTimeLimitEndsThePull) {
  const auto outcome = Lazypull(containerd).run({"--timeout", "100ms", "pull", *reference});
  EXPECT_EQ(outcome.process.exit_code, 124) << outcome.process.err;
  EXPECT_EQ(outcome.error_code(), "timeout");
  expect_nothing_active();
}

TEST_F(Interrupted, TheNextPullCompletesTheImage) {
  auto process = Lazypull(containerd).start({"pull", *reference});
  std::this_thread::sleep_for(milliseconds(250));
  process.signal(SIGINT);
  ASSERT_TRUE(process.wait(std::chrono::seconds(30)).has_value());
  const auto outcome = Lazypull(containerd).run_ok({"pull", *reference});
  EXPECT_EQ(outcome.process.exit_code, 0);
  collect_garbage(containerd);
  const auto state = read_state(containerd);
  EXPECT_THAT(state.leases, IsEmpty());
  EXPECT_THAT(state.ingests, IsEmpty());
  EXPECT_EQ(state.snapshots.size(), 4U);
  EXPECT_EQ(state.content.size(), 4U + 2U);
}

TEST_F(Interrupted, TheNextPullGoesOnFromThePartialIngest) {
  const auto small = ImageBuilder().layer({tar::file("noise", tar::noise(6'000'000))}).build();
  const auto& layer = small.layers[0];
  constexpr std::size_t sent = 4'000'000;
  ScriptedServer server;
  for (const auto& [digest, bytes] : small.blobs) {
    if (digest != layer.digest && digest != small.digest)
      server.on("GET /v2/app/blobs/" + digest, ScriptedResponse(200, bytes));
  }
  const ScriptedResponse manifest(
      200, small.blobs.at(small.digest),
      {{"Content-Type", small.media_type}, {"Docker-Content-Digest", small.digest}});
  for (const auto* request : {"HEAD /v2/app/manifests/1", "GET /v2/app/manifests/1"})
    server.on(request, manifest);
  server.on("GET /v2/app/manifests/" + small.digest, manifest);
  const std::string blob = "GET /v2/app/blobs/" + layer.digest;
  ScriptedResponse stalls(200, layer.blob);
  stalls.stall_after = sent;
  server.on(blob, stalls);
  server.on(blob, [&layer](const ScriptedRequest& request) {
    const auto range = request.header("Range");
    if (range.empty()) return ScriptedResponse(200, layer.blob);
    const auto from = std::stoul(range.substr(std::string("bytes=").size()));
    return ScriptedResponse(
        206, layer.blob.substr(from),
        {{"Content-Range", "bytes " + std::to_string(from) + "-" + std::to_string(layer.blob.size() - 1) +
                               "/" + std::to_string(layer.blob.size())}});
  });

  auto process = Lazypull(containerd).start({"pull", server.host() + "/app:1"});
  ASSERT_TRUE(server.wait_for_request(blob));
  wait_until(
      [&] {
        const auto ingests = read_state(containerd).ingests;
        return !ingests.empty() && ingests.begin()->second.offset >= 2'000'000;
      },
      "the first part to arrive");
  process.signal(SIGINT);
  EXPECT_EQ(process.wait(std::chrono::seconds(30)), 130) << process.err();
  expect_nothing_active();

  const auto outcome = Lazypull(containerd).run_ok({"pull", server.host() + "/app:1"});
  EXPECT_LT(outcome.total("fetchedBytes"), static_cast<std::int64_t>(layer.blob.size()) - 2'000'000);
  EXPECT_TRUE(server.requests(blob).back().header("Range").starts_with("bytes="));
}

TEST_F(Interrupted, AKilledPullHoldsNothingUpForTheNextOne) {
  auto process = Lazypull(containerd).start({"pull", *reference});
  std::this_thread::sleep_for(milliseconds(250));
  process.signal(SIGKILL);
  ASSERT_TRUE(process.wait(std::chrono::seconds(30)).has_value());
  Lazypull(containerd).run_ok({"pull", *reference});
  EXPECT_EQ(read_state(containerd).images.size(), 1U);
}

TEST_F(Interrupted, TwoPullsOfOneImageAtTheSameTimeBothSucceed) {
  auto first = Lazypull(containerd).start({"pull", *reference});
  const auto second = Lazypull(containerd).run({"pull", *reference});
  EXPECT_EQ(second.process.exit_code, 0) << second.process.err;
  EXPECT_EQ(first.wait(std::chrono::seconds(60)), 0) << first.err();
  collect_garbage(containerd);
  const auto state = read_state(containerd);
  EXPECT_EQ(state.snapshots.size(), 4U);
  EXPECT_THAT(state.leases, IsEmpty());
}

}  // namespace
}  // namespace lazypull::test
