#pragma once

#include "tests/integration/support/embedded.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/lazypull_snapshotter.hpp"
#include "tests/integration/support/registry.hpp"
#include "tests/support/temp_dir.hpp"

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace lazypull::test {

/// An image of eight layers at a registry. Layer i brings the file layers/i, which says "i"; layer 4 deletes
/// what layer 2 brought, and layer 7 what layer 1 brought, and replaces a folder of layer 3.
struct EightLayers {
  EightLayers();

  Registry registry;
  Image image;
  std::string reference;
};

/// A script that looks at all of them, and what it prints.
inline constexpr const char* eight_layers_script =
    "cd /layers && cat 1 2 3 4 5 6 7 folder/* && ls && stat -c %a:%u:%g folder owned";
extern const std::string eight_layers_output;

/// Puts the lowest layers of the image into a storage, as a publisher with a store of his own does. `format`
/// is dir, erofs or squashfs.
void publish_layers(const std::string& reference, const std::filesystem::path& storage,
                    const std::string& format, std::size_t count);

/// The storage's data of one layer.
std::filesystem::path published_data(const std::filesystem::path& storage, const Layer& layer,
                                     const std::string& format);

/// Those of `fetched` that are layers of the image, lowest first.
std::vector<std::size_t> fetched_layers(const std::vector<std::string>& fetched, const Image& image);

}  // namespace lazypull::test
