// The agent's config file.

#include "tools/agent/agent_config.hpp"

#include "engine/error.hpp"
#include "tests/support/temp_dir.hpp"
#include "tools/agent/run_agent.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace lazypull {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using namespace std::chrono_literals;

AgentConfig parse(const std::string& text) {
  return parse_agent_config(text, "agent.toml");
}

std::string refusal(const std::string& text) {
  try {
    parse(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::invalid_argument);
    return error.message();
  }
  return "accepted";
}

TEST(AgentConfig, IsCompleteWithoutAFile) {
  const auto config = parse("");
  EXPECT_EQ(config.socket, "/run/lazypull/agent.sock");
  EXPECT_EQ(config.containerd.address, "/run/containerd/containerd.sock");
  EXPECT_EQ(config.containerd.name_space, "k8s.io");
  EXPECT_EQ(config.containerd.snapshotter, "overlayfs");
  EXPECT_EQ(config.drain_timeout, 30s);
  EXPECT_THAT(config.metrics_address, IsEmpty());
}

TEST(AgentConfig, ReadsAllThatTheDocumentationNames) {
  const auto config = parse(R"(
socket = "/run/agent.sock"
drain_timeout = "1m30s"
pinned_images = ["registry.k8s.io/pause:3.9"]
[containerd]
address = "/run/c.sock"
namespace = "other"
snapshotter = "stargz"
unpack = "diff-service"
discard_unpacked_layers = true
connect_timeout = "5s"
runtime_snapshotters = { kata = "devmapper" }
[registry]
hosts_dir = "/etc/certs.d"
docker_config = "/etc/docker.json"
progress_timeout = "2m"
mirror_timeout = "10s"
concurrent_layer_fetch_buffer = "8M"
max_connections_per_host = 4
retry_budget = 7
plain_http = true
skip_verify = true
[limits]
max_concurrent_pulls = 5
max_concurrent_prewarms = 2
max_concurrent_downloads = 6
max_concurrent_downloads_per_registry = 3
max_concurrent_unpacks = 2
serving_rate = 1000000
prewarm_rate = "64k"
min_free = "5%"
[metrics]
address = "127.0.0.1:9750"
[debug]
address = "unix:/run/debug.sock"
[log]
level = "debug"
format = "json"
)");
  EXPECT_EQ(config.socket, "/run/agent.sock");
  EXPECT_EQ(config.drain_timeout, 90s);
  EXPECT_THAT(config.pinned_images, ElementsAre("registry.k8s.io/pause:3.9"));
  EXPECT_EQ(config.containerd.address, "/run/c.sock");
  EXPECT_EQ(config.containerd.name_space, "other");
  EXPECT_EQ(config.containerd.snapshotter, "stargz");
  EXPECT_EQ(config.containerd.unpack, UnpackMode::diff_service);
  EXPECT_TRUE(config.containerd.discard_unpacked_layers);
  EXPECT_EQ(config.containerd.connect_timeout, 5s);
  EXPECT_EQ(config.containerd.runtime_snapshotters.at("kata"), "devmapper");
  EXPECT_EQ(config.registry.hosts_dir, "/etc/certs.d");
  EXPECT_EQ(config.registry.docker_config, "/etc/docker.json");
  EXPECT_EQ(config.registry.progress_timeout, 2min);
  EXPECT_EQ(config.registry.mirror_timeout, 10s);
  EXPECT_EQ(config.registry.concurrent_layer_fetch_buffer, 8U << 20U);
  EXPECT_EQ(config.registry.max_connections_per_host, 4U);
  EXPECT_EQ(config.registry.retry_budget, 7U);
  EXPECT_TRUE(config.registry.plain_http);
  EXPECT_TRUE(config.registry.skip_verify);
  EXPECT_EQ(config.limits.max_concurrent_pulls, 5U);
  EXPECT_EQ(config.limits.max_concurrent_prewarms, 2U);
  EXPECT_EQ(config.limits.max_concurrent_downloads, 6U);
  EXPECT_EQ(config.limits.max_concurrent_downloads_per_registry, 3U);
  EXPECT_EQ(config.limits.max_concurrent_unpacks, 2U);
  EXPECT_EQ(config.limits.serving_rate, 1'000'000U);
  EXPECT_EQ(config.limits.prewarm_rate, 64U << 10U);
  EXPECT_EQ(config.limits.min_free.percent, 5);
  EXPECT_EQ(config.metrics_address, "127.0.0.1:9750");
  EXPECT_EQ(config.debug_address, "unix:/run/debug.sock");
  EXPECT_EQ(config.log.level, LogLevel::debug);
  EXPECT_EQ(config.log.format, LogFormat::json);
}

TEST(AgentConfig, SaysWhereAndWhatIsWrong) {
  EXPECT_EQ(refusal("sokcet = \"/x\""), "agent.toml: line 1: sokcet: there is no such setting");
  EXPECT_EQ(refusal("\n[limits]\ndownloads = 3"),
            "agent.toml: line 3: limits.downloads: there is no such setting");
  EXPECT_EQ(refusal("drain_timeout = 30"),
            "agent.toml: line 1: drain_timeout: it is not a duration, such as \"30s\"");
  EXPECT_EQ(refusal("[limits]\nmax_concurrent_pulls = -1"),
            "agent.toml: line 2: limits.max_concurrent_pulls: it is not a number from 0 up");
  EXPECT_THAT(refusal("containerd = 1"), HasSubstr("it is not a table"));
  EXPECT_THAT(refusal("pinned_images = [1]"), HasSubstr("it is not a string"));
  EXPECT_THAT(refusal("[containerd]\nunpack = \"never\""),
              HasSubstr("it is none of auto, direct, diff-service"));
  EXPECT_THAT(refusal("[log]\nlevel = \"loud\""), HasSubstr("line 2: log.level"));
  EXPECT_THAT(refusal("[limits]\nmin_free = \"200%\""), HasSubstr("limits.min_free"));
  EXPECT_THAT(refusal("socket = "), HasSubstr("it is no TOML"));
}

TEST(AgentConfig, FlagsGoBeforeTheFile) {
  const test::TempDir folder("agent-config");
  test::write_file(folder / "agent.toml",
                   "socket = \"/run/file.sock\"\n[containerd]\nsnapshotter = \"stargz\"\n");
  AgentCommand command;
  command.config = folder / "agent.toml";
  command.socket = "/run/flag.sock";
  command.log_level = "error";
  command.drain_timeout = "5s";
  const auto config = agent_config(command);
  EXPECT_EQ(config.socket, "/run/flag.sock");
  EXPECT_EQ(config.containerd.snapshotter, "stargz");
  EXPECT_EQ(config.log.level, LogLevel::error);
  EXPECT_EQ(config.drain_timeout, 5s);
  command.drain_timeout = "soon";
  EXPECT_THROW(agent_config(command), Error);
}

TEST(AgentConfig, AFileThatIsMissingIsAnErrorThatNamesIt) {
  AgentCommand command;
  command.config = "/nonexistent/agent.toml";
  try {
    agent_config(command);
    ADD_FAILURE() << "it is read";
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), HasSubstr("/nonexistent/agent.toml"));
  }
}

}  // namespace
}  // namespace lazypull
