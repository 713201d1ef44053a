#pragma once

#include "engine/labels.hpp"
#include "engine/pull_options.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace lazypull::experiment {

/// The world that a pull is simulated in: an image, a registry behind a network, and a scripted snapshotter.
struct Scenario {
  std::vector<std::uint64_t> layers;    ///< compressed bytes, lowest first
  std::vector<bool> remote;             ///< which of them the snapshotter can provide
  std::optional<LabelDialect> speaks;   ///< it understands no other labels; none is containerd's alone
  std::chrono::nanoseconds latency{0};  ///< of each response of the registry
  std::chrono::nanoseconds snapshotter_latency{0};  ///< of each call
  std::chrono::nanoseconds mount_latency{0};        ///< more, where it provides a layer
  double jitter = 0;                       ///< each latency is up to so many times longer, by the seed
  std::uint64_t bandwidth = 0;             ///< bytes a second of all connections; 0 is no limit
  std::uint64_t connection_bandwidth = 0;  ///< of one
  std::uint64_t unpack_rate = 0;           ///< compressed bytes a second that one core extracts; 0: at once
  std::size_t cores = 2;
};

/// What is varied.
struct Knobs {
  std::size_t fetch_limit = 3;
  std::size_t unpack_limit = 0;
  std::uint64_t chunk_size = 0;  ///< of parts that are fetched beside each other, four at once; 0 is none
  FetchPolicy policy = FetchPolicy::automatic;
  LabelDialect dialect = LabelDialect::containerd;
};

/// A call to the registry or the snapshotter.
struct SimulatedCall {
  std::string name;  ///< "resolve", "GET layer 3", "Prepare layer 3 #1"
  std::chrono::nanoseconds start{0};
  std::chrono::nanoseconds latency{0};

  friend bool operator==(const SimulatedCall&, const SimulatedCall&) = default;
};

/// Latencies by the names of calls, which go before those of scenario and seed.
using Latencies = std::map<std::string, std::chrono::nanoseconds>;

struct SimulatedPull {
  std::chrono::nanoseconds duration{0};
  std::uint64_t bytes = 0;   ///< downloaded, of layers; also those of downloads that were stopped
  std::size_t requests = 0;  ///< to the registry
  std::size_t snapshotter_calls = 0;
  std::vector<SimulatedCall> calls;  ///< in the order in which they began
};

/// Pulls with the real engine through simulated ports, in virtual time: the same arguments give the same
/// result everywhere. Throws Error{invalid_argument} for a scenario without layers.
SimulatedPull simulate_pull(const Scenario& scenario, const Knobs& knobs, std::uint64_t seed,
                            const Latencies& recorded = {});

}  // namespace lazypull::experiment
