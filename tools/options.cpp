#include "tools/options.hpp"

#include "tools/duration.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <charconv>

namespace lazypull {
namespace {

/// The command line is wrong; the message says where.
struct UsageError {
  std::string message;
};

/// What the parser reads, before it is checked.
struct Raw {
  Options options;
  std::string timeout = "0s";
  std::string connect_timeout = "10s";
  std::string output = "text";
  std::string reference;
  std::vector<std::string> platforms;
  std::vector<std::string> labels;
  std::vector<std::string> remote_labels;
  std::string max_concurrent_downloads = "3";
  std::string fetch_policy = "auto";
  std::string progress = "auto";
  std::string user;
};

using Fallbacks = std::vector<std::pair<std::string*, std::pair<const CLI::Option*, std::string>>>;

/// Declares the flags, all of them on the variables of one Raw.
class Grammar {
 public:
  explicit Grammar(Raw& raw)
      : raw_(raw),
        app_(
            "Pulls container images into containerd, and downloads only what its "
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
    add_version_command();
  }

  CLI::App& app() { return app_; }

  /// Fills in from the environment what no flag has set.
  void read_environment(const Environment& environment) const {
    for (const auto& [variable, source] : fallbacks_) {
      const auto& [option, name] = source;
      if (option->count() > 0) continue;
      auto value = environment(name);
      if (value && !value->empty() && belongs_to_command(*option)) *variable = std::move(*value);
    }
  }

 private:
  bool belongs_to_command(const CLI::Option& option) const {
    if (app_.get_option_no_throw(option.get_name()) == &option) return true;
    for (const auto* command : app_.get_subcommands()) {
      if (command->get_option_no_throw(option.get_name()) == &option) return true;
    }
    return false;
  }

  CLI::Option* text(CLI::App& app, const char* names, std::string& variable, std::string help,
                    const char* placeholder, const char* environment = nullptr) {
    if (environment != nullptr) help += std::string(" [$") + environment + "]";
    auto* option = app.add_option(names, variable, std::move(help))->type_name(placeholder);
    if (!variable.empty()) option->default_str(variable);
    if (environment != nullptr) fallbacks_.push_back({&variable, {option, environment}});
    return option;
  }

  static void list(CLI::App& app, const char* names, std::vector<std::string>& variable, const char* help,
                   const char* placeholder) {
    app.add_option(names, variable, help)
        ->type_name(placeholder)
        ->take_all()
        ->expected(1)
        ->allow_extra_args(false);
  }

  void add_global_flags() {
    auto& options = raw_.options;
    text(app_, "-a,--address", options.address, "Socket of containerd", "PATH", "CONTAINERD_ADDRESS");
    text(app_, "-n,--namespace", options.containerd_namespace, "Namespace of containerd", "NAME",
         "CONTAINERD_NAMESPACE");
    text(app_, "--timeout", raw_.timeout, "Limit for the whole command, such as 90s or 1m30s; 0 is none",
         "DURATION");
    text(app_, "--connect-timeout", raw_.connect_timeout, "Limit for connecting to containerd; 0 is none",
         "DURATION");
    app_.add_flag("--debug", options.debug, "Log requests and calls to standard error");
  }

  CLI::App& add_command(Command command, const char* name, const char* help) {
    auto* app = app_.add_subcommand(name, help);
    app->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    app->fallthrough();
    app->footer("The flags that 'lazypull --help' lists are accepted here too.");
    app->parse_complete_callback([this, command] { raw_.options.command = command; });
    text(*app, "--output", raw_.output, "text, or json: one object on standard output", "FORMAT");
    return *app;
  }

  void add_version_command() {
    add_command(Command::version, "version", "Print the versions of lazypull and of containerd");
  }

  void add_image_command(Command command, const char* name, const char* help) {
    auto& app = add_command(command, name, help);
    app.add_option("REF", raw_.reference,
                   "Image, such as alpine, registry.example.com/app:1 or app@sha256:...")
        ->type_name("")
        ->required();
    add_choice_flags(app);
    add_snapshot_flags(app);
    add_registry_flags(app);
    add_output_flags(app);
  }

  void add_choice_flags(CLI::App& app) {
    auto& options = raw_.options;
    list(app, "--platform", raw_.platforms, "os/architecture[/variant]; may be repeated or comma-separated",
         "PLATFORM");
    app.add_flag("--all-platforms", options.all_platforms, "Take every platform of the image");
    app.add_flag("--all-metadata", options.all_metadata,
                 "Take manifests and configs of the other platforms too");
    list(app, "--label", raw_.labels, "Label of the image record; may be repeated", "KEY=VALUE");
    text(app, "--max-concurrent-downloads", raw_.max_concurrent_downloads, "Downloads at once; 0 is no limit",
         "NUMBER");
  }

