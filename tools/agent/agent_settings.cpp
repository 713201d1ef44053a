#include "engine/error.hpp"
#include "tools/agent/run_agent.hpp"
#include "transport/duration.hpp"

namespace lazypull {
namespace {

void override_with(std::string& setting, const std::string& flag) {
  if (!flag.empty()) setting = flag;
}

}  // namespace

AgentConfig agent_config(const AgentCommand& command) {
  auto config = command.config.empty() ? AgentConfig() : read_agent_config(command.config);
  override_with(config.socket, command.socket);
  override_with(config.containerd.address, command.address);
  override_with(config.containerd.name_space, command.containerd_namespace);
  override_with(config.containerd.snapshotter, command.snapshotter);
  override_with(config.registry.hosts_dir, command.hosts_dir);
  override_with(config.registry.docker_config, command.docker_config);
  override_with(config.metrics_address, command.metrics_address);
  override_with(config.debug_address, command.debug_address);
  if (!command.log_level.empty()) config.log.level = parse_log_level(command.log_level);
  if (!command.log_format.empty()) config.log.format = parse_log_format(command.log_format);
  if (!command.drain_timeout.empty()) {
    const auto duration = parse_duration(command.drain_timeout);
    if (!duration) {
      throw Error(Errc::invalid_argument,
                  "--drain-timeout: '" + command.drain_timeout + "' is not a duration such as 30s");
    }
    config.drain_timeout = std::chrono::ceil<std::chrono::milliseconds>(*duration);
  }
  return config;
}

}  // namespace lazypull
