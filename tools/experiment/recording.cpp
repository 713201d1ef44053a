// The file of a recorded pull: hostile input when it is read again.

#include "engine/error.hpp"
#include "engine/json_reader.hpp"
#include "tools/experiment/sweep.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <cmath>

namespace lazypull::experiment {
namespace {

namespace json = boost::json;
using std::chrono::nanoseconds;

constexpr std::size_t most_bytes = 64U << 20U;
constexpr std::size_t most_calls = 200'000;
constexpr std::size_t most_layers = 1000;
/// Of one call: an hour, with the most jitter.
constexpr std::int64_t longest = 101LL * 3600 * 1'000'000'000;
constexpr std::int64_t most_layer_bytes = 1LL << 42U;

json::object head_of(const Recording& recording) {
  const auto& scenario = recording.scenario;
  const auto& knobs = recording.knobs;
  json::array layers;
  for (std::size_t i = 0; i < scenario.layers.size(); ++i) {
    layers.push_back(json::array{scenario.layers[i], static_cast<bool>(scenario.remote[i])});
  }
  return {{"v", 1},
          {"seed", recording.seed},
          {"layers", std::move(layers)},
          {"speaks", static_cast<int>(scenario.speaks.value_or(LabelDialect::containerd))},
          {"latency_ns", scenario.latency.count()},
          {"snapshotter_latency_ns", scenario.snapshotter_latency.count()},
          {"mount_latency_ns", scenario.mount_latency.count()},
          {"jitter", scenario.jitter},
          {"bandwidth", scenario.bandwidth},
          {"connection_bandwidth", scenario.connection_bandwidth},
          {"unpack_rate", scenario.unpack_rate},
          {"cores", scenario.cores},
          {"fetch_limit", knobs.fetch_limit},
          {"unpack_limit", knobs.unpack_limit},
          {"chunk_size", knobs.chunk_size},
          {"policy", static_cast<int>(knobs.policy)},
          {"dialect", static_cast<int>(knobs.dialect)},
          {"duration_ns", recording.pull.duration.count()}};
}

class Line {
 public:
  Line(std::string_view text, std::string what)
      : what_(std::move(what)), object_(parse_json_object(text, what_, most_bytes)) {}

  [[noreturn]] void refuse(std::string_view key, const char* why) const {
    throw Error(Errc::bad_response, what_ + ": " + std::string(key) + " " + why);
  }
  const json::value& find(std::string_view key) const {
    const auto* value = object_.if_contains(key);
    if (value == nullptr) refuse(key, "is missing");
    return *value;
  }
  std::int64_t integer(std::string_view key, std::int64_t most) const {
    return integer(key, find(key), most);
  }
  std::int64_t integer(std::string_view key, const json::value& value, std::int64_t most) const {
    const auto* number = value.if_int64();
    if (number == nullptr || *number < 0 || *number > most) refuse(key, "is out of bounds");
    return *number;
  }
  nanoseconds time(std::string_view key, std::int64_t most = longest) const {
    return nanoseconds(integer(key, most));
  }
  double real(std::string_view key) const {
    const auto& value = find(key);
    if (!value.is_number()) refuse(key, "is no number");
    const auto number = value.to_number<double>();
    if (!(number >= 0 && number <= 1000)) refuse(key, "is out of bounds");
    return number;
  }
  std::string text(std::string_view key) const {
    const auto* value = find(key).if_string();
    if (value == nullptr || value->size() > 256) refuse(key, "is no short text");
    return {value->data(), value->size()};
  }
  const json::array& list(std::string_view key, std::size_t most) const {
    const auto* value = find(key).if_array();
    if (value == nullptr || value->size() > most) refuse(key, "is no list, or too long");
    return *value;
  }

