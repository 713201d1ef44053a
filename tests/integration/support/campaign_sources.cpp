#include "tests/integration/support/campaign_sources.hpp"

#include <utility>

namespace lazypull::test {
namespace {

std::vector<tar::Entry> small_files(const std::string& folder, int count, std::size_t size) {
  std::vector<tar::Entry> files{tar::directory(folder)};
  for (int i = 0; i < count; ++i) {
    files.push_back(
        tar::file(folder + "/" + std::to_string(i), std::string(size, static_cast<char>('a' + i % 26))));
  }
  files.push_back(tar::symlink(folder + "/link", "0"));
  files.push_back(tar::hard_link(folder + "/twin", folder + "/1"));
  return files;
}

CampaignSource source_of(const Image& single, std::string name) {
  CampaignSource source;
  source.image = single;
  source.name = std::move(name);
  source.layers = single.layers;
  source.top_chain_id = single.top_chain_id();
  for (const auto& [digest, bytes] : single.blobs) source.blobs.insert(digest);
  for (const auto& layer : single.layers) source.layer_blobs.insert(layer.digest);
  return source;
}

}  // namespace

std::vector<CampaignSource> make_campaign_sources() {
  const auto base = make_layer(small_files("base", 30, 900));
  const auto noise = make_layer({tar::file("noise", tar::noise(180'000, 7))});
  const auto over = make_layer(
      {tar::directory("base"), tar::whiteout("base/3"), tar::file("base/new", "n"), tar::directory("d"),
       tar::opaque("d"), tar::fifo("pipe"), tar::file("su", "#!").mode(04755).owner(1000, 2000)},
      Compression::zstd);
  std::vector<CampaignSource> sources;
  sources.push_back(source_of(ImageBuilder().layer(base).layer(noise).layer(over).build(), "campaign/a:1"));
  sources.push_back(source_of(
      ImageBuilder().layer(base).layer({tar::file("z", tar::noise(90'000, 3))}, Compression::zstd).build(),
      "campaign/b:1"));
  ImageBuilder many;
  many.layer(base);
  for (int i = 0; i < 8; ++i) many.layer(small_files("l" + std::to_string(i), 5, 300), Compression::none);
  sources.push_back(source_of(many.build(), "campaign/c:1"));
  sources.push_back(source_of(ImageBuilder()
                                  .layer(base)
                                  .layer({tar::file("big", tar::noise(1'200'000, 5))})
                                  .layer({tar::file("second", tar::noise(400'000, 6))}, Compression::zstd)
                                  .build(),
                              "campaign/d:1"));
  const auto here = ImageBuilder().layer(base).layer({tar::file("here", tar::noise(30'000, 8))}).build();
  const auto elsewhere = ImageBuilder().platform("linux/s390x").layer({tar::file("there", "1")}).build();
  auto indexed = source_of(here, "campaign/e:1");
  indexed.image = make_index({elsewhere, here});
  indexed.blobs.insert(indexed.image.digest);
  sources.push_back(std::move(indexed));
  return sources;
}

}  // namespace lazypull::test
