#pragma once

#include "engine/awaitable.hpp"
#include "tools/faults/command.hpp"

#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace lazypull {

/// `lazypull registry serve` and `lazypull registry proxy`.
struct RegistryCommand {
  bool is_proxy = false;
  FaultProxyCommand proxy;
  std::vector<std::string> layouts;
  std::string repository;
  std::string address = "127.0.0.1:0";
  std::string access_log = "-";
};

/// Adds `registry serve` and `registry proxy`; `chosen` is called when one has been parsed. What it refers to
/// must outlive `app`.
void add_registry_command(CLI::App& app, RegistryCommand& command, std::function<void()> chosen);

/// Prints "listening on http://ADDRESS:PORT" to standard output and serves until it is cancelled, which
/// throws Error{cancelled}. Also throws Error{invalid_argument} for a bad address, repository or fault,
/// Error{not_found} or {bad_response} for a layout or profile that cannot be read, Error{unavailable} or
/// {permission_denied} for an address or log file that cannot be used.
Awaitable<> run_registry_command(const RegistryCommand& command);

}  // namespace lazypull
