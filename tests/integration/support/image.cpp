#include "tests/integration/support/image.hpp"

#include "tests/support/temp_dir.hpp"

#include <boost/json.hpp>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>
#include <zlib.h>
#include <zstd.h>

namespace lazypull::test {

namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr const char* index_type = "application/vnd.oci.image.index.v1+json";
constexpr const char* manifest_type = "application/vnd.oci.image.manifest.v1+json";
constexpr const char* config_type = "application/vnd.oci.image.config.v1+json";

std::string gzip(std::string_view bytes) {
  z_stream stream{};
  constexpr int gzip_format = 15 + 16;
  if (deflateInit2(&stream, 6, Z_DEFLATED, gzip_format, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    throw std::runtime_error("deflateInit2");
  }
  std::string result(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(result.data());
  stream.avail_out = static_cast<uInt>(result.size());
  const int outcome = deflate(&stream, Z_FINISH);
  result.resize(stream.total_out);
  deflateEnd(&stream);
  if (outcome != Z_STREAM_END) throw std::runtime_error("deflate");
  return result;
}

std::string zstd(std::string_view bytes) {
  std::string result(ZSTD_compressBound(bytes.size()), '\0');
  const auto size = ZSTD_compress(result.data(), result.size(), bytes.data(), bytes.size(), 3);
  if (ZSTD_isError(size) != 0) throw std::runtime_error(ZSTD_getErrorName(size));
  result.resize(size);
  return result;
}

const char* layer_type(Compression compression) {
  switch (compression) {
    case Compression::none:
      return "application/vnd.oci.image.layer.v1.tar";
    case Compression::gzip:
      return "application/vnd.oci.image.layer.v1.tar+gzip";
    case Compression::zstd:
      return "application/vnd.oci.image.layer.v1.tar+zstd";
  }
  throw std::logic_error("compression");
}

std::vector<std::string> chain_ids_of(const std::vector<Layer>& layers) {
  std::vector<std::string> ids;
  ids.reserve(layers.size());
  for (const auto& layer : layers) {
    ids.push_back(ids.empty() ? layer.diff_id : digest_of(ids.back() + " " + layer.diff_id));
  }
  return ids;
}

json::object descriptor(std::string_view type, std::string_view digest, std::size_t size) {
  return {{"mediaType", type}, {"digest", digest}, {"size", size}};
}

json::object string_map(const std::map<std::string, std::string>& map) {
  json::object result;
  for (const auto& [key, value] : map) result[key] = value;
  return result;
}

json::array string_array(const std::vector<std::string>& strings) {
  json::array result;
  for (const auto& text : strings) result.emplace_back(text);
  return result;
}

// "linux/arm64/v8" as the members of a platform object or of a config.
void put_platform(json::object& object, const std::string& platform) {
  const auto first = platform.find('/');
  if (first == std::string::npos) throw std::invalid_argument("platform " + platform);
  const auto second = platform.find('/', first + 1);
  object["os"] = platform.substr(0, first);
  object["architecture"] = platform.substr(first + 1, second - first - 1);
  if (second != std::string::npos) object["variant"] = platform.substr(second + 1);
}

std::string platform_of(const json::object& object) {
  std::string result;
  for (const char* member : {"os", "architecture", "variant"}) {
    const auto* value = object.if_contains(member);
    if (value == nullptr) continue;
    result += (result.empty() ? "" : "/") + std::string(value->as_string());
  }
  return result;
}

std::string add_blob(Image& image, std::string bytes) {
  std::string digest = digest_of(bytes);
  image.blobs.emplace(digest, std::move(bytes));
  return digest;
}

void set_root(Image& image, const char* media_type, const json::object& document) {
  std::string text = json::serialize(document);
  image.media_type = media_type;
  image.size = text.size();
  image.digest = add_blob(image, std::move(text));
}

fs::path blob_path(const fs::path& layout, std::string_view digest) {
  const auto colon = digest.find(':');
  return layout / "blobs" / digest.substr(0, colon) / digest.substr(colon + 1);
}

Image load(const fs::path& layout, const json::object& root);

void load_manifest(Image& image, const fs::path& layout, const json::object& manifest) {
  image.config_digest = manifest.at("config").at("digest").as_string();
  const std::string config_text = read_file(blob_path(layout, image.config_digest));
  image.blobs.emplace(image.config_digest, config_text);
  const auto config = json::parse(config_text).as_object();
  image.platform = platform_of(config);
  const auto* diff_ids = config.at("rootfs").as_object().if_contains("diff_ids");
  const auto& layers = manifest.at("layers").as_array();
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto& object = layers[i].as_object();
    Layer layer;
    layer.media_type = object.at("mediaType").as_string();
    layer.digest = object.at("digest").as_string();
    layer.diff_id = diff_ids->as_array().at(i).as_string();
    if (const auto* annotations = object.if_contains("annotations")) {
      for (const auto& [key, value] : annotations->as_object()) {
        layer.annotations.emplace(key, value.as_string());
      }
    }
    layer.blob = read_file(blob_path(layout, layer.digest));
    image.blobs.emplace(layer.digest, layer.blob);
    image.layers.push_back(std::move(layer));
  }
  image.chain_ids = chain_ids_of(image.layers);
}

Image load(const fs::path& layout, const json::object& root) {
  Image image;
  image.media_type = root.at("mediaType").as_string();
  image.digest = root.at("digest").as_string();
  std::string text = read_file(blob_path(layout, image.digest));
  image.size = text.size();
  const auto document = json::parse(text).as_object();
  image.blobs.emplace(image.digest, std::move(text));
  if (const auto* children = document.if_contains("manifests")) {
    for (const auto& child : children->as_array()) {
      if (!fs::exists(blob_path(layout, std::string(child.at("digest").as_string())))) continue;
      image.blobs.merge(load(layout, child.as_object()).blobs);
    }
  } else {
    load_manifest(image, layout, document);
  }
  return image;
}

}  // namespace

std::string compress(std::string_view bytes, Compression compression) {
  switch (compression) {
    case Compression::none:
      return std::string(bytes);
    case Compression::gzip:
      return gzip(bytes);
    case Compression::zstd:
      return zstd(bytes);
  }
  throw std::logic_error("compression");
}

std::string digest_of(std::string_view bytes) {
  std::array<unsigned char, 32> hash{};
  if (EVP_Digest(bytes.data(), bytes.size(), hash.data(), nullptr, EVP_sha256(), nullptr) != 1) {
    throw std::runtime_error("EVP_Digest");
  }
  std::string text = "sha256:";
  for (const unsigned char byte : hash) {
    constexpr const char* digits = "0123456789abcdef";
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

Layer make_layer(const std::vector<tar::Entry>& entries, Compression compression) {
  return make_layer(tar::archive(entries), compression);
}

Layer make_layer(std::string_view archive, Compression compression) {
  Layer layer;
  layer.blob = compress(archive, compression);
  layer.media_type = layer_type(compression);
  layer.digest = digest_of(layer.blob);
  layer.diff_id = digest_of(archive);
  return layer;
}

ImageBuilder& ImageBuilder::layer(const std::vector<tar::Entry>& entries, Compression compression) {
  return layer(make_layer(entries, compression));
}

ImageBuilder& ImageBuilder::layer(Layer layer) {
  layers_.push_back(std::move(layer));
  return *this;
}

ImageBuilder& ImageBuilder::platform(std::string os_arch_variant) {
  platform_ = std::move(os_arch_variant);
  return *this;
}

ImageBuilder& ImageBuilder::annotation(std::string key, std::string value) {
  annotations_[std::move(key)] = std::move(value);
  return *this;
}

ImageBuilder& ImageBuilder::command(std::vector<std::string> argv) {
  command_ = std::move(argv);
  return *this;
}

ImageBuilder& ImageBuilder::env(std::string name_and_value) {
  env_.push_back(std::move(name_and_value));
  return *this;
}

ImageBuilder& ImageBuilder::user(std::string user) {
  user_ = std::move(user);
  return *this;
}

Image ImageBuilder::build() const {
  Image image;
  image.platform = platform_;
  image.layers = layers_;
  image.chain_ids = chain_ids_of(layers_);

  json::object run{{"Env", string_array(env_)}, {"Cmd", string_array(command_)}};
  if (!user_.empty()) run["User"] = user_;
  json::array diff_ids;
  json::array descriptors;
  for (const auto& layer : layers_) {
    image.blobs.emplace(layer.digest, layer.blob);
    diff_ids.emplace_back(layer.diff_id);
    auto object = descriptor(layer.media_type, layer.digest, layer.blob.size());
    if (!layer.annotations.empty()) object["annotations"] = string_map(layer.annotations);
    descriptors.push_back(std::move(object));
  }
  json::object config{{"created", "2024-01-01T00:00:00Z"}};
  put_platform(config, platform_);
  config["config"] = std::move(run);
  config["rootfs"] = json::object{{"type", "layers"}, {"diff_ids", std::move(diff_ids)}};
  std::string config_text = json::serialize(config);
  const auto config_size = config_text.size();
  image.config_digest = add_blob(image, std::move(config_text));

  json::object manifest{{"schemaVersion", 2}, {"mediaType", manifest_type}};
  manifest["config"] = descriptor(config_type, image.config_digest, config_size);
  manifest["layers"] = std::move(descriptors);
  if (!annotations_.empty()) manifest["annotations"] = string_map(annotations_);
  set_root(image, manifest_type, manifest);
  return image;
}

Image make_index(const std::vector<Image>& images) {
  Image index;
  json::array manifests;
  for (const auto& image : images) {
    auto object = descriptor(image.media_type, image.digest, image.size);
    if (!image.platform.empty()) {
      json::object platform;
      put_platform(platform, image.platform);
      object["platform"] = std::move(platform);
    }
    manifests.push_back(std::move(object));
    index.blobs.insert(image.blobs.begin(), image.blobs.end());
  }
  json::object document{{"schemaVersion", 2}, {"mediaType", index_type}};
  document["manifests"] = std::move(manifests);
  set_root(index, index_type, document);
  return index;
}

std::vector<tar::Entry> busybox_files() {
  std::vector<tar::Entry> entries;
  for (const char* folder : {"bin", "dev", "etc", "proc", "sys", "tmp"})
    entries.push_back(tar::directory(folder));
  entries.push_back(tar::file("bin/busybox", read_file("/bin/busybox")).mode(0755));
  for (const char* applet : {"cat", "echo", "env", "find", "id", "ls", "md5sum", "readlink", "sh",
                             "sha256sum", "sleep", "stat", "test", "true", "false", "wc"}) {
    entries.push_back(tar::symlink("bin/" + std::string(applet), "busybox"));
  }
  entries.push_back(tar::file("etc/passwd", "root:x:0:0:root:/:/bin/sh\n"));
  return entries;
}

void write_layout(const Image& image, const fs::path& folder, std::string_view tag) {
  write_file(folder / "oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
  for (const auto& [digest, bytes] : image.blobs) write_file(blob_path(folder, digest), bytes);
  auto root = descriptor(image.media_type, image.digest, image.size);
  root["annotations"] = json::object{{"org.opencontainers.image.ref.name", tag}};
  json::object index{{"schemaVersion", 2}, {"mediaType", index_type}};
  index["manifests"] = json::array{std::move(root)};
  write_file(folder / "index.json", json::serialize(index));
}

Image read_layout(const fs::path& folder) {
  const auto index = json::parse(read_file(folder / "index.json")).as_object();
  return load(folder, index.at("manifests").as_array().at(0).as_object());
}

}  // namespace lazypull::test
