#pragma once

#include "tests/integration/support/tar.hpp"

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace lazypull::test {

enum class Compression { none, gzip, zstd };

std::string compress(std::string_view bytes, Compression compression);
/// "sha256:" and hex.
std::string digest_of(std::string_view bytes);

struct Layer {
  std::string blob;
  std::string media_type;
  std::string digest;
  std::string diff_id;
  std::map<std::string, std::string> annotations;
};

Layer make_layer(const std::vector<tar::Entry>& entries, Compression compression = Compression::gzip);
/// From an archive's bytes, whatever they are.
Layer make_layer(std::string_view archive, Compression compression);

/// A manifest (or an index) and every blob below it. A plain value: take it apart and change it as a test
/// needs.
struct Image {
  std::string media_type;
  std::string digest;
  std::size_t size = 0;
  std::string platform;                      ///< "linux/arm64/v8"; empty for an index
  std::vector<Layer> layers;                 ///< none for an index
  std::vector<std::string> chain_ids;        ///< one for each layer
  std::string config_digest;                 ///< none for an index
  std::map<std::string, std::string> blobs;  ///< by digest: manifests, configs and layers

  std::string top_chain_id() const { return chain_ids.back(); }
};

/// Builds OCI images; every setter returns the builder itself.
class ImageBuilder {
 public:
  ImageBuilder& layer(const std::vector<tar::Entry>& entries, Compression compression = Compression::gzip);
  ImageBuilder& layer(Layer layer);                              ///< as it is, for example an eStargz one
  ImageBuilder& platform(std::string os_arch_variant);           ///< default linux/amd64
  ImageBuilder& annotation(std::string key, std::string value);  ///< of the manifest
  ImageBuilder& command(std::vector<std::string> argv);
  ImageBuilder& env(std::string name_and_value);
  ImageBuilder& user(std::string user);
  Image build() const;

 private:
  std::vector<Layer> layers_;
  std::string platform_ = "linux/amd64";
  std::map<std::string, std::string> annotations_;
  std::vector<std::string> command_ = {"/bin/sh"};
  std::vector<std::string> env_ = {"PATH=/bin"};
  std::string user_;
};

/// An OCI index over images (with their platforms) or further indexes.
Image make_index(const std::vector<Image>& images);

/// A statically linked busybox with links for its common applets; runs `sh`, `cat`, `ls`, `echo`, `stat`,
/// `id`, …
std::vector<tar::Entry> busybox_files();

/// An OCI image layout whose index.json names the image `tag`.
void write_layout(const Image& image, const std::filesystem::path& folder, std::string_view tag = "latest");
/// The first image of a layout's index.json.
Image read_layout(const std::filesystem::path& folder);

}  // namespace lazypull::test
