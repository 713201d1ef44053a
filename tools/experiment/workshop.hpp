#pragma once

#include "tools/experiment/layouts.hpp"
#include "tools/experiment/spec.hpp"

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace lazypull::experiment {

/// The forms in which one image of the specification is served.
struct ImageForms {
  ServedImage plain;
  ServedImage plain_base;  ///< its lowest layers; empty without base_layers
  ServedImage estargz;     ///< empty where stargz is not in the matrix
  ServedImage estargz_base;

  const ServedImage& whole(const std::string& snapshotter) const {
    return snapshotter == "stargz" ? estargz : plain;
  }
  const ServedImage& base(const std::string& snapshotter) const {
    return snapshotter == "stargz" ? estargz_base : plain_base;
  }
};

/// What is made before the first run.
struct Prepared {
  std::map<std::string, ImageForms> images;  ///< by name
  std::filesystem::path layer_storage;  ///< for the snapshotter lazypull; empty if it is not in the matrix
  std::vector<std::filesystem::path> layouts() const;
};

/// Copies the images into `folder` in all forms that the matrix needs, converts to eStargz what is not
/// (ctr-remote in a containerd of its own), and publishes layers for the snapshotter lazypull.
Prepared prepare_images(const Spec& spec, const std::filesystem::path& folder);

}  // namespace lazypull::experiment
