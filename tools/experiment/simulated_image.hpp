#pragma once

#include "engine/descriptor.hpp"
#include "tools/experiment/simulation.hpp"

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace lazypull::experiment {

/// The image of a scenario as its registry has it. Layers have digests but no content, since nobody looks at
/// it.
struct SimulatedImage {
  explicit SimulatedImage(const Scenario& scenario);

  std::map<Digest, std::string> names;
  std::map<Digest, std::string> texts;  ///< of manifest and config
  std::map<Digest, std::size_t> index;  ///< of layers
  std::map<std::string, std::size_t> chain_index;
  std::vector<Digest> diff_ids;
  Descriptor config;
  Descriptor manifest;

 private:
  Descriptor put(const std::string& name, std::string_view type, const std::string& text);
};

}  // namespace lazypull::experiment
