#pragma once

#include "engine/awaitable.hpp"

#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace lazypull {

/// `lazypull registry serve`.
struct RegistryCommand {
  std::vector<std::string> layouts;
  std::string repository;
  std::string address = "127.0.0.1:0";
  std::string access_log = "-";
};

/// Adds `registry serve`; `chosen` is called when it has been parsed. What it refers to must outlive `app`.
void add_registry_command(CLI::App& app, RegistryCommand& command, std::function<void()> chosen);

/// Prints "listening on http://ADDRESS:PORT" to standard output and serves until it is cancelled, which
/// throws Error{cancelled}. Also throws Error{invalid_argument} for a bad address or repository,
/// Error{not_found} or {bad_response} for a layout that cannot be read, Error{unavailable} or
/// {permission_denied} for an address or log file that cannot be used.
Awaitable<> run_registry_command(const RegistryCommand& command);

}  // namespace lazypull
