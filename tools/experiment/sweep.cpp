#include "tools/experiment/sweep.hpp"

#include "engine/error.hpp"
#include "tools/byte_size.hpp"
#include "tools/experiment/random.hpp"
#include "tools/experiment/statistics.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace lazypull::experiment {
namespace {

constexpr std::size_t most_at_once = 1024;

std::size_t parse_count(const std::string& text) {
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size() || value > most_at_once) {
    throw Error(Errc::invalid_argument,
                "'" + text + "' is not a number from 0 to " + std::to_string(most_at_once));
  }
  return value;
}

FetchPolicy parse_policy(const std::string& text) {
  if (text == "auto") return FetchPolicy::automatic;
  if (text == "sparse") return FetchPolicy::sparse;
  if (text == "eager") return FetchPolicy::eager;
  throw Error(Errc::invalid_argument, "'" + text + "' is none of auto, sparse, eager");
}

LabelDialect parse_dialect(const std::string& text) {
  if (text == "containerd") return LabelDialect::containerd;
  if (text == "cri") return LabelDialect::cri;
  if (text == "stargz") return LabelDialect::stargz;
  if (text == "2019") return LabelDialect::v2019;
  throw Error(Errc::invalid_argument, "'" + text + "' is none of containerd, cri, stargz, 2019");
}

SweepPoint measure(const Scenario& scenario, const Knobs& knobs, std::uint64_t seed, std::size_t runs,
                   const Latencies& recorded) {
  std::vector<double> seconds;
  std::vector<double> bytes;
  std::vector<double> requests;
  std::vector<double> calls;
  for (std::size_t run = 0; run < runs; ++run) {
    const auto pull = simulate_pull(scenario, knobs, seed + run, recorded);
    seconds.push_back(std::chrono::duration<double>(pull.duration).count());
    bytes.push_back(static_cast<double>(pull.bytes));
    requests.push_back(static_cast<double>(pull.requests));
    calls.push_back(static_cast<double>(pull.snapshotter_calls));
  }
  const auto time = summarize(seconds);
  return {"", time.median, time.low, time.high, median(bytes), median(requests), median(calls)};
}

}  // namespace

Knob parse_knob(const std::string& name) {
  if (name == "fetch-limit") return Knob::fetch_limit;
  if (name == "unpack-limit") return Knob::unpack_limit;
  if (name == "chunk-size") return Knob::chunk_size;
  if (name == "policy") return Knob::policy;
  if (name == "dialect") return Knob::dialect;
  throw Error(Errc::invalid_argument,
              "--knob: '" + name + "' is none of fetch-limit, unpack-limit, chunk-size, policy, dialect");
}

void set_knob(Knobs& knobs, Knob knob, const std::string& value) {
  switch (knob) {
    case Knob::fetch_limit:
      knobs.fetch_limit = parse_count(value);
      break;
    case Knob::unpack_limit:
      knobs.unpack_limit = parse_count(value);
      break;
    case Knob::chunk_size: {
      const auto size = parse_byte_size(value);
      if (!size) throw Error(Errc::invalid_argument, "'" + value + "' is not a number of bytes such as 8M");
      knobs.chunk_size = *size;
      break;
    }
    case Knob::policy:
      knobs.policy = parse_policy(value);
      break;
    case Knob::dialect:
      knobs.dialect = parse_dialect(value);
      break;
  }
}

SweepResult sweep(const Scenario& scenario, const Knobs& base, Knob knob,
                  const std::vector<std::string>& values, std::uint64_t seed, std::size_t runs,
                  const Latencies& recorded) {
  if (values.empty() || runs == 0) throw Error(Errc::invalid_argument, "a sweep needs values and runs");
  SweepResult result;
  result.knob = knob;
  for (const auto& value : values) {
    auto knobs = base;
    set_knob(knobs, knob, value);
    auto point = measure(scenario, knobs, seed, runs, recorded);
    point.value = value;
    result.points.push_back(std::move(point));
  }
  const auto best = std::ranges::min_element(result.points, {}, &SweepPoint::seconds);
  const auto good = std::ranges::find_if(result.points, [&](const SweepPoint& point) {
    return point.seconds <= best->seconds * (1 + knee_tolerance);
  });
  result.best = static_cast<std::size_t>(best - result.points.begin());
  result.knee = static_cast<std::size_t>(good - result.points.begin());
  return result;
}

std::vector<std::uint64_t> made_up_layers(std::size_t count, std::uint64_t mean, std::uint64_t seed) {
  Random random(seed);
  std::vector<std::uint64_t> sizes;
  for (std::size_t i = 0; i < count; ++i) {
    // Exponentially distributed; at least the kilobyte that a layer of one small file has.
    const double size = -std::log(1 - random.unit()) * static_cast<double>(mean);
    sizes.push_back(std::max<std::uint64_t>(1024, static_cast<std::uint64_t>(size)));
  }
  return sizes;
}

}  // namespace lazypull::experiment
