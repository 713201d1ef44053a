#pragma once

#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace lazypull {

/// `lazypull snapshotter serve`.
struct SnapshotterCommand {
  std::string address = "/run/lazypull-snapshotter/snapshotter.sock";
  std::string root = "/var/lib/lazypull-snapshotter";
  std::vector<std::string> remote;  ///< storages of unpacked layers
};

/// Adds `snapshotter serve`; `chosen` is called when it has been parsed. What it refers to must outlive
/// `app`.
void add_snapshotter_command(CLI::App& app, SnapshotterCommand& command, std::function<void()> chosen);

/// Serves until SIGTERM or SIGINT, finishes what runs then, and returns. When it serves, it says so on
/// standard error ("serving SOCKET") and to a service manager; later, what is worth knowing of remote layers.
/// Throws permission_denied without root, and what SnapshotRoot and SnapshotServer throw.
void run_snapshotter_command(const SnapshotterCommand& command);

}  // namespace lazypull