 private:
  std::string what_;
  json::object object_;
};

void read_scenario(const Line& head, Scenario& scenario) {
  for (const auto& item : head.list("layers", most_layers)) {
    const auto* layer = item.if_array();
    if (layer == nullptr || layer->size() != 2 || !(*layer)[1].is_bool())
      head.refuse("layers", "has no layer");
    scenario.layers.push_back(
        static_cast<std::uint64_t>(head.integer("layers", (*layer)[0], most_layer_bytes)));
    scenario.remote.push_back((*layer)[1].get_bool());
  }
  if (scenario.layers.empty()) head.refuse("layers", "is empty");
  const auto size = [&](const char* key) {
    return static_cast<std::uint64_t>(head.integer(key, INT64_MAX / 2));
  };
  scenario.speaks = static_cast<LabelDialect>(head.integer("speaks", 3));
  scenario.latency = head.time("latency_ns");
  scenario.snapshotter_latency = head.time("snapshotter_latency_ns");
  scenario.mount_latency = head.time("mount_latency_ns");
  scenario.jitter = head.real("jitter");
  scenario.bandwidth = size("bandwidth");
  scenario.connection_bandwidth = size("connection_bandwidth");
  scenario.unpack_rate = size("unpack_rate");
  scenario.cores = static_cast<std::size_t>(head.integer("cores", 1024));
}

void read_knobs(const Line& head, Knobs& knobs) {
  knobs.fetch_limit = static_cast<std::size_t>(head.integer("fetch_limit", 1024));
  knobs.unpack_limit = static_cast<std::size_t>(head.integer("unpack_limit", 1024));
  knobs.chunk_size = static_cast<std::uint64_t>(head.integer("chunk_size", most_layer_bytes));
  knobs.policy = static_cast<FetchPolicy>(head.integer("policy", 2));
  knobs.dialect = static_cast<LabelDialect>(head.integer("dialect", 3));
}

}  // namespace

std::string recording_text(const Recording& recording) {
  std::string text = json::serialize(head_of(recording)) + "\n";
  for (const auto& call : recording.pull.calls) {
    const json::object line{
        {"call", call.name}, {"start_ns", call.start.count()}, {"latency_ns", call.latency.count()}};
    text += json::serialize(line) + "\n";
  }
  return text;
}

Recording parse_recording(const std::string& text, const std::string& what) {
  if (text.size() > most_bytes) throw Error(Errc::bad_response, what + ": is too long");
  Recording recording;
  std::size_t number = 0;
  for (std::size_t start = 0; start < text.size();) {
    const auto end = std::min(text.find('\n', start), text.size());
    const Line line(std::string_view(text).substr(start, end - start), what + ":" + std::to_string(++number));
    start = end + 1;
    if (number == 1) {
      if (line.integer("v", 1) != 1) line.refuse("v", "is of another version");
      recording.seed = static_cast<std::uint64_t>(line.integer("seed", INT64_MAX));
      read_scenario(line, recording.scenario);
      read_knobs(line, recording.knobs);
      recording.pull.duration = line.time("duration_ns", INT64_MAX);
      continue;
    }
    if (number > most_calls) line.refuse("call", "is one too many");
    recording.pull.calls.push_back(
        {line.text("call"), line.time("start_ns", INT64_MAX), line.time("latency_ns")});
  }
  if (number == 0) throw Error(Errc::bad_response, what + ": is empty");
  return recording;
}

Latencies latencies_of(const Recording& recording) {
  Latencies latencies;
  for (const auto& call : recording.pull.calls) latencies.emplace(call.name, call.latency);
  return latencies;
}

std::string replay_difference(const Recording& recording) {
  const auto again =
      simulate_pull(recording.scenario, recording.knobs, recording.seed, latencies_of(recording));
  const auto show = [](const std::vector<SimulatedCall>& calls, std::size_t index) {
    if (index >= calls.size()) return std::string("nothing");
    return calls[index].name + " at " + std::to_string(calls[index].start.count()) + " ns";
  };
  const auto& recorded = recording.pull.calls;
  for (std::size_t i = 0; i < std::max(recorded.size(), again.calls.size()); ++i) {
    const bool same = i < recorded.size() && i < again.calls.size() && recorded[i] == again.calls[i];
    if (same) continue;
    return "call " + std::to_string(i + 1) + ": " + show(again.calls, i) + " instead of " + show(recorded, i);
  }
  if (again.duration != recording.pull.duration) return "the whole takes another time";
  return "";
}

}  // namespace lazypull::experiment
