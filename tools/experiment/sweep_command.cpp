#include "engine/error.hpp"
#include "engine/manifest.hpp"
#include "snapshot/embedded/files.hpp"
#include "tools/byte_size.hpp"
#include "tools/experiment/layouts.hpp"
#include "tools/experiment/random.hpp"
#include "tools/experiment/sweep.hpp"
#include "tools/text.hpp"
#include "transport/duration.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <cstdio>
#include <fstream>
#include <optional>

namespace lazypull::experiment {
namespace {

constexpr std::size_t most_layers = 1000;
constexpr std::size_t most_values = 64;
constexpr std::size_t most_runs = 1000;
constexpr std::uint64_t most_recording_bytes = 64U << 20U;

std::chrono::nanoseconds duration_flag(const char* flag, const std::string& text) {
  const auto value = parse_duration(text);
  if (!value || *value > std::chrono::hours(1)) {
    throw Error(Errc::invalid_argument,
                std::string(flag) + ": '" + text + "' is not a duration such as 20ms, up to 1h");
  }
  return *value;
}

std::uint64_t size_flag(const char* flag, const std::string& text) {
  const auto value = parse_byte_size(text);
  if (!value || *value > 1ULL << 40U) {
    throw Error(Errc::invalid_argument,
                std::string(flag) + ": '" + text + "' is not a number of bytes such as 8M");
  }
  return *value;
}

void refuse_beyond(const char* flag, double value, double least, double most) {
  if (value >= least && value <= most) return;
  throw Error(Errc::invalid_argument,
              std::string(flag) + ": is not from " + std::to_string(least) + " to " + std::to_string(most));
}

std::vector<std::string> usual_values(Knob knob) {
  switch (knob) {
    case Knob::fetch_limit:
      return {"1", "2", "3", "4", "6", "8", "12", "16"};
    case Knob::unpack_limit:
      return {"1", "2", "3", "4", "6", "8"};
    case Knob::chunk_size:
      return {"0", "256k", "1M", "2M", "4M", "8M", "16M"};
    case Knob::policy:
      return {"sparse", "auto", "eager"};
    case Knob::dialect:
      return {"containerd", "cri", "stargz", "2019"};
  }
  return {};
}

Scenario scenario_of(const SweepCommand& command) {
  refuse_beyond("--jitter", command.jitter, 0, 100);
  refuse_beyond("--hit-ratio", command.hit_ratio, 0, 1);
  refuse_beyond("--cores", static_cast<double>(command.cores), 1, 1024);
  refuse_beyond("--layers", static_cast<double>(command.layers), 1, most_layers);
  refuse_beyond("--runs", static_cast<double>(command.runs), 1, most_runs);
  Scenario scenario;
  scenario.layers =
      command.layout.empty()
          ? made_up_layers(command.layers, size_flag("--layer-size", command.layer_size), command.seed)
          : layer_sizes(command.layout);
  Random random(command.seed ^ 0x5eedULL);
  for (std::size_t i = 0; i < scenario.layers.size(); ++i) {
    scenario.remote.push_back(random.unit() < command.hit_ratio);
  }
  Knobs speaks;
  set_knob(speaks, Knob::dialect, command.speaks);
  scenario.speaks = speaks.dialect;
  scenario.latency = duration_flag("--latency", command.latency);
  scenario.snapshotter_latency = duration_flag("--snapshotter-latency", command.snapshotter_latency);
  scenario.mount_latency = duration_flag("--mount-latency", command.mount_latency);
  scenario.jitter = command.jitter;
  scenario.bandwidth = size_flag("--bandwidth", command.bandwidth);
  scenario.connection_bandwidth = size_flag("--connection-bandwidth", command.connection_bandwidth);
  scenario.unpack_rate = size_flag("--unpack-rate", command.unpack_rate);
  scenario.cores = command.cores;
  return scenario;
}

Knobs knobs_of(const SweepCommand& command) {
  Knobs knobs;
  set_knob(knobs, Knob::fetch_limit, command.fetch_limit);
  set_knob(knobs, Knob::unpack_limit, command.unpack_limit);
  set_knob(knobs, Knob::chunk_size, command.chunk_size);
  set_knob(knobs, Knob::policy, command.policy);
  set_knob(knobs, Knob::dialect, command.dialect);
  return knobs;
}

std::string table(const std::string& knob, const SweepResult& result) {
  char line[200];
  std::snprintf(line, sizeof line, "%-14s %10s %10s %10s %9s %12s %6s\n", knob.c_str(), "time", "of best",
                "bytes", "requests", "snapshotter", "");
  std::string text = line;
  const double best = result.points[result.best].seconds;
  for (std::size_t i = 0; i < result.points.size(); ++i) {
    const auto& point = result.points[i];
    std::snprintf(line, sizeof line, "%-14s %8.3f s %10.2f %10s %9.0f %12.0f%s\n", point.value.c_str(),
                  point.seconds, best > 0 ? point.seconds / best : 1.0,
                  format_bytes(static_cast<std::uint64_t>(point.bytes)).c_str(), point.requests,
                  point.snapshotter_calls, i == result.knee ? "  <- knee" : "");
    text += line;
  }
  const auto& knee = result.points[result.knee];
  const auto& fastest = result.points[result.best];
  std::snprintf(line, sizeof line, "%.3f s, at most %.0f %% slower than the best (%s: %.3f s)\n",
                knee.seconds, knee_tolerance * 100, fastest.value.c_str(), fastest.seconds);
  return text + "The knee is at " + knob + " " + knee.value + ": " + line;
}

std::string json_text(const std::string& knob, const SweepResult& result) {
  namespace json = boost::json;
  json::array points;
  for (const auto& point : result.points) {
    points.push_back(json::object{{"value", point.value},
                                  {"seconds", point.seconds},
                                  {"low", point.low},
                                  {"high", point.high},
                                  {"bytes", point.bytes},
                                  {"requests", point.requests},
                                  {"snapshotterCalls", point.snapshotter_calls}});
  }
  return json::serialize(json::object{{"knob", knob},
                                      {"points", std::move(points)},
                                      {"best", result.points[result.best].value},
                                      {"knee", result.points[result.knee].value}}) +
         "\n";
}

std::string record(const SweepCommand& command, const Scenario& scenario, const Knobs& knobs) {
  const Recording recording{scenario, knobs, command.seed, simulate_pull(scenario, knobs, command.seed)};
  std::ofstream file(command.record, std::ios::binary | std::ios::trunc);
  file << recording_text(recording);
  file.close();
  if (!file) throw Error(Errc::unavailable, command.record + ": cannot be written");
  return std::to_string(recording.pull.calls.size()) + " calls in " +
         format_duration(recording.pull.duration) + ", recorded in " + command.record + "\n";
}

}  // namespace

std::string run_sweep_command(const SweepCommand& command) {
  if (command.values.size() > most_values)
    throw Error(Errc::invalid_argument, "--values: there are too many");
  if (command.knob.empty() && command.record.empty() && command.replay.empty()) {
    throw Error(Errc::invalid_argument, "one of --knob, --record and --replay is required");
  }
  auto scenario = scenario_of(command);
  auto knobs = knobs_of(command);
  auto seed = command.seed;
  auto runs = command.runs;
  Latencies recorded;
  std::string text;
  if (!command.replay.empty()) {
    const auto recording = parse_recording(read_text(command.replay, most_recording_bytes), command.replay);
    const auto difference = replay_difference(recording);
    if (!difference.empty()) {
      throw Error(Errc::failed_precondition, command.replay + ": the pull went another way: " + difference);
    }
    if (!command.json) {
      text = "The recorded pull went the same way again: " + std::to_string(recording.pull.calls.size()) +
             " calls in " + format_duration(recording.pull.duration) + "\n";
    }
    scenario = recording.scenario;
    knobs = recording.knobs;
    seed = recording.seed;
    runs = 1;
    recorded = latencies_of(recording);
  }
  if (!command.record.empty()) text += record(command, scenario, knobs);
  if (command.knob.empty()) return text;
  const auto knob = parse_knob(command.knob);
  const auto values = command.values.empty() ? usual_values(knob) : command.values;
  const auto result = sweep(scenario, knobs, knob, values, seed, runs, recorded);
  return text + (command.json ? json_text(command.knob, result) : table(command.knob, result));
}

}  // namespace lazypull::experiment
