#include "tests/integration/support/eight_layers.hpp"

#include <algorithm>
#include <cstdint>

namespace lazypull::test {

namespace fs = std::filesystem;

EightLayers::EightLayers() {
  ImageBuilder builder;
  builder.layer(busybox_files());
  for (int i = 1; i < 8; ++i) {
    const auto name = std::to_string(i);
    std::vector<tar::Entry> entries{
        tar::directory("layers"), tar::file("layers/" + name, name + "\n"),
        tar::file("layers/noise-" + name, tar::noise(50'000, static_cast<std::uint64_t>(i)))};
    if (i == 1) entries.push_back(tar::file("layers/gone-7", "1"));
    if (i == 2) entries.push_back(tar::file("layers/gone-4", "2"));
    if (i == 3) {
      entries.push_back(tar::directory("layers/folder"));
      entries.push_back(tar::file("layers/folder/old", "old\n"));
      entries.push_back(tar::file("layers/owned", "").mode(04750).owner(12, 34));
    }
    if (i == 4) entries.push_back(tar::whiteout("layers/gone-4"));
    if (i == 7) {
      entries.push_back(tar::whiteout("layers/gone-7"));
      entries.push_back(tar::directory("layers/folder").mode(0700).owner(5, 6));
      entries.push_back(tar::opaque("layers/folder"));
      entries.push_back(tar::file("layers/folder/new", "new\n"));
    }
    builder.layer(entries);
  }
  image = builder.build();
  reference = registry.store(image, "eight:1");
}

const std::string eight_layers_output =
    "1\n2\n3\n4\n5\n6\n7\nnew\n"
    "1\n2\n3\n4\n5\n6\n7\nfolder\nnoise-1\nnoise-2\nnoise-3\nnoise-4\nnoise-5\nnoise-6\nnoise-7\nowned\n"
    "700:5:6\n4750:12:34\n";

void publish_layers(const std::string& reference, const fs::path& storage, const std::string& format,
                    std::size_t count) {
  StoreLazypull publisher;
  publisher.run_ok({"pull", reference});
  publisher.text({"layers", "publish", reference, "--to", storage, "--format", format, "--layers",
                  std::to_string(count)});
}

fs::path published_data(const fs::path& storage, const Layer& layer, const std::string& format) {
  const auto folder = storage / "sha256" / layer.digest.substr(layer.digest.find(':') + 1);
  return folder / (format == "dir" ? "fs" : "layer." + format);
}

std::vector<std::size_t> fetched_layers(const std::vector<std::string>& fetched, const Image& image) {
  std::vector<std::size_t> layers;
  for (std::size_t i = 0; i < image.layers.size(); ++i) {
    const auto times = std::ranges::count(fetched, image.layers[i].digest);
    layers.insert(layers.end(), static_cast<std::size_t>(times), i);
  }
  return layers;
}

}  // namespace lazypull::test
