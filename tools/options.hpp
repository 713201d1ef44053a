#pragma once

#include "engine/pull_options.hpp"
#include "engine/reference.hpp"
#include "engine/trace.hpp"
#include "snapshot/unpack_mode.hpp"
#include "tools/agent_command.hpp"
#include "tools/exit_code.hpp"
#include "tools/experiment/command.hpp"
#include "tools/health_command.hpp"
#include "tools/layers_command.hpp"
#include "tools/prewarm_command.hpp"
#include "tools/registry_command.hpp"
#include "tools/snapshotter_command.hpp"
#include "tools/store_command.hpp"
#include "tools/trace_command.hpp"
#include "transport/docker_config.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace lazypull {

enum class Command {
  pull,
  fetch,
  plan,
  prewarm,
  version,
  registry,
  store,
  layers,
  snapshotter,
  experiment,
  trace,
  agent,
  health
};
enum class OutputFormat { text, json };
enum class ProgressMode {
  automatic,  ///< tty where stderr is a terminal; else plain, or none with JSON output
  tty,        ///< a live view that is drawn anew
  plain,      ///< a line for each thing that happens
  none,
};

/// What a command line says, checked and complete.
struct Options {
  Command command = Command::version;

  // Of every command.
  std::string address = "/run/containerd/containerd.sock";
  bool address_given = false;
  std::string store;  ///< directory of the embedded store, if one is given
  std::string containerd_namespace = "default";
  std::chrono::nanoseconds timeout{0};  ///< of the whole command; 0 is none
  std::chrono::nanoseconds connect_timeout = std::chrono::seconds(10);
  bool debug = false;
  OutputFormat output = OutputFormat::text;

  // Of pull, fetch, plan and prewarm.
  Reference reference;  ///< not of prewarm
  std::string snapshotter = "overlayfs";
  std::vector<Platform> platforms;
  bool all_platforms = false;
  bool all_metadata = false;
  Labels image_labels;
  std::size_t max_concurrent_downloads = 3;
  bool remote_snapshot = false;                         ///< the protocol of 2019
  std::optional<std::set<LabelDialect>> remote_labels;  ///< none is `auto`
  std::vector<std::string> remotes;                     ///< storages of layers, for the embedded store
  bool remotes_given = false;  ///< by a flag, so that it is a mistake where they are of no use
  FetchPolicy fetch_policy = FetchPolicy::automatic;
  UnpackMode unpack = UnpackMode::automatic;
  bool discard_unpacked_layers = false;
  std::optional<std::string> user;  ///< as given: name, or name:password
  bool plain_http = false;
  bool skip_verify = false;
  std::string tls_ca;
  std::string tls_cert;
  std::string tls_key;
  std::string hosts_dir;                            ///< of hosts.toml files; empty is where they usually are
  std::uint64_t concurrent_layer_fetch_buffer = 0;  ///< bytes of a part of a large layer; 0 is no parts
  std::size_t max_connections_per_host = 16;        ///< 0 is no limit
  std::uint64_t limit_rate = 0;                     ///< bytes a second; 0 is no limit
  std::chrono::nanoseconds progress_timeout = std::chrono::minutes(5);  ///< without a byte; 0 is none
  std::chrono::nanoseconds mirror_timeout =
      std::chrono::seconds(30);    ///< the same of mirrors, and for answers
  std::uint64_t min_speed = 0;     ///< of mirrors; 0 is no limit
  std::size_t retry_budget = 100;  ///< of one pull
  std::string trace_file;          ///< empty is none
  TracePoint trace;                ///< where the command's spans belong
  PrewarmCommand prewarm;
  RegistryCommand registry;
  SnapshotterCommand snapshotter_command;
  AgentCommand agent_command;
  HealthCommand health_command;
  StoreCommand store_command;
  TraceCommand trace_command;
  LayersCommand layers_command;
  experiment::ExperimentCommand experiment_command;
  bool quiet = false;
  bool print_chain_id = false;
  ProgressMode progress = ProgressMode::automatic;
};

/// The command line asks for nothing but a text (--help, --version), or is wrong.
struct ParseExit {
  ExitCode code = ExitCode::ok;
  std::string text;  ///< help, or what is wrong
  OutputFormat output = OutputFormat::text;
};

using ParsedCommandLine = std::variant<Options, ParseExit>;

/// `arguments` without the program's name. A flag goes before the environment, the environment before the
/// default; a variable that is set to nothing counts as not set.
ParsedCommandLine parse_command_line(std::span<const std::string> arguments, const Environment& environment);

/// The dialects of labels to send: those of `--remote-labels`, or those that fit the snapshotter.
std::set<LabelDialect> label_dialects(const Options& options, bool local_snapshotter);

/// What the engine is to do. `local_snapshotter`: one of containerd's own, as its introspection says.
PullOptions pull_options(const Options& options, bool local_snapshotter);

/// True for commands that ask the snapshotter.
bool needs_snapshotter(const Options& options) noexcept;

}  // namespace lazypull
