// What is applied to a cluster: rendered by kubectl, and tried out as far as one machine can.

#include "tests/integration/support/containerd_state.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/lazypull.hpp"
#include "tests/integration/support/registry.hpp"
#include "transport/hosts_toml.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>
#include <fstream>
#include <set>
#include <yaml-cpp/yaml.h>

namespace lazypull::test {
namespace {

namespace fs = std::filesystem;
using testing::AnyOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

fs::path manifests() {
  return LAZYPULL_KUBERNETES;
}

/// The objects that `kubectl kustomize` makes of a folder.
std::vector<YAML::Node> render(const std::string& folder) {
  return YAML::LoadAll(run_ok({"kubectl", "kustomize", (manifests() / folder).string()}));
}

YAML::Node object(const std::vector<YAML::Node>& objects, const std::string& kind,
                  const std::string& name_prefix = "") {
  for (const auto& one : objects) {
    if (one["kind"].as<std::string>() != kind) continue;
    if (one["metadata"]["name"].as<std::string>().starts_with(name_prefix)) return one;
  }
  throw std::runtime_error("no " + kind + " " + name_prefix);
}

YAML::Node pod(const YAML::Node& workload) {
  return workload["spec"]["template"]["spec"];
}

std::vector<std::string> words(const YAML::Node& list) {
  return list.as<std::vector<std::string>>();
}

YAML::Node volume(const YAML::Node& pod, const std::string& name) {
  for (const auto& one : pod["volumes"]) {
    if (one["name"].as<std::string>() == name) return one;
  }
  throw std::runtime_error("no volume " + name);
}

/// Where the container sees what the host has at this path.
std::string mount_of(const YAML::Node& pod, const std::string& host_path) {
  for (const auto& mount : pod["containers"][0]["volumeMounts"]) {
    const auto source = volume(pod, mount["name"].as<std::string>());
    if (source["hostPath"] && source["hostPath"]["path"].as<std::string>() == host_path) {
      return mount["mountPath"].as<std::string>();
    }
  }
  return {};
}

void expect_consistent(const std::vector<YAML::Node>& objects, const YAML::Node& workload) {
  const auto spec = pod(workload);
  std::set<std::string> mounted;
  for (const auto& mount : spec["containers"][0]["volumeMounts"]) {
    const auto name = mount["name"].as<std::string>();
    EXPECT_TRUE(mounted.insert(name).second) << name;
    const auto source = volume(spec, name);
    if (const auto map = source["configMap"]) {
      const auto data = object(objects, "ConfigMap", map["name"].as<std::string>())["data"];
      for (const auto& item : map["items"]) EXPECT_TRUE(data[item["key"].as<std::string>()]) << name;
      EXPECT_FALSE(source["hostPath"]) << name << " has two sources";
    }
  }
  for (const auto& one : spec["volumes"]) EXPECT_TRUE(mounted.contains(one["name"].as<std::string>()));
  const auto selector = workload["spec"]["selector"];
  if (!selector) return;  // a Job gets one of its own
  for (const auto& label : selector["matchLabels"]) {
    const auto key = label.first.as<std::string>();
    EXPECT_EQ(workload["spec"]["template"]["metadata"]["labels"][key].as<std::string>(),
              label.second.as<std::string>());
  }
}

class KubernetesManifests : public testing::TestWithParam<std::string> {};

INSTANTIATE_TEST_SUITE_P(Of, KubernetesManifests,
                         testing::Values("base", "overlays/spegel", "overlays/dragonfly"),
                         [](const auto& info) {
                           std::string name = fs::path(info.param).filename();
                           return name;
                         });

TEST_P(KubernetesManifests, ArePutTogetherFromPartsThatFit) {
  const auto objects = render(GetParam());
  const auto agent = object(objects, "DaemonSet");
  EXPECT_EQ(agent["apiVersion"].as<std::string>(), "apps/v1");
  EXPECT_EQ(agent["metadata"]["namespace"].as<std::string>(), "lazypull");
  EXPECT_EQ(object(objects, "Namespace")["metadata"]["name"].as<std::string>(), "lazypull");
  expect_consistent(objects, agent);
}

TEST_P(KubernetesManifests, GiveTheAgentAsLittleAsItNeeds) {
  const auto spec = pod(object(render(GetParam()), "DaemonSet"));
  EXPECT_FALSE(spec["automountServiceAccountToken"].as<bool>());
  EXPECT_FALSE(spec["hostPID"]);
  EXPECT_FALSE(spec["hostIPC"]);
  const auto security = spec["containers"][0]["securityContext"];
  EXPECT_FALSE(security["privileged"].as<bool>());
  EXPECT_TRUE(security["readOnlyRootFilesystem"].as<bool>());
  EXPECT_EQ(security["seccompProfile"]["type"].as<std::string>(), "RuntimeDefault");
  EXPECT_EQ(words(security["capabilities"]["drop"]), std::vector<std::string>{"ALL"});
  EXPECT_THAT(words(security["capabilities"]["add"]), Not(Contains(AnyOf("ALL", "SYS_PTRACE", "NET_ADMIN"))));
  EXPECT_TRUE(spec["containers"][0]["resources"]["limits"]["memory"]);
}

TEST_P(KubernetesManifests, ShowTheAgentContainerdAtItsOwnPaths) {
  const auto spec = pod(object(render(GetParam()), "DaemonSet"));
  for (const auto* path : {"/run/containerd", "/var/lib/containerd", "/run/lazypull"}) {
    EXPECT_EQ(mount_of(spec, path), path);
  }
}

TEST_P(KubernetesManifests, HaveAConfigFileThatTheAgentUnderstands) {
  const auto config = object(render(GetParam()), "ConfigMap", "lazypull-agent");
  const TempDir folder("agent");
  const auto file = folder / "agent.toml";
  std::ofstream(file) << config["data"]["agent.toml"].as<std::string>();
  const auto checked = run({LAZYPULL_BINARY, "agent", "--config", file.string(), "--check"});
  EXPECT_EQ(checked.exit_code, 0) << checked.err;
}

TEST_P(KubernetesManifests, ProbeTheSocketThatTheConfigFileNames) {
  const auto objects = render(GetParam());
  const auto config = object(objects, "ConfigMap", "lazypull-agent")["data"]["agent.toml"].as<std::string>();
  const auto container = pod(object(objects, "DaemonSet"))["containers"][0];
  for (const auto* probe : {"startupProbe", "readinessProbe", "livenessProbe"}) {
    const auto command = words(container[probe]["exec"]["command"]);
    ASSERT_EQ(command.size(), 3U) << probe;
    EXPECT_EQ(command[0] + " " + command[1], "lazypull health");
    EXPECT_THAT(config, HasSubstr("socket = \"" + command[2] + "\""));
  }
}

TEST(HealthCommand, SaysWhyNothingAnswers) {
  const TempDir folder("health");
  const auto socket = (folder / "none.sock").string();
  const auto result = run({LAZYPULL_BINARY, "health", socket});
  EXPECT_NE(result.exit_code, 0);
  EXPECT_THAT(result.err, HasSubstr(socket));
}

TEST(HealthCommand, KnowsAServiceThatServes) {
  Containerd containerd;
  const auto result = run({LAZYPULL_BINARY, "health", containerd.socket().string()});
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

/// hosts.toml files of an overlay, as they lie in the agent's folder.
std::map<std::string, std::string> hosts_files(const std::string& overlay) {
  const auto objects = render(overlay);
  const auto hosts = volume(pod(object(objects, "DaemonSet")), "hosts");
  const auto data = object(objects, "ConfigMap", hosts["configMap"]["name"].as<std::string>())["data"];
  std::map<std::string, std::string> files;
  for (const auto& item : hosts["configMap"]["items"]) {
    files[item["path"].as<std::string>()] = data[item["key"].as<std::string>()].as<std::string>();
  }
  return files;
}

TEST(KubernetesOverlays, OfDragonflyTellsItWhichRegistryIsMeant) {
  const auto files = hosts_files("overlays/dragonfly");
  const auto entries =
      parse_hosts_toml(files.at("registry.example.com/hosts.toml"), "registry.example.com/hosts.toml");
  ASSERT_EQ(entries.size(), 2U);
  ASSERT_TRUE(entries[0].origin);
  EXPECT_EQ(entries[0].origin->port, 4001);
  EXPECT_TRUE(entries[0].pull && entries[0].resolve);
  EXPECT_EQ(entries[0].headers.find("X-Dragonfly-Registry"), "https://registry.example.com");
}

TEST(KubernetesOverlays, OfSpegelHasItAskedFirstForEveryRegistry) {
  const auto files = hosts_files("overlays/spegel");
  Registry mirror;
  const auto image = ImageBuilder().layer({tar::file("hello", "world")}).build();
  mirror.store(image, "app:1");
  auto text = files.at("_default/hosts.toml");
  const std::string of_spegel = "127.0.0.1:30020";
  text.replace(text.find(of_spegel), of_spegel.size(), mirror.host());
  const TempDir folder("hosts");
  fs::create_directories(folder / "_default");
  std::ofstream(folder / "_default" / "hosts.toml") << text;
  const auto result = run({LAZYPULL_BINARY, "--store", (folder / "store").string(), "pull", "--hosts-dir",
                           folder.path().string(), "registry.example.invalid/app:1"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(mirror.fetched_blobs("lazypull"), Contains(StartsWith(image.layers[0].digest)));
}

/// What the capabilities of the manifest are for, in a layer.
std::vector<tar::Entry> demanding_files() {
  auto entries = tar::one_of_each();
  entries.push_back(tar::file("bin/of_another", "x").owner(1234, 4321).mode(06755));
  entries.push_back(tar::char_device("bin/null", 1, 3));
  return entries;
}

TEST(KubernetesManifest, NamesTheCapabilitiesThatUnpackingTakes) {
  const auto spec = pod(object(render("base"), "DaemonSet"));
  std::string bounding = "-all";
  for (auto capability : words(spec["containers"][0]["securityContext"]["capabilities"]["add"])) {
    for (auto& c : capability) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    bounding += ",+" + capability;
  }
  Registry registry;
  const auto image = ImageBuilder()
                         .layer({tar::directory("bin"), tar::file("bin/hidden", "below")})
                         .layer({tar::directory("bin"), tar::opaque("bin"), tar::file("bin/above", "x")})
                         .layer(demanding_files())
                         .build();
  const auto reference = registry.store(image, "app:1");
  Containerd containerd;
  const auto result =
      run({"setpriv", "--bounding-set", bounding, "--inh-caps", "-all", "--no-new-privs", LAZYPULL_BINARY,
           "--address", containerd.socket().string(), "pull", "--unpack", "direct", reference});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  Containerd other;
  other.ctr_ok({"images", "pull", "--plain-http", reference});
  EXPECT_THAT(diff(read_image_tree(other, "overlayfs", reference),
                   read_image_tree(containerd, "overlayfs", reference), {.ignore_root = true}),
              IsEmpty());
}

TEST(KubernetesExamples, PrewarmAListThatIsUnderstood) {
  const auto objects = render("examples");
  const auto job = object(objects, "Job");
  expect_consistent(objects, job);
  const auto list = object(objects, "ConfigMap", "prewarm-list")["data"]["images.yaml"].as<std::string>();
  const TempDir folder("examples");
  const auto file = folder / "images.yaml";
  std::ofstream(file) << list;
  // With a registry that refuses connections the list is all that can be right.
  const auto result = run({LAZYPULL_BINARY, "--store", (folder / "store").string(), "prewarm", file.string(),
                           "--dry-run", "--output", "json", "--deadline", "1s"});
  EXPECT_THAT(result.out, HasSubstr("registry.example.com/base:12"));
  EXPECT_THAT(words(pod(job)["containers"][0]["command"]), Contains("/etc/lazypull/images.yaml"));
}

TEST(KubernetesExamples, PullAnImageThroughKruise) {
  const auto job = YAML::LoadFile(manifests() / "examples/imagepulljob.yaml");
  EXPECT_EQ(job["kind"].as<std::string>(), "ImagePullJob");
  EXPECT_THAT(job["apiVersion"].as<std::string>(), StartsWith("apps.kruise.io/"));
  EXPECT_TRUE(job["spec"]["image"]);
  EXPECT_GT(job["spec"]["parallelism"].as<int>(), 0);
}

TEST(KubernetesKubelet, IsToldToAskTheAgentForImages) {
  const auto config = YAML::LoadFile(manifests() / "kubelet/20-lazypull.conf");
  const auto agent = object(render("base"), "ConfigMap", "lazypull-agent")["data"]["agent.toml"];
  EXPECT_EQ(config["kind"].as<std::string>(), "KubeletConfiguration");
  const auto endpoint = config["imageServiceEndpoint"].as<std::string>();
  ASSERT_THAT(endpoint, StartsWith("unix://"));
  EXPECT_THAT(agent.as<std::string>(), HasSubstr("socket = \"" + endpoint.substr(7) + "\""));
}

TEST(KubernetesImage, HasAllThatTheCommandNeeds) {
  const TempDir folder("image");
  const auto layout = (folder / "layout").string();
  run_ok({(manifests() / "image.sh").string(), LAZYPULL_BINARY, layout});
  run_ok({"umoci", "unpack", "--image", layout + ":latest", (folder / "bundle").string()});
  const auto root = folder / "bundle" / "rootfs";
  const auto said = run_ok({"chroot", root.string(), "/usr/bin/lazypull", "--version"});
  EXPECT_THAT(said, StartsWith("lazypull "));
  EXPECT_TRUE(fs::exists(root / "etc/ssl/certs/ca-certificates.crt"));
}

}  // namespace
}  // namespace lazypull::test
