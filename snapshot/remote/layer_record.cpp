#include "snapshot/remote/layer_record.hpp"

#include "engine/descriptor_json.hpp"
#include "engine/error.hpp"
#include "engine/json_reader.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace lazypull {
namespace {

namespace json = boost::json;

constexpr std::uint64_t record_version = 1;

constexpr std::array<std::pair<LayerFormat, std::string_view>, 3> format_words{
    {{LayerFormat::directory, "dir"}, {LayerFormat::erofs, "erofs"}, {LayerFormat::squashfs, "squashfs"}}};

bool is_attribute(const LayerAttribute& attribute) {
  constexpr std::size_t longest_path = 4095;
  constexpr std::size_t longest_name = 255;
  const bool relative = !attribute.path.empty() && attribute.path.front() != '/';
  return relative && attribute.path.size() <= longest_path &&
         attribute.path.find('\0') == std::string::npos && !attribute.name.empty() &&
         attribute.name.size() <= longest_name && attribute.name.find('\0') == std::string::npos;
}

std::uint64_t required_size(const JsonObject& object, std::string_view key) {
  const auto size = object.size(key);
  if (!size) object.refuse(key, "it is missing");
  return *size;
}

void read_data(const JsonObject& object, LayerRecord& record) {
  const auto format = parse_layer_format(object.text("format"));
  if (!format) object.refuse("format", "it is none of dir, erofs, squashfs");
  record.format = *format;
  if (record.format == LayerFormat::directory) {
    if (object.has("imageSize")) object.refuse("imageSize", "a directory has no image");
    if (object.has("imageDigest")) object.refuse("imageDigest", "a directory has no image");
    record.tree_digest = parse_digest(object, "treeDigest");
    return;
  }
  if (object.has("treeDigest")) object.refuse("treeDigest", "an image has none");
  record.image_size = required_size(object, "imageSize");
  if (record.image_size == 0) object.refuse("imageSize", "it is 0");
  record.image_digest = parse_digest(object, "imageDigest");
}

std::optional<Digest> read_below(const JsonObject& object) {
  if (!object.has("below")) return std::nullopt;
  if (object.text("below").empty()) return Digest();
  return parse_digest(object, "below");
}

}  // namespace

std::string_view to_string(LayerFormat format) noexcept {
  const auto* found = std::ranges::find(format_words, format, [](const auto& word) { return word.first; });
  return found == format_words.end() ? std::string_view("unknown") : found->second;
}

std::optional<LayerFormat> parse_layer_format(std::string_view word) noexcept {
  const auto* found = std::ranges::find(format_words, word, [](const auto& known) { return known.second; });
  if (found == format_words.end()) return std::nullopt;
  return found->first;
}

std::string layer_record_text(const LayerRecord& record) {
  json::object object;
  object["version"] = record_version;
  object["digest"] = record.digest.str();
  object["diffID"] = record.diff_id.str();
  object["size"] = record.size;
  object["format"] = to_string(record.format);
  if (record.image_digest) {
    object["imageSize"] = record.image_size;
    object["imageDigest"] = record.image_digest->str();
  }
  if (record.tree_digest) object["treeDigest"] = record.tree_digest->str();
  if (!record.attributes.empty()) {
    json::array attributes;
    for (const auto& attribute : record.attributes) {
      json::object entry;
      entry["path"] = attribute.path;
      entry["name"] = attribute.name;
      attributes.push_back(std::move(entry));
    }
    object["attributes"] = std::move(attributes);
  }
  if (record.below) object["below"] = record.below->str();
  return json::serialize(object) + "\n";
}

LayerRecord parse_layer_record(std::string_view text, const Digest& expected, const std::string& name) {
  const auto document = parse_json_object(text, name, max_layer_record_bytes);
  const JsonObject object(document, name);
  const auto version = required_size(object, "version");
  if (version != record_version) {
    throw Error(Errc::unsupported, name + ": version " + std::to_string(version) + " is not known");
  }
  LayerRecord record;
  record.digest = parse_digest(object, "digest");
  if (record.digest != expected) {
    throw Error(Errc::digest_mismatch, name + ": it is the record of " + record.digest.str());
  }
  record.diff_id = parse_digest(object, "diffID");
  record.size = required_size(object, "size");
  read_data(object, record);
  for (const auto& entry : object.objects("attributes", max_layer_attributes)) {
    LayerAttribute attribute{.path = entry.text("path"), .name = entry.text("name")};
    if (!is_attribute(attribute)) entry.refuse("", "it is no path and name of an attribute");
    record.attributes.push_back(std::move(attribute));
  }
  record.below = read_below(object);
  return record;
}

}  // namespace lazypull
