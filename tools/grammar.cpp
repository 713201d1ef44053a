#include "tools/grammar.hpp"

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <algorithm>

namespace lazypull {
namespace {

CLI::Option* list(CLI::App& app, const char* names, std::vector<std::string>& variable, const char* help,
                  const char* placeholder) {
  return app.add_option(names, variable, help)
      ->type_name(placeholder)
      ->take_all()
      ->expected(1)
      ->allow_extra_args(false);
}

}  // namespace

Grammar::Grammar(RawOptions& raw)
    : raw_(raw),
      app_(
          "Pulls container images into containerd, or into a store of its own, and downloads only what the "
          "snapshotter cannot provide.",
          "lazypull") {
  app_.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app_.require_subcommand(0, 1);
  app_.set_help_flag("-h,--help", "Print this help and exit");
  app_.set_version_flag("-v,--version", "lazypull " LAZYPULL_VERSION, "Print the version and exit");
  app_.footer(exit_code_help() + "\nRun 'lazypull COMMAND --help' for the flags of a command.");
  add_global_flags();
  add_image_command(Command::pull, "pull", "Pull an image: make its snapshots ready to run");
  add_image_command(Command::fetch, "fetch", "Fetch an image's content only, without unpacking it");
  add_image_command(Command::plan, "plan", "Show what a pull would download, and change nothing");
  add_prewarm_command();
  add_version_command();
  add_other_commands();
}

void Grammar::read_environment(const Environment& environment) {
  for (const auto& [variable, source] : fallbacks_) {
    const auto& [option, name] = source;
    if (option->count() > 0) continue;
    auto value = environment(name);
    if (!value || value->empty() || !belongs_to_command(*option)) continue;
    *variable = std::move(*value);
    from_environment_.push_back(variable);
  }
}

bool Grammar::is_set(const std::string& variable) const {
  if (std::ranges::find(from_environment_, &variable) != from_environment_.end()) return true;
  return std::ranges::any_of(fallbacks_, [&](const Fallback& fallback) {
    return fallback.first == &variable && fallback.second.first->count() > 0;
  });
}

bool Grammar::belongs_to_command(const CLI::Option& option) const {
  if (app_.get_option_no_throw(option.get_name()) == &option) return true;
  for (const auto* command : app_.get_subcommands()) {
    if (command->get_option_no_throw(option.get_name()) == &option) return true;
  }
  return false;
}

CLI::Option* Grammar::text(CLI::App& app, const char* names, std::string& variable, std::string help,
                           const char* placeholder, const char* environment) {
  if (environment != nullptr) help += std::string(" [$") + environment + "]";
  auto* option = app.add_option(names, variable, std::move(help))->type_name(placeholder);
  if (!variable.empty()) option->default_str(variable);
  if (environment != nullptr) fallbacks_.push_back({&variable, {option, environment}});
  return option;
}

void Grammar::add_global_flags() {
  auto& options = raw_.options;
  text(app_, "-a,--address", options.address, "Socket of containerd", "PATH", "CONTAINERD_ADDRESS");
  text(app_, "--store", options.store,
       "Directory of an embedded store, instead of containerd; used without this flag too where no address "
       "is given and no containerd is there: /var/lib/lazypull, or lazypull in the user's XDG data directory",
       "DIR", "LAZYPULL_STORE");
  text(app_, "-n,--namespace", options.containerd_namespace, "Namespace in containerd or in the store",
       "NAME", "CONTAINERD_NAMESPACE");
  text(app_, "--timeout", raw_.timeout, "Limit for the whole command, such as 90s or 1m30s; 0 is none",
       "DURATION");
  text(app_, "--connect-timeout", raw_.connect_timeout, "Limit for connecting to containerd; 0 is none",
       "DURATION");
  app_.add_flag("--debug", options.debug, "Log requests and calls to standard error");
}

CLI::App& Grammar::add_command(Command command, const char* name, const char* help) {
  auto* app = app_.add_subcommand(name, help);
  app->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app->fallthrough();
  app->footer("The flags that 'lazypull --help' lists are accepted here too.");
  app->parse_complete_callback([this, command] { raw_.options.command = command; });
  text(*app, "--output", raw_.output, "text, or json: one object on standard output", "FORMAT");
  return *app;
}

void Grammar::add_version_command() {
  add_command(Command::version, "version", "Print the versions of lazypull and of containerd");
}

void Grammar::add_other_commands() {
  add_registry_command(app_, raw_.options.registry, [this] { raw_.options.command = Command::registry; });
  add_snapshotter_command(app_, raw_.options.snapshotter_command,
                          [this] { raw_.options.command = Command::snapshotter; });
  add_agent_command(app_, raw_.options.agent_command, [this] { raw_.options.command = Command::agent; });
  add_health_command(app_, raw_.options.health_command, [this] { raw_.options.command = Command::health; });
  add_layers_commands(app_, raw_.options.layers_command, [this] { raw_.options.command = Command::layers; });
  experiment::add_experiment_commands(app_, raw_.options.experiment_command,
                                      [this] { raw_.options.command = Command::experiment; });
  add_trace_commands(app_, raw_.options.trace_command, [this] { raw_.options.command = Command::trace; });
  add_store_commands(app_, raw_.options.store_command, [this] { raw_.options.command = Command::store; });
}

void Grammar::add_image_command(Command command, const char* name, const char* help) {
  auto& app = add_command(command, name, help);
  app.add_option("REF", raw_.reference, "Image, such as alpine, registry.example.com/app:1 or app@sha256:...")
      ->type_name("")
      ->required();
  add_choice_flags(app);
  text(app, "--max-concurrent-downloads", raw_.max_concurrent_downloads, "Downloads at once; 0 is no limit",
       "NUMBER");
  add_snapshot_flags(app);
  add_registry_flags(app);
  add_transfer_flags(app);
  add_output_flags(app);
}

void Grammar::add_choice_flags(CLI::App& app) {
  auto& options = raw_.options;
  list(app, "--platform", raw_.platforms, "os/architecture[/variant]; may be repeated or comma-separated",
       "PLATFORM");
  app.add_flag("--all-platforms", options.all_platforms, "Take every platform of the image");
  app.add_flag("--all-metadata", options.all_metadata,
               "Take manifests and configs of the other platforms too");
  list(app, "--label", raw_.labels, "Label of the image record; may be repeated", "KEY=VALUE");
}

void Grammar::add_prewarm_command() {
  auto& prewarm = raw_.options.prewarm;
  auto& app = add_command(Command::prewarm, "prewarm",
                          "Pull many images, what they share only once; what is there already is left alone");
  app.add_option(
         "FILE", prewarm.files,
         "List of images, one a line: REFERENCE [platform=OS/ARCH] [priority=N]; '#' begins a comment; or "
         "YAML: images: [{reference: ..., platforms: [...], priority: N}], defaults: {...}; - is standard "
         "input")
      ->type_name("")
      ->take_all();
  list(app, "--image", prewarm.images, "A single image; may be repeated", "REF");
  text(app, "--format", raw_.prewarm.format,
       "Format of the lists: lines, yaml, or auto: YAML where the name ends with .yaml or .yml", "FORMAT");
  add_prewarm_limits(app);
  add_choice_flags(app);
  add_snapshot_flags(app);
  add_registry_flags(app);
  add_transfer_flags(app);
  app.add_flag("-q,--quiet", raw_.options.quiet, "Neither progress nor summary");
  text(app, "--progress", raw_.progress, "auto, tty, plain or none", "MODE");
  app.footer(
      "Ends with 0 if every image is there, with 10 and the number of images that failed (11: one, 110: a "
      "hundred or more), with 8 if the disk is full, and with 124 past the deadline.\n"
      "The flags that 'lazypull --help' lists are accepted here too.");
}

void Grammar::add_prewarm_limits(CLI::App& app) {
  auto& prewarm = raw_.options.prewarm;
  auto& raw = raw_.prewarm;
  text(app, "--max-concurrent-images", raw.max_concurrent_images, "Images at once; 0 is no limit", "NUMBER");
  text(app, "--max-concurrent-downloads", raw.max_concurrent_downloads,
       "Downloads at once, of all images; 0 is no limit", "NUMBER");
  text(app, "--max-concurrent-downloads-per-registry", raw.max_concurrent_downloads_per_registry,
       "Downloads at once from one registry; 0 is no limit", "NUMBER");
  text(app, "--max-concurrent-unpacks", raw.max_concurrent_unpacks,
       "Layers that are extracted at once, of all images; 0 is no limit", "NUMBER");
  text(app, "--max-bytes-in-flight", raw.max_bytes_in_flight,
       "Sum of the sizes of what is downloaded at once, such as 512M; a larger layer goes alone; 0 is no "
       "limit",
       "SIZE");
  list(app, "--class-rate", raw.class_rates,
       "Bytes a second of a class of pulls: prewarm=20M (all that this command pulls) or serving=RATE",
       "CLASS=RATE");
  text(app, "--rates-file", prewarm.rates_file,
       "File with one CLASS=RATE a line, which goes before --class-rate and is read again at SIGHUP", "FILE");
  app.add_flag("--keep-going", raw.keep_going, "Go on with the others when an image fails (default)");
  app.add_flag("--fail-fast", prewarm.fail_fast, "Stop at the first image that fails");
  text(app, "--deadline", raw.deadline,
       "Stop after so long, such as 30m, and say how far it came; 0 is never", "DURATION");
  app.add_flag(
      "--dry-run", prewarm.dry_run,
      "Show what would be downloaded, shared layers once, and whether there is room; change nothing");
  text(app, "--min-free", raw.min_free, "What is to stay free of the disk, such as 10G or 5%; else stop",
       "SIZE");
}

void Grammar::add_snapshot_flags(CLI::App& app) {
  auto& options = raw_.options;
  text(app, "--snapshotter", options.snapshotter, "Snapshotter of containerd", "NAME",
       "CONTAINERD_SNAPSHOTTER");
  app.add_flag("--remote-snapshot", options.remote_snapshot,
               "Ask the snapshotter by the protocol of 2019: containerd.io/snapshot/remote_snapshot labels");
  list(app, "--remote-labels", raw_.remote_labels,
       "Labels that say which layer is asked for: auto, or some of containerd, cri, stargz, 2019", "DIALECT");
  const auto* remote =
      list(app, "--remote", raw_.remotes,
           "Storage of published layers, which the embedded store uses instead of downloading; may be "
           "repeated or comma-separated [$LAZYPULL_REMOTE]",
           "DIR");
  fallbacks_.push_back({&raw_.remotes_of_environment, {remote, "LAZYPULL_REMOTE"}});
  text(app, "--fetch-policy", raw_.fetch_policy,
       "auto; sparse: download a layer only after the snapshotter has declined it; eager: all above the "
       "first "
       "missing one at once",
       "POLICY");
  text(app, "--unpack", raw_.unpack,
       "auto; direct: extract layers here while they arrive; diff-service: have containerd extract them",
       "WHO");
  app.add_flag("--discard-unpacked-layers", options.discard_unpacked_layers,
               "Do not keep the blobs of layers that are unpacked");
}

void Grammar::add_registry_flags(CLI::App& app) {
  auto& options = raw_.options;
  text(app, "-u,--user", raw_.user, "User at the registry; the password is asked for if it is left out",
       "NAME[:PASSWORD]");
  app.add_flag("--plain-http", options.plain_http, "Talk HTTP without TLS to the registry");
  app.add_flag("-k,--skip-verify", options.skip_verify, "Do not verify the registry's certificate");
  text(app, "--tlscacert", options.tls_ca, "Certificates to trust", "FILE");
  text(app, "--tlscert", options.tls_cert, "Client certificate", "FILE");
  text(app, "--tlskey", options.tls_key, "Key of the client certificate", "FILE");
  text(app, "--hosts-dir", options.hosts_dir,
       "Directory of hosts.toml files, as containerd has them, instead of /etc/containerd/certs.d and "
       "/etc/docker/certs.d",
       "DIR", "LAZYPULL_HOSTS_DIR");
}

void Grammar::add_transfer_flags(CLI::App& app) {
  text(app, "--trace", raw_.options.trace_file,
       "Write what took how long to a file that Perfetto and chrome://tracing open, also of a failure",
       "FILE");
  text(app, "--concurrent-layer-fetch-buffer", raw_.concurrent_layer_fetch_buffer,
       "Fetch layers that are larger, such as 8M, in parts of this size, four at once; 0 is never", "SIZE");
  text(app, "--max-connections-per-host", raw_.max_connections_per_host,
       "Requests at once to one host; fewer where it is overloaded; 0 is no limit", "NUMBER");
  text(app, "--limit-rate", raw_.limit_rate,
       "Bytes a second of all downloads, such as 500k or 20M; 0 is no limit", "RATE");
  text(app, "--progress-timeout", raw_.progress_timeout,
       "Try again where no byte has come for so long; 0 is never", "DURATION");
  text(app, "--mirror-timeout", raw_.mirror_timeout,
       "How long to wait for the answer of a host that others come after, and for each byte; 0 is as for the "
       "last host",
       "DURATION");
  text(app, "--min-speed", raw_.min_speed,
       "Leave a host that others come after where it sends less than this a second for 30 s, such as 100k; 0 "
       "is no limit",
       "RATE");
  text(app, "--retry-budget", raw_.retry_budget,
       "How often one pull may try again in all, but for what brings bytes", "NUMBER");
}

void Grammar::add_output_flags(CLI::App& app) {
  auto& options = raw_.options;
  app.add_flag("-q,--quiet", options.quiet, "Neither progress nor summary");
  app.add_flag("--print-chainid", options.print_chain_id, "Print the ChainID of the image's top layer");
  text(app, "--progress", raw_.progress, "auto, tty, plain or none", "MODE");
}

}  // namespace lazypull
