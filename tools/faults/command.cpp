#include "tools/faults/command.hpp"

#include "engine/error.hpp"
#include "snapshot/embedded/files.hpp"
#include "tools/byte_size.hpp"
#include "transport/duration.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <chrono>
#include <utility>

namespace lazypull {
namespace {

std::chrono::milliseconds duration_flag(const char* flag, const std::string& text) {
  const auto duration = parse_duration(text);
  if (!duration)
    throw Error(Errc::invalid_argument,
                std::string(flag) + ": '" + text + "' is not a duration such as 20ms");
  return std::chrono::ceil<std::chrono::milliseconds>(*duration);
}

std::uint64_t size_flag(const char* flag, const std::string& text) {
  const auto size = parse_byte_size(text);
  if (!size)
    throw Error(Errc::invalid_argument,
                std::string(flag) + ": '" + text + "' is not a number of bytes such as 64k");
  return *size;
}

FaultProfile fault_profile(const FaultProxyCommand& command) {
  constexpr std::uint64_t max_file = 1U << 20U;
  FaultProfile profile;
  if (!command.profile.empty()) {
    profile = parse_fault_profile(read_text(command.profile, max_file), command.profile);
  }
  const auto take_duration = [](const char* flag, const std::string& text, std::chrono::milliseconds& value) {
    if (!text.empty()) value = duration_flag(flag, text);
  };
  const auto take_size = [](const char* flag, const std::string& text, std::uint64_t& value) {
    if (!text.empty()) value = size_flag(flag, text);
  };
  take_duration("--connect-latency", command.connect_latency, profile.connect_latency);
  take_duration("--latency", command.latency, profile.latency);
  take_duration("--jitter", command.jitter, profile.jitter);
  take_size("--bandwidth", command.bandwidth, profile.bandwidth);
  take_size("--connection-bandwidth", command.connection_bandwidth, profile.connection_bandwidth);
  take_size("--cut-mean", command.cut_mean, profile.cut_mean);
  std::vector<FaultRule> rules;
  rules.reserve(command.faults.size());
  for (const auto& text : command.faults) rules.push_back(parse_fault_rule(text));
  profile.rules.insert(profile.rules.begin(), rules.begin(), rules.end());
  return profile;
}

}  // namespace

CLI::App& add_fault_proxy_command(CLI::App& registry, FaultProxyCommand& command) {
  auto* proxy = registry.add_subcommand(
      "proxy", "Pass requests on to a registry over a bad network, and let responses go wrong, by a seed");
  proxy->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  proxy->footer(
      "FAULT is KIND[,NAME=VALUE]...: cut, reset, corrupt, stall, drop, status, delay, garbage, length, "
      "range,\n"
      "whole or chunks, with probability, method, path, from, times, at, for, code and retry-after, such as\n"
      "'status,code=404,times=1,path=/manifests/' or 'stall,probability=0.1,at=64k,for=2s'.");
  proxy->add_option("UPSTREAM", command.upstream, "The registry, such as http://127.0.0.1:5000")
      ->type_name("")
      ->required();
  proxy->add_option("--seed", command.seed, "Decides what goes wrong; the log says it")
      ->type_name("NUMBER")
      ->default_str("1");
  proxy
      ->add_option("--profile", command.profile,
                   "File with a JSON object of what follows; flags go before it")
      ->type_name("FILE");
  const auto add = [proxy](const char* name, std::string& variable, const char* help, const char* type) {
    proxy->add_option(name, variable, help)->type_name(type);
  };
  add("--connect-latency", command.connect_latency, "Delay of each connection", "DURATION");
  add("--latency", command.latency, "Delay of each response", "DURATION");
  add("--jitter", command.jitter, "Up to so much more for each response", "DURATION");
  add("--bandwidth", command.bandwidth, "Bytes a second of all bodies together", "RATE");
  add("--connection-bandwidth", command.connection_bandwidth, "Bytes a second of one connection", "RATE");
  add("--cut-mean", command.cut_mean, "Cut every connection after a random number of bytes, this in the mean",
      "SIZE");
  proxy
      ->add_option("--fault", command.faults,
                   "What goes wrong; may be repeated, the first that applies counts")
      ->type_name("FAULT")
      ->take_all()
      ->expected(1)
      ->allow_extra_args(false);
  return *proxy;
}

FaultProxyOptions fault_proxy_options(const FaultProxyCommand& command,
                                      const std::function<void(std::string_view)>& log) {
  FaultProxyOptions options;
  options.upstream = command.upstream;
  options.seed = command.seed;
  options.profile = fault_profile(command);
  if (!log) return options;
  log(fault_log_head(options.upstream, options.seed, options.profile));
  options.log = [log](const FaultRecord& record) { log(fault_log_line(record)); };
  return options;
}

}  // namespace lazypull