  void add_snapshot_flags(CLI::App& app) {
    auto& options = raw_.options;
    text(app, "--snapshotter", options.snapshotter, "Snapshotter of containerd", "NAME",
         "CONTAINERD_SNAPSHOTTER");
    app.add_flag(
        "--remote-snapshot", options.remote_snapshot,
        "Ask the snapshotter by the protocol of 2019: containerd.io/snapshot/remote_snapshot labels");
    list(app, "--remote-labels", raw_.remote_labels,
         "Labels that say which layer is asked for: auto, or some of containerd, cri, stargz, 2019",
         "DIALECT");
    text(app, "--fetch-policy", raw_.fetch_policy,
         "auto; sparse: download a layer only after the snapshotter has declined it; eager: all above the "
         "first "
         "missing one at once",
         "POLICY");
  }

  void add_registry_flags(CLI::App& app) {
    auto& options = raw_.options;
    text(app, "-u,--user", raw_.user, "User at the registry; the password is asked for if it is left out",
         "NAME[:PASSWORD]");
    app.add_flag("--plain-http", options.plain_http, "Talk HTTP without TLS to the registry");
    app.add_flag("-k,--skip-verify", options.skip_verify, "Do not verify the registry's certificate");
    text(app, "--tlscacert", options.tls_ca, "Certificates to trust", "FILE");
    text(app, "--tlscert", options.tls_cert, "Client certificate", "FILE");
    text(app, "--tlskey", options.tls_key, "Key of the client certificate", "FILE");
  }

  void add_output_flags(CLI::App& app) {
    auto& options = raw_.options;
    app.add_flag("-q,--quiet", options.quiet, "Neither progress nor summary");
    app.add_flag("--print-chainid", options.print_chain_id, "Print the ChainID of the image's top layer");
    text(app, "--progress", raw_.progress, "auto, tty, plain or none", "MODE");
  }

  Raw& raw_;
  CLI::App app_;
  Fallbacks fallbacks_;
};

/// Finds the value of a flag among its allowed words.
template <class Value>
Value choose(const std::string& flag, const std::string& word,
             std::initializer_list<std::pair<std::string_view, Value>> values) {
  std::string allowed;
  for (const auto& [name, value] : values) {
    if (name == word) return value;
    allowed += (allowed.empty() ? "" : ", ") + std::string(name);
  }
  throw UsageError{flag + ": '" + word + "' is none of " + allowed};
}

std::string empty_part(const std::string& flag, const std::string& value) {
  return flag + ": '" + value + "' has an empty part";
}

std::vector<std::string> split_commas(const std::string& flag, const std::vector<std::string>& values) {
  std::vector<std::string> parts;
  for (const auto& value : values) {
    std::size_t start = 0;
    for (;;) {
      const std::size_t end = value.find(',', start);
      parts.push_back(value.substr(start, end - start));
      if (parts.back().empty()) throw UsageError{empty_part(flag, value)};
      if (end == std::string::npos) break;
      start = end + 1;
    }
  }
  return parts;
}

std::chrono::nanoseconds duration(const std::string& flag, const std::string& text) {
  const auto value = parse_duration(text);
  if (!value) throw UsageError{flag + ": '" + text + "' is not a duration such as 30s or 1m30s"};
  return *value;
}

std::size_t number(const std::string& flag, const std::string& text) {
  std::size_t value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || rest != end)
    throw UsageError{flag + ": '" + text + "' is not a number from 0 up"};
  return value;
}

Labels image_labels(const std::vector<std::string>& texts) {
  Labels labels;
  for (const auto& text : texts) {
    const std::size_t equals = text.find('=');
    const std::string key = text.substr(0, equals);
    // A bare key means "true", as for ctr.
    const std::string value = equals == std::string::npos ? "true" : text.substr(equals + 1);
    if (key.empty()) throw UsageError{"--label: '" + text + "' has no key"};
    if (key.size() + value.size() > max_label_bytes) {
      throw UsageError{"--label: '" + key + "': key and value are longer than 4096 bytes together"};
    }
    labels[key] = value;
  }
  return labels;
}

std::optional<std::set<LabelDialect>> remote_labels(const std::vector<std::string>& values) {
  const std::string flag = "--remote-labels";
  std::set<LabelDialect> dialects;
  const auto words = split_commas(flag, values);
  for (const auto& word : words) {
    if (word == "auto") {
      if (words.size() > 1) throw UsageError{flag + ": auto excludes all others"};
      return std::nullopt;
    }
    dialects.insert(choose<LabelDialect>(flag, word,
                                         {{"containerd", LabelDialect::containerd},
                                          {"cri", LabelDialect::cri},
                                          {"stargz", LabelDialect::stargz},
                                          {"2019", LabelDialect::v2019}}));
  }
  if (dialects.empty()) return std::nullopt;
  return dialects;
}

std::vector<Platform> platforms(const Raw& raw) {
  if (raw.options.all_platforms && !raw.platforms.empty()) {
    throw UsageError{"--all-platforms and --platform exclude each other"};
  }
  std::vector<Platform> parsed;
  for (const auto& text : split_commas("--platform", raw.platforms)) parsed.push_back(Platform::parse(text));
  return parsed;
}

void check_image_options(Raw& raw) {
  auto& options = raw.options;
  options.reference = Reference::parse(raw.reference);
  options.platforms = platforms(raw);
  options.image_labels = image_labels(raw.labels);
  options.remote_labels = remote_labels(raw.remote_labels);
  options.max_concurrent_downloads = number("--max-concurrent-downloads", raw.max_concurrent_downloads);
  options.fetch_policy = choose<FetchPolicy>(
      "--fetch-policy", raw.fetch_policy,
      {{"auto", FetchPolicy::automatic}, {"sparse", FetchPolicy::sparse}, {"eager", FetchPolicy::eager}});
  options.progress = choose<ProgressMode>("--progress", raw.progress,
                                          {{"auto", ProgressMode::automatic},
                                           {"tty", ProgressMode::tty},
                                           {"plain", ProgressMode::plain},
                                           {"none", ProgressMode::none}});
  if (options.quiet) options.progress = ProgressMode::none;
  if (!raw.user.empty()) {
    if (raw.user.starts_with(':')) throw UsageError{"--user: the name is missing"};
    options.user = raw.user;
  }
  if (options.snapshotter.empty()) throw UsageError{"--snapshotter: the name is empty"};
  if (options.tls_cert.empty() != options.tls_key.empty()) {
    throw UsageError{"--tlscert and --tlskey must be given together"};
  }
}

void check(Raw& raw) {
  auto& options = raw.options;
  options.output = choose<OutputFormat>("--output", raw.output,
                                        {{"text", OutputFormat::text}, {"json", OutputFormat::json}});
  options.timeout = duration("--timeout", raw.timeout);
  options.connect_timeout = duration("--connect-timeout", raw.connect_timeout);
  if (options.address.empty()) throw UsageError{"--address: the path is empty"};
  if (options.containerd_namespace.empty()) throw UsageError{"--namespace: the name is empty"};
  if (options.command != Command::version) check_image_options(raw);
}

/// Whether JSON is wanted, for an error that makes parsing end before it is known.
OutputFormat guess_output(std::span<const std::string> arguments) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const bool separate =
        arguments[i] == "--output" && i + 1 < arguments.size() && arguments[i + 1] == "json";
    if (separate || arguments[i] == "--output=json") return OutputFormat::json;
  }
  return OutputFormat::text;
}

}  // namespace

