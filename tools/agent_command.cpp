#include "tools/agent_command.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <utility>

namespace lazypull {

void add_agent_command(CLI::App& app, AgentCommand& command, std::function<void()> chosen) {
  auto* agent = app.add_subcommand("agent", "Serve a Kubernetes node's image pulls, for a kubelet (CRI)");
  agent->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  agent->footer(
      "Serves the CRI's image service and the agent's own on a Unix socket, for root only, until SIGTERM; "
      "it\n"
      "then lets pulls finish. SIGHUP reads credentials and hosts.toml anew, as do changes of those files.\n"
      "Flags go before the file.");
  agent->parse_complete_callback(std::move(chosen));
  const auto text = [agent](const char* name, std::string& variable, const char* help,
                            const char* placeholder) {
    agent->add_option(name, variable, help)->type_name(placeholder);
  };
  text("--config", command.config, "Settings, as TOML; without it, the defaults hold", "FILE");
  text("--socket", command.socket, "Unix socket to listen on (/run/lazypull/agent.sock)", "PATH");
  text("-a,--address", command.address, "Socket of containerd (/run/containerd/containerd.sock)", "PATH");
  text("-n,--namespace", command.containerd_namespace, "Namespace in containerd (k8s.io)", "NAME");
  text("--snapshotter", command.snapshotter, "Snapshotter of containerd (overlayfs)", "NAME");
  text("--hosts-dir", command.hosts_dir, "Directory of hosts.toml files, as containerd has them", "DIR");
  text("--docker-config", command.docker_config, "config.json with the node's credentials", "FILE");
  text("--metrics", command.metrics_address, "Where to serve Prometheus metrics, unix:/PATH or IP:PORT",
       "ADDRESS");
  text("--debug-address", command.debug_address, "Where to serve debug output, unix:/PATH or 127.0.0.1:PORT",
       "ADDRESS");
  text("--log-level", command.log_level, "debug, info, warning, error or off", "LEVEL");
  text("--log-format", command.log_format, "text or json", "FORMAT");
  text("--drain-timeout", command.drain_timeout, "How long pulls may go on after SIGTERM (30s)", "DURATION");
  agent->add_flag("--check", command.check, "Check the settings, and do nothing");
}

}  // namespace lazypull
