#pragma once

#include "engine/digest.hpp"
#include "tools/experiment/spec.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace lazypull::experiment {

/// An image in a layout that is served, and what is needed to start it.
struct ServedImage {
  std::filesystem::path layout;  ///< its folder's name is the repository; the tag is "latest"
  std::string repository;
  std::size_t layers = 0;
  Digest chain_id;  ///< of the top layer
  std::vector<std::string> command;
  std::vector<std::string> env;
  std::string user;
  std::string folder;  ///< the working directory
};

/// Copies the image of this host's platform from an OCI image layout into the new layout `folder`, all of its
/// layers or only the lowest `layers` (0 is all). Blobs that `beside` has are hard-linked from there. Content
/// is not verified: whoever pulls it does that. Throws Error that names the layout.
ServedImage serve_image(const std::filesystem::path& source, const std::filesystem::path& folder,
                        std::size_t layers = 0, const std::filesystem::path& beside = {});

/// The compressed bytes of each layer of the image of this host's platform, lowest first.
std::vector<std::uint64_t> layer_sizes(const std::filesystem::path& layout);

}  // namespace lazypull::experiment
