#pragma once

#include "tools/experiment/child.hpp"
#include "tools/experiment/layouts.hpp"
#include "tools/experiment/spec.hpp"

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace lazypull::experiment {

/// What a registry has answered.
struct Traffic {
  std::uint64_t bytes = 0;  ///< of bodies
  std::uint64_t requests = 0;
};

/// Sums up the lines of an access log (RegistryServer's) in which a response is; others count for nothing.
Traffic count_traffic(std::string_view log);

/// The embedded registry as a process of its own, and for each network that is not direct a proxy before it.
class ExperimentRegistry {
 public:
  ExperimentRegistry(const Programs& programs, const std::vector<std::filesystem::path>& layouts,
                     const std::vector<NetworkProfile>& networks, std::filesystem::path folder);

  /// "127.0.0.1:41234/REPOSITORY:latest" as seen through a network.
  std::string reference(const std::string& network, const ServedImage& image) const;

  /// Where the log ends now.
  std::uint64_t position() const;
  /// What was answered since a position; what has not ended is not in it yet.
  Traffic since(std::uint64_t position) const { return between(position, UINT64_MAX); }
  Traffic between(std::uint64_t from, std::uint64_t to) const;

 private:
  std::string start(const std::string& name, std::vector<std::string> argv);

  std::filesystem::path folder_;
  std::filesystem::path log_;
  std::vector<std::unique_ptr<Child>> processes_;
  std::map<std::string, std::string> hosts_;  ///< by network
};

}  // namespace lazypull::experiment
