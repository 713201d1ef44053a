#include "tools/snapshotter_command.hpp"

#include "engine/error.hpp"
#include "snapshot/service/snapshot_root.hpp"
#include "snapshot/service/snapshot_server.hpp"
#include "tools/snapshotter_notify.hpp"
#include "tools/text.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <thread>
#include <unistd.h>
#include <utility>

namespace lazypull {

namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds patience{20};

/// One write, so that lines of several threads do not mix.
void log_line(const std::string& text) {
  const auto line = printable(text) + "\n";
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

fs::path socket_path(const std::string& address) {
  constexpr std::string_view scheme = "unix://";
  return fs::absolute(address.starts_with(scheme) ? address.substr(scheme.size()) : address);
}

std::vector<fs::path> storages(const SnapshotterCommand& command) {
  std::vector<fs::path> directories;
  for (const auto& directory : command.remote) {
    if (directory.empty()) throw Error(Errc::invalid_argument, "--remote: the path is empty");
    directories.push_back(fs::absolute(directory));
  }
  return directories;
}

/// What a process that was killed has left behind is no reason not to serve.
void clean_up(SnapshotRoot& root) {
  try {
    const auto count = root.cleanup();
    if (count > 0) log_line("removed " + format_count(count, "leftover"));
  } catch (const Error& error) {
    log_line("cleanup: " + error.message());
  }
}

std::string notify_socket() {
  const char* socket = std::getenv("NOTIFY_SOCKET");
  return socket == nullptr ? std::string() : std::string(socket);
}

}  // namespace

void add_snapshotter_command(CLI::App& app, SnapshotterCommand& command, std::function<void()> chosen) {
  auto* snapshotter =
      app.add_subcommand("snapshotter", "A snapshotter for containerd that mounts shared layers");
  snapshotter->require_subcommand(1);
  auto* serve = snapshotter->add_subcommand(
      "serve", "Serve containerd as its proxy plugin, over overlayfs, until interrupted; needs root");
  serve->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  serve->footer(
      "Layers that 'lazypull layers publish' has put into one of the --remote directories are mounted from\n"
      "there. All others are downloaded and kept below --root.");
  serve->parse_complete_callback(std::move(chosen));
  serve->add_option("--address", command.address, "Unix socket to listen on")
      ->type_name("PATH")
      ->default_str(command.address);
  serve->add_option("--root", command.root, "Directory of the snapshots and their records")
      ->type_name("DIR")
      ->default_str(command.root);
  serve
      ->add_option("--remote", command.remote,
                   "Storage of unpacked layers, asked in this order; may be repeated or comma-separated")
      ->type_name("DIR")
      ->take_all()
      ->delimiter(',')
      ->allow_extra_args(false);
}

void run_snapshotter_command(const SnapshotterCommand& command) {
  if (::geteuid() != 0) {
    throw Error(Errc::permission_denied, "a snapshotter needs root: layers have owners and are mounted");
  }
  boost::asio::io_context home(1);
  boost::asio::signal_set signals(home, SIGINT, SIGTERM);
  signals.async_wait([&](const boost::system::error_code&, int) {
    signals.clear();  // a second one ends the process at once, which costs nothing but time
    home.stop();
  });
  SnapshotRoot root(fs::absolute(command.root));
  if (!command.remote.empty()) root.use_storages(storages(command), log_line);
  clean_up(root);
  SnapshotServerOptions options;
  options.socket = socket_path(command.address);
  options.log = log_line;
  SnapshotServer server(root, options);
  log_line("serving " + options.socket.string());
  const auto manager = notify_socket();
  notify_service_manager(manager, "READY=1");
  const std::jthread attaching([&root](const std::stop_token& stop) { root.attach_layers(stop, log_line); });
  home.run();
  notify_service_manager(manager, "STOPPING=1");
  server.stop(patience);
}

}  // namespace lazypull
