#pragma once

#include "snapshot/unpack_mode.hpp"
#include "tools/agent/agent_log.hpp"
#include "tools/disk_space.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace lazypull {

/// What `lazypull agent` is told by its config file (TOML); docs/agent.md has the same list. Durations are
/// written as "30s" or "1m30s", sizes as "8M" or a number of bytes.
struct AgentConfig {
  // Of the top level.
  std::string socket = "/run/lazypull/agent.sock";  ///< where CRI clients and the agent's own connect
  std::chrono::milliseconds drain_timeout{30'000};  ///< for pulls under way at SIGTERM
  std::vector<std::string> pinned_images;           ///< never collected by a kubelet, such as the pause image

  // [containerd]
  struct {
    std::string address = "/run/containerd/containerd.sock";
    std::string name_space = "k8s.io";
    std::string snapshotter = "overlayfs";
    UnpackMode unpack = UnpackMode::automatic;
    bool discard_unpacked_layers = false;
    std::chrono::milliseconds connect_timeout{60'000};  ///< for a containerd that is still starting
    /// The snapshotter for pods of a runtime handler, by its name; all others get `snapshotter`.
    std::map<std::string, std::string> runtime_snapshotters;
  } containerd;

  // [registry]
  struct {
    std::string hosts_dir;      ///< of hosts.toml files; empty: /etc/containerd/certs.d, /etc/docker/certs.d
    std::string docker_config;  ///< a config.json with the node's credentials; empty: where they usually are
    std::chrono::milliseconds progress_timeout{std::chrono::minutes(5)};
    std::chrono::milliseconds mirror_timeout{std::chrono::seconds(30)};
    std::uint64_t concurrent_layer_fetch_buffer = 0;  ///< bytes of a part of a large layer; 0 is no parts
    std::size_t max_connections_per_host = 16;
    std::size_t retry_budget = 100;  ///< of one pull
    bool plain_http = false;
    bool skip_verify = false;
  } registry;

  // [limits]; 0 is no limit
  struct {
    std::size_t max_concurrent_pulls = 0;  ///< that somebody waits for
    std::size_t max_concurrent_prewarms = 8;
    std::size_t max_concurrent_downloads = 8;
    std::size_t max_concurrent_downloads_per_registry = 0;
    std::size_t max_concurrent_unpacks = 4;
    std::uint64_t serving_rate = 0;  ///< bytes a second of pulls that somebody waits for
    std::uint64_t prewarm_rate = 0;  ///< the same of prewarming
    MinFree min_free;                ///< of the disk, below which no pull begins
  } limits;

  // [metrics]: "unix:/PATH" or "IP:PORT"; empty is none
  std::string metrics_address;
  // [debug]: the same
  std::string debug_address;

  // [log]
  struct {
    LogLevel level = LogLevel::info;
    LogFormat format = LogFormat::text;
  } log;
};

/// Throws Error{invalid_argument} with "`origin`: line 3: what is wrong"; a key that is not known is wrong.
AgentConfig parse_agent_config(std::string_view toml, const std::string& origin);
/// Throws also {not_found} and {permission_denied}.
AgentConfig read_agent_config(const std::string& file);

}  // namespace lazypull
