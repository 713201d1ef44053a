// The node agent's CRI image service against real peers: containerd's own CRI plugin sees its images, as if
// it had pulled them itself, and runs them in pods.

#include "tests/integration/support/agent_process.hpp"
#include "tests/integration/support/containerd_state.hpp"
#include "tests/integration/support/cri_client.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/push.hpp"
#include "tests/integration/support/registry.hpp"
#include "tests/integration/support/token_server.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <string>

namespace lazypull::test {
namespace {

namespace json = boost::json;
using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::UnorderedElementsAre;

constexpr const char* space = "k8s.io";
const std::string service = "runtime.v1.ImageService/";
const std::string own = "lazypull.agent.v1.Agent/";

json::object spec(const std::string& image) {
  return {{"image", json::object{{"image", image}}}};
}

std::string text(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value == nullptr ? std::string() : std::string(value->as_string());
}

std::vector<std::string> texts(const json::object& object, std::string_view name) {
  std::vector<std::string> all;
  if (const auto* value = object.if_contains(name)) {
    for (const auto& item : value->as_array()) all.emplace_back(item.as_string());
  }
  return all;
}

/// Images in an order of their own, with their names in one too, so that answers can be compared.
std::map<std::string, json::object> by_id(const json::object& answer) {
  std::map<std::string, json::object> images;
  const auto* all = answer.if_contains("images");
  if (all == nullptr) return images;
  for (const auto& item : all->as_array()) {
    auto image = item.as_object();
    for (const auto* names : {"repo_tags", "repo_digests"}) {
      auto sorted = texts(image, names);
      std::ranges::sort(sorted);
      image[names] = json::array(sorted.begin(), sorted.end());
    }
    images[text(image, "id")] = image;
  }
  return images;
}

Image small_image(std::uint64_t seed) {
  return ImageBuilder()
      .layer({tar::file("base", tar::noise(100'000, 1))})
      .layer({tar::file("own", tar::noise(50'000, seed))})
      .user(seed % 2 == 0 ? "1000:100" : "nobody")
      .build();
}

Image pause_image() {
  return ImageBuilder().layer(busybox_files()).command({"/bin/sleep", "1000"}).build();
}

/// As the agent's clients see it.
class Cri {
 public:
  explicit Cri(AgentProcess& agent) : client_(agent.target()) {}

  GenericAnswer pull(const std::string& image, json::object auth = {}) {
    auto request = spec(image);
    if (!auth.empty()) request["auth"] = auth;
    return client_.call({service + "PullImage", request});
  }
  std::string pull_ok(const std::string& image, json::object auth = {}) {
    const auto answer = pull(image, std::move(auth));
    if (answer.code != "OK") throw std::runtime_error(image + ": " + answer.code + ": " + answer.details);
    return text(answer.messages.at(0).as_object(), "image_ref");
  }
  json::object ok(const std::string& method, json::object request = {}) {
    const auto answer = client_.call({method, std::move(request)});
    if (answer.code != "OK") throw std::runtime_error(method + ": " + answer.code + ": " + answer.details);
    return answer.messages.empty() ? json::object() : answer.messages.at(0).as_object();
  }
  json::object list() { return ok(service + "ListImages"); }
  json::object status(const std::string& image) { return ok(service + "ImageStatus", spec(image)); }
  void remove(const std::string& image) { ok(service + "RemoveImage", spec(image)); }
  GenericClient& client() { return client_; }

 private:
  GenericClient client_;
};

class AgentCriTest : public ::testing::Test {
 protected:
  std::size_t count(const std::vector<RegistryRequest>& requests, const std::string& path) {
    return static_cast<std::size_t>(std::ranges::count_if(
        requests, [&](const auto& request) { return request.path.find(path) != std::string::npos; }));
  }
  Registry registry;
};

TEST_F(AgentCriTest, ContainerdsOwnCriPluginRunsAPodWithImagesThatTheAgentHasPulled) {
  const auto pause = registry.store(pause_image(), "pause:1");
  const auto app = registry.store(ImageBuilder()
                                      .layer(busybox_files())
                                      .layer({tar::file("greeting", "hello from the agent's image\n")})
                                      .build(),
                                  "app:1");
  Containerd containerd(containerd_with_cri(pause));
  CriClient plugin(containerd.socket());
  AgentProcess agent(containerd);
  Cri cri(agent);
  cri.pull_ok(pause);
  const auto id = cri.pull_ok(app);
  registry.stop();

  // At once: a kubelet goes on right after PullImage.
  const auto seen = plugin.ok("ImageService/ImageStatus", spec(app)).at("image").as_object();
  EXPECT_EQ(text(seen, "id"), id);
  EXPECT_THAT(texts(seen, "repo_tags"), ElementsAre(app));

  const TempDir folder("pod");
  const json::object sandbox{
      {"metadata", json::object{{"name", "pod"}, {"uid", "1"}, {"namespace", "default"}}},
      {"log_directory", folder.path().string()},
      {"linux", json::object{{"security_context",
                              json::object{{"namespace_options", json::object{{"network", "NODE"}}}}}}}};
  const auto pod = text(plugin.ok("RuntimeService/RunPodSandbox", {{"config", sandbox}}), "pod_sandbox_id");
  const json::object container{{"metadata", json::object{{"name", "app"}}},
                               {"image", json::object{{"image", id}}},
                               {"command", json::array{"/bin/cat", "/greeting"}},
                               {"log_path", "app.log"},
                               {"linux", json::object{}}};
  const auto created =
      plugin.ok("RuntimeService/CreateContainer",
                {{"pod_sandbox_id", pod}, {"config", container}, {"sandbox_config", sandbox}});
  const json::object container_id{{"container_id", text(created, "container_id")}};
  plugin.ok("RuntimeService/StartContainer", container_id);
  wait_until(
      [&] {
        const auto status =
            plugin.ok("RuntimeService/ContainerStatus", container_id).at("status").as_object();
        return text(status, "state") == "CONTAINER_EXITED";
      },
      "the container to end");
  EXPECT_THAT(read_file(folder / "app.log"), HasSubstr("stdout F hello from the agent's image"));
  const json::object pod_id{{"pod_sandbox_id", pod}};
  plugin.ok("RuntimeService/StopPodSandbox", pod_id);
  plugin.ok("RuntimeService/RemovePodSandbox", pod_id);
}

TEST_F(AgentCriTest, RecordsAndAnswersAreThoseOfContainerdsOwnPlugin) {
  const auto first = registry.store(small_image(2), "app:1");
  const auto second = registry.store(small_image(3), "other:2");
  const auto index = registry.store(
      make_index({small_image(4),
                  ImageBuilder().platform("linux/arm64/v8").layer({tar::file("arm", "arm")}).build()}),
      "index:1");
  const auto digest = registry.host() + "/other@" + small_image(3).digest;
  Containerd ours(containerd_with_cri("localhost/pause:1"));
  Containerd theirs(containerd_with_cri("localhost/pause:1"));
  AgentProcess agent(ours);
  Cri cri(agent);
  CriClient plugin(theirs.socket());
  CriClient own_plugin(ours.socket());
  for (const auto& reference : {first, second, index, digest}) {
    const auto id = cri.pull_ok(reference);
    EXPECT_EQ(id, text(plugin.ok("ImageService/PullImage", spec(reference)), "image_ref"));
    EXPECT_EQ(id, text(cri.status(reference).at("image").as_object(), "id"));
  }

  const auto list = by_id(cri.list());
  EXPECT_THAT(list, SizeIs(3));
  EXPECT_EQ(list, by_id(plugin.ok("ImageService/ListImages")));
  EXPECT_EQ(list, by_id(own_plugin.ok("ImageService/ListImages")));

  auto request = spec(first);
  request["verbose"] = true;
  const auto info = [&](const json::object& status) {
    return json::parse(text(status.at("info").as_object(), "info")).as_object();
  };
  const auto mine = info(cri.ok(service + "ImageStatus", request));
  const auto other = info(plugin.ok("ImageService/ImageStatus", request));
  EXPECT_EQ(mine.at("chainID"), other.at("chainID"));
  EXPECT_EQ(mine.at("imageSpec").at("rootfs"), other.at("imageSpec").at("rootfs"));

  auto my_state = read_state(ours, "overlayfs", space);
  auto their_state = read_state(theirs, "overlayfs", space);
  // What containerd gives for the pull's sake, and what only others than its own plugin leave.
  my_state.leases.clear();
  their_state.leases.clear();
  EXPECT_EQ(my_state.images.size(), their_state.images.size());
  for (const auto& [name, image] : their_state.images) {
    ASSERT_TRUE(my_state.images.contains(name)) << name;
    EXPECT_EQ(my_state.images.at(name).digest, image.digest) << name;
    EXPECT_EQ(my_state.images.at(name).media_type, image.media_type) << name;
    EXPECT_EQ(my_state.images.at(name).labels, image.labels) << name;
  }
  for (const auto& [name, content] : their_state.content) {
    ASSERT_TRUE(my_state.content.contains(name)) << name;
    EXPECT_EQ(my_state.content.at(name).labels, content.labels) << name;
  }
  EXPECT_EQ(my_state.snapshots.size(), their_state.snapshots.size());
}

TEST_F(AgentCriTest, AnImageIsFoundByTagDigestIdAndTheBeginningOfItsId) {
  const auto image = small_image(6);
  const auto reference = registry.store(image, "app:1");
  Containerd containerd;
  AgentProcess agent(containerd);
  Cri cri(agent);
  const auto id = cri.pull_ok(reference);
  EXPECT_EQ(id, image.config_digest);
  for (const auto& name : {reference, registry.host() + "/app@" + image.digest,
                           reference + "@" + image.digest, id, id.substr(7), id.substr(7, 12)}) {
    const auto found = cri.status(name);
    ASSERT_TRUE(found.contains("image")) << name;
    const auto& status = found.at("image").as_object();
    EXPECT_EQ(text(status, "id"), id) << name;
    EXPECT_THAT(texts(status, "repo_tags"), ElementsAre(reference));
    EXPECT_THAT(texts(status, "repo_digests"), ElementsAre(registry.host() + "/app@" + image.digest));
    EXPECT_EQ(text(status.at("uid").as_object(), "value"), "1000");
  }
  for (const auto& name :
       {registry.host() + "/app:2", image.digest, std::string(64, '0'), std::string("nothing")}) {
    EXPECT_FALSE(cri.status(name).contains("image")) << name;
  }
  const json::object filter{{"filter", spec(reference)}};
  EXPECT_THAT(by_id(cri.ok(service + "ListImages", filter)), SizeIs(1));
  EXPECT_THAT(by_id(cri.ok(service + "StreamImages", filter)), SizeIs(1));
  const json::object other{{"filter", spec("nothing")}};
  EXPECT_THAT(by_id(cri.ok(service + "ListImages", other)), IsEmpty());
  EXPECT_THAT(by_id(cri.ok(service + "StreamImages", other)), IsEmpty());
}

TEST_F(AgentCriTest, RemovingAnImageRemovesAllItsNamesAndIsNoErrorAgain) {
  const auto image = small_image(8);
  const auto first = registry.store(image, "app:1");
  const auto second = registry.store(image, "app:2");
  Containerd containerd(containerd_with_cri("localhost/pause:1"));
  AgentProcess agent(containerd);
  Cri cri(agent);
  const auto id = cri.pull_ok(first);
  EXPECT_EQ(cri.pull_ok(second), id);
  EXPECT_THAT(texts(cri.status(id).at("image").as_object(), "repo_tags"),
              UnorderedElementsAre(first, second));
  cri.remove(second);
  const auto state = read_state(containerd, "overlayfs", space);
  EXPECT_THAT(state.images, IsEmpty());
  EXPECT_THAT(state.content, IsEmpty()) << "what is freed is waited for";
  EXPECT_THAT(state.snapshots, IsEmpty());
  cri.remove(second);
  cri.remove(id);
  EXPECT_FALSE(cri.status(first).contains("image"));
  CriClient plugin(containerd.socket());
  wait_until([&] { return by_id(plugin.ok("ImageService/ListImages")).empty(); }, "containerd to know it");
}

TEST_F(AgentCriTest, PinnedImagesStayPinned) {
  const auto pause = registry.store(small_image(10), "pause:1");
  Containerd containerd(containerd_with_cri("localhost/pause:1"));
  AgentOptions options;
  options.top = "pinned_images = [\"" + pause + "\"]";
  AgentProcess agent(containerd, options);
  Cri cri(agent);
  const auto id = cri.pull_ok(pause);
  EXPECT_TRUE(cri.status(id).at("image").at("pinned").as_bool());
  const auto state = read_state(containerd, "overlayfs", space);
  EXPECT_THAT(state.images, SizeIs(3));
  for (const auto& [name, image] : state.images) {
    EXPECT_EQ(image.labels,
              (LabelMap{{"io.cri-containerd.image", "managed"}, {"io.cri-containerd.pinned", "pinned"}}))
        << name;
  }
  // Somebody else has pinned this one.
  const auto app = registry.store(small_image(11), "app:1");
  cri.pull_ok(app);
  containerd.ctr_ok({"images", "label", app, "io.cri-containerd.pinned=pinned"}, space);
  cri.pull_ok(app);
  EXPECT_TRUE(cri.status(app).at("image").at("pinned").as_bool());
}

TEST_F(AgentCriTest, ImageFsInfoSaysWhatSnapshotsTake) {
  const auto reference = registry.store(small_image(12), "app:1");
  Containerd containerd;
  AgentProcess agent(containerd);
  Cri cri(agent);
  cri.pull_ok(reference);
  const auto usage = cri.ok(service + "ImageFsInfo").at("image_filesystems").at(0).as_object();
  EXPECT_EQ(text(usage.at("fs_id").as_object(), "mountpoint"),
            (containerd.root() / "io.containerd.snapshotter.v1.overlayfs").string());
  EXPECT_GT(std::stoull(text(usage.at("used_bytes").as_object(), "value")), 150'000U);
  EXPECT_GT(std::stoull(text(usage.at("inodes_used").as_object(), "value")), 2U);
}

TEST_F(AgentCriTest, FailuresHaveTheCodesThatAKubeletKnows) {
  Containerd containerd;
  AgentProcess agent(containerd);
  Cri cri(agent);
  const auto missing = cri.pull(registry.reference("nothing:1"));
  EXPECT_EQ(missing.code, "NOT_FOUND");
  EXPECT_THAT(missing.details, HasSubstr(registry.reference("nothing:1")));
  EXPECT_EQ(cri.pull("UPPER CASE").code, "INVALID_ARGUMENT");
  EXPECT_EQ(cri.pull("").code, "INVALID_ARGUMENT");
  const auto foreign = registry.store(
      ImageBuilder().platform("windows/amd64").layer({tar::file("x", "x")}).build(), "windows:1");
  EXPECT_THAT(cri.pull(foreign).code, AnyOf("NOT_FOUND", "OK"));
  registry.stop();
  EXPECT_EQ(cri.pull(registry.reference("app:1")).code, "UNAVAILABLE");
}

TEST(AgentCriAuth, CredentialsOfARequestAreUsedForItsRegistryOnly) {
  const Credentials alice{"alice", "wonderland"};
  Registry registry({.basic = alice});
  const auto reference = registry.store(small_image(2), "app:1");
  Containerd containerd;
  AgentProcess agent(containerd);
  Cri cri(agent);
  const auto auth = [&](json::object more) {
    json::object fields{{"username", alice.user}, {"password", alice.password}};
    for (const auto& [key, value] : more) fields[key] = value;
    return fields;
  };
  EXPECT_EQ(cri.pull(reference).code, "UNAUTHENTICATED");
  EXPECT_EQ(cri.pull(reference, auth({{"password", "wrong"}})).code, "UNAUTHENTICATED");
  EXPECT_EQ(cri.pull(reference, auth({{"server_address", "other.example.com"}})).code, "UNAUTHENTICATED");
  EXPECT_EQ(cri.pull(reference, auth({{"server_address", "http://" + registry.host()}})).code, "OK");
  cri.remove(reference);
  EXPECT_EQ(cri.pull(reference, {{"auth", "YWxpY2U6d29uZGVybGFuZA=="}}).code, "OK");
  cri.remove(reference);
  // What others have logged in with is nobody else's.
  EXPECT_EQ(cri.pull(reference).code, "UNAUTHENTICATED");
  EXPECT_THAT(agent.log(), Not(HasSubstr(alice.password)));
}

TEST(AgentCriAuth, TokensOfOneRequestAreNotAnothers) {
  const TokenServer tokens;
  Registry registry({.tokens = &tokens});
  const auto reference = registry.store(small_image(2), "private/app:1");
  Containerd containerd;
  AgentProcess agent(containerd);
  Cri cri(agent);
  const json::object password{{"username", "alice"}, {"password", "wonderland"}};
  const json::object refresh{{"identity_token", tokens.options().refresh_token}};
  EXPECT_EQ(cri.pull(reference, password).code, "OK");
  cri.remove(reference);
  EXPECT_NE(cri.pull(reference).code, "OK");
  EXPECT_EQ(cri.pull(reference, refresh).code, "OK");
}

TEST_F(AgentCriTest, IdenticalRequestsAtTheSameTimeShareOnePull) {
  const auto image = small_image(14);
  const auto reference = registry.store(image, "app:1");
  Containerd containerd;
  AgentProcess agent(containerd);
  Cri cri(agent);
  const json::object slow{{"pull_class", "PULL_CLASS_SERVING"}, {"bytes_per_second", 20'000}};
  cri.ok(own + "SetBandwidth", {{"bandwidths", json::array{slow}}});
  registry.reset_log();
  std::vector<Process> clients;
  for (int i = 0; i < 5; ++i) clients.push_back(cri.client().start({service + "PullImage", spec(reference)}));
  wait_until(
      [&] {
        const auto pulls = cri.ok(own + "ListPulls");
        return pulls.contains("pulls") && pulls.at("pulls").at(0).as_object().contains("waiters") &&
               pulls.at("pulls").at(0).at("waiters").to_number<int>() == 5;
      },
      "five requests to share a pull");
  const json::object fast{{"pull_class", "PULL_CLASS_SERVING"}, {"bytes_per_second", 0}};
  cri.ok(own + "SetBandwidth", {{"bandwidths", json::array{fast}}});
  for (auto& client : clients) {
    EXPECT_EQ(client.wait(std::chrono::seconds(30)), 0) << client.err();
    EXPECT_THAT(client.out(), HasSubstr(image.config_digest));
  }
  const auto requests = registry.requests();
  EXPECT_EQ(count(requests, "/manifests/1"), 1U);
  EXPECT_EQ(count(requests, "/manifests/sha256:"), 1U);
  for (const auto& layer : image.layers) EXPECT_EQ(count(requests, layer.digest), 1U);
}

TEST_F(AgentCriTest, ACancelledPullLeavesNothing) {
  const auto reference = registry.store(small_image(16), "app:1");
  Containerd containerd;
  AgentProcess agent(containerd);
  Cri cri(agent);
  const json::object slow{{"pull_class", "PULL_CLASS_SERVING"}, {"bytes_per_second", 1000}};
  cri.ok(own + "SetBandwidth", {{"bandwidths", json::array{slow}}});
  auto client = cri.client().start({service + "PullImage", spec(reference)});
  wait_until(
      [&] {
        const auto pulls = cri.ok(own + "ListPulls");
        return pulls.contains("pulls") && text(pulls.at("pulls").at(0).as_object(), "phase") == "layers";
      },
      "the layers to be on their way");
  client.kill();
  wait_until([&] { return !cri.ok(own + "ListPulls").contains("pulls"); }, "the pull to end");
  const auto state = read_state(containerd, "overlayfs", space);
  EXPECT_THAT(state.images, IsEmpty());
  EXPECT_THAT(state.leases, IsEmpty());
  collect_garbage(containerd, space);
  EXPECT_THAT(read_state(containerd, "overlayfs", space).snapshots, IsEmpty());
  EXPECT_THAT(by_id(cri.list()), IsEmpty());
}

}  // namespace
}  // namespace lazypull::test
