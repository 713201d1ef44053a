#include "tools/experiment/layouts.hpp"

#include "engine/chain_id.hpp"
#include "engine/error.hpp"
#include "engine/json_reader.hpp"
#include "engine/manifest.hpp"

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <fstream>
#include <optional>

namespace lazypull::experiment {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

fs::path blob_path(const fs::path& layout, const Digest& digest) {
  return layout / "blobs" / std::string(digest.algorithm()) / std::string(digest.hex());
}

std::string read_small(const fs::path& file, std::uint64_t limit) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw Error(Errc::not_found, file.string() + ": cannot be opened");
  std::string text(limit + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  if (text.size() > limit) throw Error(Errc::invalid_image, file.string() + ": is too long");
  return text;
}

void write_small(const fs::path& file, const std::string& text) {
  std::ofstream stream(file, std::ios::binary);
  stream << text;
  stream.close();
  if (!stream) throw Error(Errc::out_of_space, file.string() + ": cannot be written");
}

/// The manifest that an index leads to for this host, through further indexes.
Descriptor find_manifest(const fs::path& layout) {
  auto text = read_small(layout / "index.json", max_manifest_bytes);
  std::string type(media_type::oci_index);
  for (int depth = 0; depth < max_index_depth; ++depth) {
    const auto index = Index::parse(text, type);
    const auto chosen = choose_manifests(index, PlatformMatcher::only(Platform::host()), 1);
    if (chosen.empty()) break;
    if (media_type::is_manifest(chosen.front().media_type)) return chosen.front();
    type = chosen.front().media_type;
    text = read_small(blob_path(layout, chosen.front().digest), max_manifest_bytes);
  }
  throw Error(Errc::platform_not_found, layout.string() + ": has no image for " + Platform::host().str());
}

json::object parse(const std::string& text, const std::string& what, std::uint64_t limit) {
  return parse_json_object(text, what, limit);
}

/// Keeps the first `count` members of an array.
void shorten(json::object& object, std::string_view key, std::size_t count) {
  auto* value = object.if_contains(key);
  if (value == nullptr || !value->is_array()) return;
  auto& array = value->get_array();
  if (array.size() > count) array.resize(count);
}

/// One blob that is made here.
Digest put(const fs::path& folder, const std::string& text) {
  const auto digest = Digest::sha256_of(std::string_view(text));
  write_small(blob_path(folder, digest), text);
  return digest;
}

void take_blob(const fs::path& source, const fs::path& folder, const fs::path& beside, const Digest& digest) {
  const auto target = blob_path(folder, digest);
  if (fs::exists(target)) return;
  fs::create_directories(target.parent_path());
  std::error_code failure;
  if (!beside.empty()) {
    fs::create_hard_link(blob_path(beside, digest), target, failure);
    if (!failure) return;
  }
  fs::copy_file(blob_path(source, digest), target, failure);
  if (failure) {
    throw Error(Errc::not_found, blob_path(source, digest).string() + ": " + failure.message());
  }
}

void read_process(const json::object& config, const std::string& what, ServedImage& image) {
  const auto process = JsonObject(config, what).object("config");
  if (!process) return;
  image.command = process->texts("Entrypoint", SpecLimits::words);
  for (auto& word : process->texts("Cmd", SpecLimits::words)) image.command.push_back(std::move(word));
  image.env = process->texts("Env", SpecLimits::words);
  image.user = process->text("User");
  image.folder = process->text("WorkingDir");
}

}  // namespace

std::vector<std::uint64_t> layer_sizes(const fs::path& layout) {
  const auto described = find_manifest(layout);
  const auto text = read_small(blob_path(layout, described.digest), max_manifest_bytes);
  std::vector<std::uint64_t> sizes;
  for (const auto& layer : Manifest::parse(text, described.media_type).layers) sizes.push_back(layer.size);
  return sizes;
}

ServedImage serve_image(const fs::path& source, const fs::path& folder, std::size_t layers,
                        const fs::path& beside) {
  const auto described = find_manifest(source);
  const auto what = source.string();
  auto text = read_small(blob_path(source, described.digest), max_manifest_bytes);
  const auto manifest = Manifest::parse(text, described.media_type);
  auto config_text = read_small(blob_path(source, manifest.config.digest), max_config_bytes);
  const auto diff_ids = ImageConfig::parse(config_text).diff_ids;
  if (diff_ids.size() != manifest.layers.size() || diff_ids.empty()) {
    throw Error(Errc::invalid_image, what + ": manifest and config have different layers, or none");
  }
  const auto count = layers == 0 ? diff_ids.size() : layers;
  if (count > diff_ids.size()) {
    throw Error(Errc::invalid_argument, what + ": has only " + std::to_string(diff_ids.size()) + " layers");
  }
  fs::create_directories(folder / "blobs/sha256");
  for (std::size_t i = 0; i < count; ++i) take_blob(source, folder, beside, manifest.layers[i].digest);

  auto config = parse(config_text, what, max_config_bytes);
  auto document = parse(text, what, max_manifest_bytes);
  auto digest = described.digest;
  if (count < diff_ids.size()) {
    if (auto* root = config["rootfs"].if_object()) shorten(*root, "diff_ids", count);
    config.erase("history");
    config_text = json::serialize(config);
    auto& reference = document["config"].as_object();
    reference["digest"] = put(folder, config_text).str();
    reference["size"] = config_text.size();
    shorten(document, "layers", count);
    text = json::serialize(document);
    digest = put(folder, text);
  } else {
    take_blob(source, folder, beside, manifest.config.digest);
    take_blob(source, folder, beside, digest);
  }
  const json::object entry{{"mediaType", described.media_type},
                           {"digest", digest.str()},
                           {"size", text.size()},
                           {"annotations", {{"org.opencontainers.image.ref.name", "latest"}}}};
  const json::object index{{"schemaVersion", 2}, {"manifests", json::array{entry}}};
  write_small(folder / "index.json", json::serialize(index));
  write_small(folder / "oci-layout", R"({"imageLayoutVersion":"1.0.0"})");

  ServedImage image;
  image.layout = folder;
  image.repository = folder.filename().string();
  image.layers = count;
  image.chain_id = chain_ids(diff_ids)[count - 1];
  read_process(config, what, image);
  return image;
}

}  // namespace lazypull::experiment
