#pragma once

#include "tools/exit_code.hpp"

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace lazypull {

enum class LayersAction { publish, list, verify, remove };

/// `lazypull layers …`: what is done to a storage of remote layers (docs/remote-layers.md).
struct LayersCommand {
  LayersAction action = LayersAction::list;
  std::string storage;
  std::string image;                 ///< publish
  std::string format = "dir";        ///< publish
  std::optional<std::size_t> count;  ///< publish: only so many of the lowest layers
  std::string platform;              ///< publish; empty is the host's, or the only one
  std::string work;                  ///< publish: where to unpack; empty is in the storage
  std::vector<std::string> digests;  ///< verify and remove
  bool quiet = false;
  bool json = false;
};

/// Declares `layers publish`, `ls`, `verify` and `rm`. `chosen` is called once one of them has been parsed.
/// What it refers to must outlive `app`.
void add_layers_commands(CLI::App& app, LayersCommand& command, std::function<void()> chosen);

/// What a command prints, and ends with although it has printed it.
struct LayersOutput {
  std::string text;
  ExitCode exit = ExitCode::ok;
};

/// Carries out `ls`, `verify` or `rm`, blocking. Throws Error: not_found for a storage that is not there,
/// invalid_argument for what is no digest, and what reading and writing the storage throws. Layers that are
/// damaged or missing are in the output.
LayersOutput run_layers_command(const LayersCommand& command);

}  // namespace lazypull
