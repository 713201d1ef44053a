#pragma once

#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace lazypull {

/// `lazypull agent`. What a flag says goes before the config file; empty is not given.
struct AgentCommand {
  std::string config;
  std::string socket;
  std::string address;  ///< of containerd
  std::string containerd_namespace;
  std::string snapshotter;
  std::string hosts_dir;
  std::string docker_config;
  std::string metrics_address;
  std::string debug_address;
  std::string log_level;
  std::string log_format;
  std::string drain_timeout;
  bool check = false;  ///< only whether the settings make sense
};

/// Adds `agent`; `chosen` is called when it has been parsed. What it refers to must outlive `app`.
void add_agent_command(CLI::App& app, AgentCommand& command, std::function<void()> chosen);

}  // namespace lazypull
