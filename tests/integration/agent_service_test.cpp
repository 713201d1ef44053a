// The node agent as clients see it that were not written here: every RPC of its services through Python's
// gRPC library and server reflection, its metrics against the registry's log, and its debug output while a
// pull stalls.

#include "tests/integration/support/agent_process.hpp"
#include "tests/integration/support/containerd_state.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/registry.hpp"

#include <boost/json/serialize.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <set>
#include <string>

namespace lazypull::test {
namespace {

namespace json = boost::json;
using testing::AnyOf;
using testing::Contains;
using testing::Each;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::UnorderedElementsAre;

constexpr const char* cri = "runtime.v1.ImageService/";
constexpr const char* own = "lazypull.agent.v1.Agent/";

/// 64-bit numbers are strings in protobuf's JSON, and zeros are left out.
std::uint64_t number(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  if (value == nullptr) return 0;
  return value->is_string() ? std::stoull(std::string(value->as_string()))
                            : value->to_number<std::uint64_t>();
}

std::string text(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value == nullptr ? std::string() : std::string(value->as_string());
}

const json::object& last(const GenericAnswer& answer) {
  return answer.messages.at(answer.messages.size() - 1).as_object();
}

json::object image_spec(const std::string& image) {
  return {{"image", json::object{{"image", image}}}};
}

Layer noise_layer(const std::string& name, std::uint64_t seed, std::size_t size) {
  return make_layer({tar::directory(name), tar::file(name + "/noise", tar::noise(size, seed))});
}

class AgentServiceTest : public ::testing::Test {
 protected:
  /// Images that share their lowest layer.
  Image image(std::uint64_t seed, std::size_t size = 300'000) {
    auto built =
        ImageBuilder().layer(noise_layer("base", 1, 500'000)).layer(noise_layer("own", seed, size)).build();
    for (const auto& layer : built.layers) layers[layer.digest] = layer.blob.size();
    return built;
  }
  std::string store(std::uint64_t seed, std::size_t size = 300'000) {
    return registry.store(image(seed, size), "app" + std::to_string(seed) + ":1");
  }
  GenericAnswer call(const std::string& method, json::object request = {}) {
    return client.call({method, std::move(request)});
  }
  /// So that a pull begins and does not get on.
  void stall() {
    const json::object slow{{"pull_class", "PULL_CLASS_SERVING"}, {"bytes_per_second", 1000}};
    ASSERT_EQ(call(std::string(own) + "SetBandwidth", {{"bandwidths", json::array{slow}}}).code, "OK");
  }
  json::object status() { return last(call(std::string(own) + "Status")); }

  std::map<std::string, std::size_t> layers;
  Registry registry;
  Containerd containerd;
  AgentProcess agent{containerd};
  GenericClient client{agent.target()};
};

TEST_F(AgentServiceTest, ReflectionNamesTheServicesAndHealthIsServing) {
  EXPECT_THAT(client.services(), Contains("runtime.v1.ImageService"));
  EXPECT_THAT(client.services(), Contains("lazypull.agent.v1.Agent"));
  for (const std::string service : {"", "runtime.v1.ImageService", "lazypull.agent.v1.Agent"}) {
    const auto answer = call("grpc.health.v1.Health/Check", {{"service", service}});
    EXPECT_EQ(answer.code, "OK") << service << ": " << answer.details;
    EXPECT_EQ(text(last(answer), "status"), "SERVING") << service;
  }
}

TEST_F(AgentServiceTest, EveryRpcOfTheImageServiceAnswersAGenericClient) {
  EXPECT_THAT(
      client.methods("runtime.v1.ImageService"),
      testing::IsSupersetOf({"ListImages", "ImageStatus", "PullImage", "RemoveImage", "ImageFsInfo"}));
  const auto reference = store(10);
  const auto pulled = call(std::string(cri) + "PullImage", image_spec(reference));
  ASSERT_EQ(pulled.code, "OK") << pulled.details;
  const auto id = text(last(pulled), "image_ref");
  std::set<std::string> driven{"PullImage"};
  for (const auto& method : client.methods("runtime.v1.ImageService")) {
    if (driven.contains(method) || method == "RemoveImage") continue;
    const auto request = method == "ImageStatus" ? image_spec(reference) : json::object{};
    const auto answer = call(cri + method, request);
    EXPECT_EQ(answer.code, "OK") << method << ": " << answer.details;
    EXPECT_THAT(answer.messages, Not(IsEmpty())) << method;
    if (method == "ImageStatus") EXPECT_EQ(text(last(answer).at("image").as_object(), "id"), id);
    if (method == "ListImages") EXPECT_EQ(text(last(answer).at("images").at(0).as_object(), "id"), id);
    if (method == "ImageFsInfo") EXPECT_THAT(last(answer).at("image_filesystems").as_array(), SizeIs(1));
  }
  EXPECT_EQ(call(std::string(cri) + "RemoveImage", image_spec(reference)).code, "OK");
  EXPECT_THAT(read_state(containerd, "overlayfs", "k8s.io").images, IsEmpty());
}

TEST_F(AgentServiceTest, EveryRpcOfTheAgentsOwnServiceAnswersAGenericClient) {
  EXPECT_THAT(
      client.methods("lazypull.agent.v1.Agent"),
      UnorderedElementsAre("Pull", "Prewarm", "Status", "ListPulls", "SetBandwidth", "Reload", "Debug"));
  for (const std::string method : {"Status", "ListPulls", "SetBandwidth", "Reload", "Debug"}) {
    const auto answer = call(own + method);
    EXPECT_EQ(answer.code, "OK") << method << ": " << answer.details;
    EXPECT_THAT(answer.messages, SizeIs(1)) << method;
  }
  EXPECT_EQ(text(status(), "snapshotter"), "overlayfs");
}

TEST_F(AgentServiceTest, APullStreamsItsStatesAndEndsWithItsResult) {
  const auto reference = store(20, 3'000'000);
  const auto answer = call(std::string(own) + "Pull", {{"reference", reference}});
  ASSERT_EQ(answer.code, "OK") << answer.details;
  ASSERT_GE(answer.messages.size(), 2U);
  const auto& end = last(answer);
  const auto& state = end.at("state").as_object();
  EXPECT_EQ(text(state, "phase"), "done");
  EXPECT_EQ(text(state, "reference"), reference);
  ASSERT_THAT(state.at("layers").as_array(), SizeIs(2));
  std::uint64_t sum = 0;
  for (const auto& layer : state.at("layers").as_array()) {
    EXPECT_EQ(layer.at("decision"), "download");
    EXPECT_EQ(layer.at("state"), "done");
    sum += number(layer.as_object(), "bytes_fetched");
  }
  EXPECT_EQ(sum, layers.begin()->second + layers.rbegin()->second);
  EXPECT_THAT(text(end.at("result").as_object(), "image_ref"), HasSubstr("sha256:"));
  std::uint64_t before = 0;
  for (const auto& message : answer.messages) {
    const auto now = number(message.at("state").as_object(), "fetched_bytes");
    EXPECT_GE(now, before);
    before = now;
  }
}

TEST_F(AgentServiceTest, APullThatFailsEndsWithAStatusThatNamesTheImage) {
  const auto missing = registry.reference("missing:1");
  const auto answer = call(std::string(own) + "Pull", {{"reference", missing}});
  EXPECT_EQ(answer.code, "NOT_FOUND");
  EXPECT_THAT(answer.details, HasSubstr(missing));
  const auto wrong = call(std::string(own) + "Pull", {{"reference", "UPPER/Case"}});
  EXPECT_EQ(wrong.code, "INVALID_ARGUMENT");
  const auto priority = call(std::string(own) + "Pull", {{"reference", missing}, {"priority", 2000}});
  EXPECT_EQ(priority.code, "INVALID_ARGUMENT");
}

TEST_F(AgentServiceTest, PrewarmPullsAllAndSaysWhatBecameOfEach) {
  json::array items;
  for (std::uint64_t i = 0; i < 5; ++i) {
    const auto reference = store(30 + i);
    items.push_back({{"reference", reference}, {"priority", static_cast<std::int64_t>(i)}});
  }
  items.push_back({{"reference", registry.reference("missing:1")}});
  const auto answer = call(std::string(own) + "Prewarm", {{"items", items}});
  ASSERT_EQ(answer.code, "OK") << answer.details;
  const auto& end = last(answer);
  EXPECT_EQ(number(end, "total"), 6U);
  EXPECT_EQ(number(end, "ready"), 5U);
  EXPECT_EQ(number(end, "failed"), 1U);
  const auto& images = end.at("summary").at("images").as_array();
  ASSERT_THAT(images, SizeIs(6));
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(images.at(i).at("state"), "ready");
  EXPECT_EQ(images.at(5).at("error_kind"), "not found");
  EXPECT_THAT(text(images.at(5).as_object(), "error"), HasSubstr("missing:1"));
  EXPECT_TRUE(end.at("summary").at("complete").as_bool());
  // The base is fetched once, however many share it.
  auto fetched = registry.fetched_blobs("lazypull");
  std::erase_if(fetched, [&](const auto& digest) { return !layers.contains(digest); });
  EXPECT_THAT(fetched, SizeIs(6));
  EXPECT_EQ(call(std::string(own) + "Prewarm").code, "INVALID_ARGUMENT");
}

TEST_F(AgentServiceTest, ASlowReaderGetsTheNewestStateAndNotABacklog) {
  const auto reference = store(40, 6'000'000);
  const json::object slow{{"pull_class", "PULL_CLASS_SERVING"}, {"bytes_per_second", 4'000'000}};
  ASSERT_EQ(call(std::string(own) + "SetBandwidth", {{"bandwidths", json::array{slow}}}).code, "OK");
  GenericCall pull{std::string(own) + "Pull", {{"reference", reference}}};
  pull.pause = 4;
  const auto answer = client.call(pull);
  ASSERT_EQ(answer.code, "OK") << answer.details;
  EXPECT_EQ(text(last(answer).at("state").as_object(), "phase"), "done");
  // Small states fit into what the transport takes in advance; one a change, and no more.
  EXPECT_LT(answer.messages.size(), 40U);
}

TEST_F(AgentServiceTest, MetricsAddUpWithWhatTheRegistryHasServed) {
  registry.reset_log();
  for (std::uint64_t i = 0; i < 3; ++i) {
    ASSERT_EQ(call(std::string(cri) + "PullImage", image_spec(store(50 + i))).code, "OK");
  }
  ASSERT_EQ(call(std::string(cri) + "PullImage", image_spec(registry.reference("app50:1"))).code, "OK");
  EXPECT_EQ(call(std::string(cri) + "PullImage", image_spec(registry.reference("missing:1"))).code,
            "NOT_FOUND");
  ASSERT_EQ(call(std::string(cri) + "RemoveImage", image_spec(registry.reference("app50:1"))).code, "OK");
  std::uint64_t layer_bytes = 0;
  for (const auto& [digest, size] : layers) layer_bytes += size;
  const auto requests = registry.requests("lazypull");
  std::uint64_t body_bytes = 0;
  for (const auto& request : requests) {
    if (request.method == "GET") body_bytes += request.bytes;
  }
  const auto metrics = agent.scrape();
  EXPECT_EQ(metrics(R"(lazypull_pull_requests_total{shared="false"})"), 5);
  EXPECT_EQ(metrics.sum("lazypull_pull_requests_total"), 5);
  EXPECT_EQ(metrics(R"(lazypull_pulls_total{class="serving",result="ok"})"), 4);
  EXPECT_EQ(metrics(R"(lazypull_pulls_total{class="serving",result="failed"})"), 1);
  EXPECT_EQ(metrics.sum("lazypull_pulls_total"), metrics.sum("lazypull_pulls_started_total"));
  EXPECT_EQ(metrics(R"(lazypull_errors_total{host=")" + registry.host() + R"(",kind="not_found"})"), 1);
  EXPECT_EQ(metrics(R"(lazypull_fetched_bytes_total{kind="layer"})"), layer_bytes);
  EXPECT_EQ(metrics.sum("lazypull_registry_body_bytes_total"), body_bytes);
  EXPECT_EQ(metrics.sum("lazypull_registry_requests_total"), requests.size());
  EXPECT_EQ(metrics(R"(lazypull_layers_total{decision="download"})"), 4);
  EXPECT_EQ(metrics(R"(lazypull_layers_total{decision="exists"})"), 4);
  // The base twice, and both layers of the image that was there.
  const auto base = image(50).layers.front().blob.size();
  const auto top = image(50).layers.back().blob.size();
  EXPECT_EQ(metrics("lazypull_avoided_bytes_total"), 3 * base + top);
  EXPECT_EQ(metrics("lazypull_images_removed_total"), 1);
  EXPECT_EQ(metrics(R"(lazypull_pull_duration_seconds_count{class="serving",result="ok"})"), 4);
  EXPECT_EQ(metrics(R"(lazypull_queue{queue="downloads",state="running"})"), 0);
  EXPECT_EQ(metrics("lazypull_live_tasks"), 0);
  EXPECT_GT(metrics("process_open_fds"), 5);
}

TEST_F(AgentServiceTest, EachPullHasALineAtItsStartAndOneAtItsEnd) {
  const auto reference = store(60);
  ASSERT_EQ(call(std::string(cri) + "PullImage", image_spec(reference)).code, "OK");
  call(std::string(cri) + "PullImage", image_spec(registry.reference("missing:1")));
  const auto started = agent.log_lines("pull started");
  ASSERT_THAT(started, SizeIs(2));
  EXPECT_EQ(text(started[0], "reference"), reference);
  const auto ended = agent.log_lines("pull ended");
  ASSERT_THAT(ended, SizeIs(1));
  EXPECT_EQ(text(ended[0], "reference"), reference);
  EXPECT_EQ(number(ended[0], "layers"), 2U);
  EXPECT_EQ(number(ended[0], "downloaded_layers"), 2U);
  EXPECT_THAT(text(ended[0], "digest"), HasSubstr("sha256:"));
  const auto failed = agent.log_lines("pull failed");
  ASSERT_THAT(failed, SizeIs(1));
  EXPECT_EQ(text(failed[0], "error_kind"), "not found");
}

TEST_F(AgentServiceTest, DebugShowsWhatAPullThatStallsWaitsFor) {
  const auto reference = store(70, 2'000'000);
  const auto top = image(70, 2'000'000).layers.back().digest;
  stall();
  auto pull = client.start({std::string(own) + "Pull", {{"reference", reference}}});
  wait_until([&] { return agent.debug_tasks().find(top) != std::string::npos; },
             "the layer to be downloaded");

  const auto page = agent.debug_tasks();
  EXPECT_THAT(page, HasSubstr(reference));
  EXPECT_THAT(page, HasSubstr("downloads: "));
  EXPECT_THAT(page, HasSubstr("* "));

  const auto debug = call(std::string(own) + "Debug");
  ASSERT_EQ(debug.code, "OK") << debug.details;
  const auto tree = json::serialize(last(debug).at("tasks"));
  EXPECT_THAT(tree, HasSubstr(reference));
  EXPECT_THAT(tree, HasSubstr(top));
  EXPECT_THAT(tree, HasSubstr("\"children\""));
  const auto listed = call(std::string(own) + "ListPulls");
  ASSERT_THAT(last(listed).at("pulls").as_array(), SizeIs(1));
  EXPECT_EQ(last(listed).at("pulls").at(0).at("phase"), "layers");
  EXPECT_EQ(number(status(), "pulls_running"), 1U);
  EXPECT_GT(agent.scrape()("lazypull_live_tasks"), 0);

  // The client goes, and with it the pull and all its tasks.
  pull.kill();
  wait_until([&] { return number(status(), "pulls_running") == 0; }, "the pull to be cancelled");
  wait_until([&] { return agent.scrape()("lazypull_live_tasks") == 0; }, "all tasks to end");
  EXPECT_EQ(agent.scrape()(R"(lazypull_pulls_total{class="serving",result="cancelled"})"), 1);
  EXPECT_THAT(read_state(containerd, "overlayfs", "k8s.io").leases, IsEmpty());
}

TEST_F(AgentServiceTest, ABandwidthIsChangedForWhatIsUnderWay) {
  const auto reference = store(80, 2'000'000);
  stall();
  auto pull = client.start({std::string(own) + "Pull", {{"reference", reference}}});
  wait_until([&] { return number(status(), "pulls_running") == 1; }, "the pull to begin");
  const json::object free{{"pull_class", "PULL_CLASS_SERVING"}};
  const auto answer = call(std::string(own) + "SetBandwidth", {{"bandwidths", json::array{free}}});
  ASSERT_EQ(answer.code, "OK");
  EXPECT_THAT(last(answer).at("bandwidths").as_array(), SizeIs(2));
  EXPECT_EQ(pull.wait(std::chrono::seconds(20)), 0);
  EXPECT_THAT(pull.out(), HasSubstr("\"code\": \"OK\""));
  const auto unnamed = call(std::string(own) + "SetBandwidth", {{"bandwidths", json::array{json::object{}}}});
  EXPECT_EQ(unnamed.code, "INVALID_ARGUMENT");
}

TEST_F(AgentServiceTest, CredentialsAreInNoLogAndInNoAnswer) {
  RegistryOptions options;
  options.basic = Credentials{"alice", "open-sesame-9"};
  Registry locked(options);
  const auto reference = locked.store(image(90), "secret:1");
  auto request = image_spec(reference);
  request["auth"] = json::object{{"username", "alice"}, {"password", "open-sesame-9"}};
  ASSERT_EQ(call(std::string(cri) + "PullImage", request).code, "OK");
  request["auth"] = json::object{{"username", "alice"}, {"password", "wrong-guess-7"}};
  request["image"] = json::object{{"image", locked.reference("other:1")}};
  const auto refused = call(std::string(cri) + "PullImage", request);
  EXPECT_NE(refused.code, "OK");
  for (const std::string secret : {"open-sesame-9", "wrong-guess-7", "b3Blbi1zZXNhbWUt"}) {
    EXPECT_THAT(agent.log(), Not(HasSubstr(secret)));
    EXPECT_THAT(refused.details, Not(HasSubstr(secret)));
  }
}

TEST_F(AgentServiceTest, ADebugAddressThatOtherHostsReachIsRefused) {
  TempDir folder("config");
  write_file(folder / "agent.toml", "socket = \"" + (folder / "agent.sock").string() +
                                        "\"\n[containerd]\naddress = \"" + containerd.socket().string() +
                                        "\"\n[debug]\naddress = \"0.0.0.0:0\"\n");
  const auto result = run({LAZYPULL_BINARY, "agent", "--config", folder / "agent.toml"});
  EXPECT_NE(result.exit_code, 0);
  EXPECT_THAT(result.err, HasSubstr("debug.address"));
}

}  // namespace
}  // namespace lazypull::test
