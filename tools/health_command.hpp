#pragma once

#include <chrono>
#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace lazypull {

/// `lazypull health`: for probes, which can only run commands where the service is on a Unix socket.
struct HealthCommand {
  std::string socket = "/run/lazypull/agent.sock";
};

/// Adds `health`; `chosen` is called when it has been parsed. What it refers to must outlive `app`.
void add_health_command(CLI::App& app, HealthCommand& command, std::function<void()> chosen);

/// Asks grpc.health.v1.Health/Check, and returns if it says that it serves. Blocks, at most for `limit`.
/// Throws Error{unavailable} that says what is wrong, {not_found} for a service without health checks,
/// {timed_out}.
void run_health_command(const HealthCommand& command,
                        std::chrono::milliseconds limit = std::chrono::seconds(5));

}  // namespace lazypull
