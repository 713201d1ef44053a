#pragma once

#include "tools/experiment/simulation.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace lazypull::experiment {

enum class Knob { fetch_limit, unpack_limit, chunk_size, policy, dialect };

/// `lazypull experiment sweep`: flags as they were given.
struct SweepCommand {
  std::string knob;
  std::vector<std::string> values;  ///< empty: those that suit the knob
  std::uint64_t seed = 1;
  std::size_t runs = 5;
  std::string layout;  ///< take the layers of its image; else they are made up
  std::size_t layers = 12;
  std::string layer_size = "8M";
  std::string latency = "20ms";
  std::string snapshotter_latency = "5ms";
  std::string mount_latency = "50ms";
  double jitter = 0.2;
  std::string bandwidth = "100M";
  std::string connection_bandwidth = "20M";
  std::string unpack_rate = "60M";
  std::size_t cores = 2;
  double hit_ratio = 0;
  std::string speaks = "containerd";
  std::string fetch_limit = "3";
  std::string unpack_limit = "0";
  std::string chunk_size = "0";
  std::string policy = "auto";
  std::string dialect = "containerd";
  std::string record;  ///< file: write one pull down
  std::string replay;  ///< file: repeat it, and sweep over it if there is a knob
  bool json = false;
};

/// One value of the knob.
struct SweepPoint {
  std::string value;
  double seconds = 0;  ///< median
  double low = 0;      ///< of its confidence interval
  double high = 0;
  double bytes = 0;  ///< medians
  double requests = 0;
  double snapshotter_calls = 0;
};

struct SweepResult {
  Knob knob = Knob::fetch_limit;
  std::vector<SweepPoint> points;  ///< in the order of the values
  std::size_t best = 0;            ///< index of the fastest; of several the first
  /// The first value that is at most 5 % slower than the best: what lies beyond brings little.
  std::size_t knee = 0;
};

inline constexpr double knee_tolerance = 0.05;

/// One pull, with all that is needed to repeat it.
struct Recording {
  Scenario scenario;
  Knobs knobs;
  std::uint64_t seed = 1;
  SimulatedPull pull;
};

/// Sets a knob by the text of a value. Throws Error{invalid_argument}.
void set_knob(Knobs& knobs, Knob knob, const std::string& value);
Knob parse_knob(const std::string& name);

/// Each value `runs` times with seeds that follow each other. Latencies that are recorded go before.
SweepResult sweep(const Scenario& scenario, const Knobs& base, Knob knob,
                  const std::vector<std::string>& values, std::uint64_t seed, std::size_t runs,
                  const Latencies& recorded = {});

/// Sizes of layers that are spread as those of images are, few large and many small, by the seed.
std::vector<std::uint64_t> made_up_layers(std::size_t count, std::uint64_t mean, std::uint64_t seed);

/// JSON Lines: a head with scenario and knobs, then each call.
std::string recording_text(const Recording& recording);
/// Throws Error{bad_response}; `what` names the file.
Recording parse_recording(const std::string& text, const std::string& what);
Latencies latencies_of(const Recording& recording);
/// Pulls again as recorded; the message of the first call that differs, or nothing.
std::string replay_difference(const Recording& recording);

/// Carries the command out and returns what is to be printed. Throws Error.
std::string run_sweep_command(const SweepCommand& command);

}  // namespace lazypull::experiment
