#pragma once

#include "tools/faults/proxy.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
}

namespace lazypull {

/// `lazypull registry proxy`: what its flags say.
struct FaultProxyCommand {
  std::string upstream;
  std::uint64_t seed = 1;
  std::string profile;  ///< file; flags go before what it says
  std::string connect_latency;
  std::string latency;
  std::string jitter;
  std::string bandwidth;
  std::string connection_bandwidth;
  std::string cut_mean;
  std::vector<std::string> faults;  ///< before those of the profile
};

/// Adds `proxy` with its flags, without those that say where it listens and logs. What it refers to must
/// outlive `registry`.
CLI::App& add_fault_proxy_command(CLI::App& registry, FaultProxyCommand& command);

/// What the flags and the profile ask for; `log` gets lines, the first of which says how to repeat the run,
/// and may be null. Throws Error{invalid_argument}, and {not_found} or {bad_response} for the profile.
FaultProxyOptions fault_proxy_options(const FaultProxyCommand& command,
                                      const std::function<void(std::string_view)>& log);

}  // namespace lazypull
