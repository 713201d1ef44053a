#include "tools/run_version.hpp"

#include "tools/connect.hpp"
#include "tools/result_json.hpp"
#include "tools/text.hpp"

namespace lazypull {

Awaitable<> run_version(const Options& options, std::optional<ServerVersion>& server) {
  auto version = co_await ask_version(options);
  server = std::move(version);
}

std::string version_text(const Options& options, const std::optional<ServerVersion>& server) {
  if (options.output == OutputFormat::json && server) {
    return version_json(LAZYPULL_VERSION, server->version, server->revision);
  }
  std::string text = "Client:\n  Version:  " LAZYPULL_VERSION "\n";
  if (server) {
    text += "\nServer:\n  Version:  " + printable(server->version) + "\n";
    if (!server->revision.empty()) text += "  Revision: " + printable(server->revision) + "\n";
  }
  return text;
}

}  // namespace lazypull
