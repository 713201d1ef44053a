#include "tools/options.hpp"

#include "tools/byte_size.hpp"
#include "tools/grammar.hpp"
#include "transport/duration.hpp"

#include <charconv>

namespace lazypull {
namespace {

/// The command line is wrong; the message says where.
struct UsageError {
  std::string message;
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

std::uint64_t byte_size(const std::string& flag, const std::string& text) {
  const auto value = parse_byte_size(text);
  if (!value) throw UsageError{flag + ": '" + text + "' is not a number of bytes such as 500000, 64k or 8M"};
  return *value;
}

void check_transfer_options(RawOptions& raw) {
  auto& options = raw.options;
  const std::string buffer = "--concurrent-layer-fetch-buffer";
  options.concurrent_layer_fetch_buffer = byte_size(buffer, raw.concurrent_layer_fetch_buffer);
  const auto size = options.concurrent_layer_fetch_buffer;
  if (size != 0 && (size < 64U << 10U || size > 1U << 30U)) {
    throw UsageError{buffer + ": '" + raw.concurrent_layer_fetch_buffer + "' is not from 64k to 1G"};
  }
  options.max_connections_per_host = number("--max-connections-per-host", raw.max_connections_per_host);
  options.limit_rate = byte_size("--limit-rate", raw.limit_rate);
  options.progress_timeout = duration("--progress-timeout", raw.progress_timeout);
  options.mirror_timeout = duration("--mirror-timeout", raw.mirror_timeout);
  options.min_speed = byte_size("--min-speed", raw.min_speed);
  options.retry_budget = number("--retry-budget", raw.retry_budget);
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

std::vector<Platform> platforms(const RawOptions& raw) {
  if (raw.options.all_platforms && !raw.platforms.empty()) {
    throw UsageError{"--all-platforms and --platform exclude each other"};
  }
  std::vector<Platform> parsed;
  for (const auto& text : split_commas("--platform", raw.platforms)) parsed.push_back(Platform::parse(text));
  return parsed;
}

void check_image_options(RawOptions& raw) {
  auto& options = raw.options;
  const bool many = options.command == Command::prewarm;
  if (!many) options.reference = Reference::parse(raw.reference);
  options.platforms = platforms(raw);
  options.image_labels = image_labels(raw.labels);
  options.remote_labels = remote_labels(raw.remote_labels);
  options.remotes_given = !raw.remotes.empty();
  if (options.remotes_given && options.address_given && options.store.empty()) {
    throw UsageError{"--remote is for the embedded store, and --address for containerd"};
  }
  if (!raw.remotes_of_environment.empty()) raw.remotes.push_back(raw.remotes_of_environment);
  options.remotes = split_commas("--remote", raw.remotes);
  options.max_concurrent_downloads =
      number("--max-concurrent-downloads",
             many ? raw.prewarm.max_concurrent_downloads : raw.max_concurrent_downloads);
  options.fetch_policy = choose<FetchPolicy>(
      "--fetch-policy", raw.fetch_policy,
      {{"auto", FetchPolicy::automatic}, {"sparse", FetchPolicy::sparse}, {"eager", FetchPolicy::eager}});
  options.unpack = choose<UnpackMode>("--unpack", raw.unpack,
                                      {{"auto", UnpackMode::automatic},
                                       {"direct", UnpackMode::direct},
                                       {"diff-service", UnpackMode::diff_service}});
  options.progress = choose<ProgressMode>("--progress", raw.progress,
                                          {{"auto", ProgressMode::automatic},
                                           {"tty", ProgressMode::tty},
                                           {"plain", ProgressMode::plain},
                                           {"none", ProgressMode::none}});
  check_transfer_options(raw);
  if (options.quiet) options.progress = ProgressMode::none;
  if (!raw.user.empty()) {
    if (raw.user.starts_with(':')) throw UsageError{"--user: the name is missing"};
    options.user = raw.user;
  }
  const bool by_containerd = options.unpack == UnpackMode::diff_service;
  if (!options.store.empty() && by_containerd) {
    throw UsageError{"--unpack=diff-service is containerd's, and --store does without it"};
  }
  if (options.snapshotter.empty()) throw UsageError{"--snapshotter: the name is empty"};
  if (options.tls_cert.empty() != options.tls_key.empty()) {
    throw UsageError{"--tlscert and --tlskey must be given together"};
  }
}

void check_prewarm_options(RawOptions& raw) {
  auto& prewarm = raw.options.prewarm;
  prewarm.max_concurrent_images = number("--max-concurrent-images", raw.prewarm.max_concurrent_images);
  prewarm.max_concurrent_unpacks = number("--max-concurrent-unpacks", raw.prewarm.max_concurrent_unpacks);
  prewarm.max_concurrent_downloads_per_registry =
      number("--max-concurrent-downloads-per-registry", raw.prewarm.max_concurrent_downloads_per_registry);
  prewarm.max_bytes_in_flight = byte_size("--max-bytes-in-flight", raw.prewarm.max_bytes_in_flight);
  for (const auto& text : raw.prewarm.class_rates) add_class_rate(prewarm.class_rates, text, "--class-rate");
  prewarm.format = choose<PrewarmFormat>(
      "--format", raw.prewarm.format,
      {{"auto", PrewarmFormat::automatic}, {"lines", PrewarmFormat::lines}, {"yaml", PrewarmFormat::yaml}});
  prewarm.deadline = duration("--deadline", raw.prewarm.deadline);
  const auto min_free = parse_min_free(raw.prewarm.min_free);
  if (!min_free) {
    throw UsageError{"--min-free: '" + raw.prewarm.min_free +
                     "' is neither a size such as 10G nor from 0% to 100%"};
  }
  prewarm.min_free = *min_free;
  if (prewarm.fail_fast && raw.prewarm.keep_going) {
    throw UsageError{"--keep-going and --fail-fast exclude each other"};
  }
  if (prewarm.files.empty() && prewarm.images.empty()) {
    throw UsageError{"a list of images is required: a FILE, - for standard input, or --image"};
  }
  for (const auto& image : prewarm.images) Reference::parse(image);
}

void check(RawOptions& raw) {
  auto& options = raw.options;
  options.output = choose<OutputFormat>("--output", raw.output,
                                        {{"text", OutputFormat::text}, {"json", OutputFormat::json}});
  options.timeout = duration("--timeout", raw.timeout);
  options.connect_timeout = duration("--connect-timeout", raw.connect_timeout);
  if (options.address.empty()) throw UsageError{"--address: the path is empty"};
  if (options.containerd_namespace.empty()) throw UsageError{"--namespace: the name is empty"};
  const bool of_an_image = options.command == Command::pull || options.command == Command::fetch ||
                           options.command == Command::plan || options.command == Command::prewarm;
  if (of_an_image) check_image_options(raw);
  if (options.command == Command::prewarm) check_prewarm_options(raw);
  if (options.command == Command::layers && options.layers_command.json) options.output = OutputFormat::json;
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
  RawOptions raw;
  Grammar grammar(raw);
  auto usage = [&](const std::string& message) {
    return ParseExit{ExitCode::usage, message, guess_output(arguments)};
  };
  try {
    grammar.app().parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
    if (grammar.app().get_subcommands().empty()) {
      throw UsageError{"a command is required, such as pull"};
    }
    grammar.read_environment(environment);
    raw.options.address_given = grammar.is_set(raw.options.address);
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
  pull.discard_unpacked_layers = options.discard_unpacked_layers;
  pull.protocol = options.remote_snapshot ? RemoteProtocol::v2019 : RemoteProtocol::today;
  pull.dialects = label_dialects(options, local_snapshotter);
  pull.fetch_policy = options.fetch_policy;
  pull.local_snapshotter = local_snapshotter;
  pull.max_concurrent_downloads = options.max_concurrent_downloads;
  pull.image_labels = options.image_labels;
  pull.trace = options.trace;
  return pull;
}

bool needs_snapshotter(const Options& options) noexcept {
  if (options.command == Command::version) return false;
  return options.command != Command::fetch || options.remote_snapshot;
}

}  // namespace lazypull