ParsedCommandLine parse_command_line(std::span<const std::string> arguments, const Environment& environment) {
  Raw raw;
  Grammar grammar(raw);
  auto usage = [&](const std::string& message) {
    return ParseExit{ExitCode::usage, message, guess_output(arguments)};
  };
  try {
    grammar.app().parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
    if (grammar.app().get_subcommands().empty()) {
      throw UsageError{"a command is required: pull, fetch, plan or version"};
    }
    grammar.read_environment(environment);
    check(raw);
    return std::move(raw.options);
  } catch (const CLI::CallForHelp&) {
    return ParseExit{ExitCode::ok, grammar.app().help(), OutputFormat::text};
  } catch (const CLI::CallForVersion&) {
    return ParseExit{ExitCode::ok, "lazypull " LAZYPULL_VERSION "\n", OutputFormat::text};
  } catch (const CLI::ParseError& error) {
    return usage(error.what());
  } catch (const UsageError& error) {
    return usage(error.message);
  } catch (const Error& error) {
    return usage(error.message());
  }
}

std::set<LabelDialect> label_dialects(const Options& options, bool local_snapshotter) {
  if (options.remote_labels) return *options.remote_labels;
  std::set<LabelDialect> dialects{LabelDialect::containerd};
  if (!local_snapshotter) dialects.insert({LabelDialect::cri, LabelDialect::stargz});
  if (options.remote_snapshot) dialects.insert(LabelDialect::v2019);
  return dialects;
}

PullOptions pull_options(const Options& options, bool local_snapshotter) {
  PullOptions pull;
  pull.platforms = options.platforms;
  pull.all_platforms = options.all_platforms;
  pull.all_metadata = options.all_metadata;
  pull.unpack = options.command != Command::fetch;
  pull.protocol = options.remote_snapshot ? RemoteProtocol::v2019 : RemoteProtocol::today;
  pull.dialects = label_dialects(options, local_snapshotter);
  pull.fetch_policy = options.fetch_policy;
  pull.local_snapshotter = local_snapshotter;
  pull.max_concurrent_downloads = options.max_concurrent_downloads;
  pull.image_labels = options.image_labels;
  return pull;
}

bool needs_snapshotter(const Options& options) noexcept {
  if (options.command == Command::version) return false;
  return options.command != Command::fetch || options.remote_snapshot;
}

}  // namespace lazypull
