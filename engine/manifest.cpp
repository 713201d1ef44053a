#include "engine/manifest.hpp"

#include "engine/descriptor_json.hpp"
#include "engine/error.hpp"
#include "engine/json_reader.hpp"

#include <algorithm>
#include <array>
#include <limits>

namespace lazypull {

namespace {

/// A media type without parameters such as "; charset=utf-8", in lower case as it is compared.
std::string essence_of(std::string_view type) {
  type = type.substr(0, type.find(';'));
  while (type.ends_with(' ') || type.ends_with('\t')) type.remove_suffix(1);
  while (type.starts_with(' ') || type.starts_with('\t')) type.remove_prefix(1);
  std::string essence(type);
  for (char& c : essence) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return essence;
}

[[noreturn]] void refuse_type(std::string_view what, std::string_view type) {
  const bool schema1 = type == media_type::docker_schema1 || type == media_type::docker_schema1_signed;
  throw Error(Errc::unsupported, std::string(what) + ": " +
                                     (schema1 ? "Docker image manifests of schema 1 are not supported"
                                              : "media type " + std::string(type) + " is not supported"));
}

/// The document's type, about which its descriptor (or the response's header) and itself must agree.
std::string check_type(const JsonObject& json, std::string_view what, std::string_view declared,
                       bool (*accepted)(std::string_view) noexcept) {
  const auto version = json.size("schemaVersion");
  if (version == 1 || json.has("fsLayers")) refuse_type(what, media_type::docker_schema1);
  if (version && version != 2) json.refuse("schemaVersion", "it is not 2");

  const auto inner = json.text("mediaType");
  if (!inner.empty() && !is_media_type(inner)) json.refuse("mediaType", "it is malformed");
  auto type = essence_of(declared.empty() ? std::string_view(inner) : declared);
  if (type.empty()) json.refuse("mediaType", "it is missing, and nothing else says what this is");
  if (!is_media_type(type)) json.refuse("", "it was served with a malformed media type");
  if (!inner.empty() && essence_of(inner) != type) {
    json.refuse("mediaType", inner + " contradicts " + type + ", as which it was referred to");
  }
  if (!accepted(type)) refuse_type(what, type);
  return type;
}

/// A document that is a manifest to one reader and an index to another is an attack (CVE-2021-41190).
void refuse_members(const JsonObject& json, std::string_view type, auto... keys) {
  for (const std::string_view key : {keys...}) {
    if (json.has(key)) json.refuse(key, "it must not be in a document of type " + std::string(type));
  }
}

std::vector<Descriptor> parse_descriptors(const JsonObject& json, std::string_view key, std::size_t limit) {
  if (!json.has(key)) json.refuse(key, "it is missing");
  std::vector<Descriptor> result;
  for (const auto& element : json.objects(key, limit)) result.push_back(parse_descriptor(element));
  return result;
}

/// Whoever adds the sizes up need not think of overflow then.
void check_total_size(const Manifest& manifest) {
  constexpr std::uint64_t largest = std::numeric_limits<std::int64_t>::max();
  std::uint64_t total = manifest.config.size;
  for (const auto& layer : manifest.layers) {
    if (layer.size > largest - total)
      throw Error(Errc::invalid_image, "manifest: its sizes add up to 2^63 or more");
    total += layer.size;
  }
}

}  // namespace

Manifest Manifest::parse(std::string_view json, std::string_view declared_type) {
  const auto document = parse_json_object(json, "manifest", max_manifest_bytes);
  const JsonObject root(document, "manifest");
  Manifest manifest;
  manifest.media_type = check_type(root, "manifest", declared_type, &media_type::is_manifest);
  refuse_members(root, manifest.media_type, "manifests");
  const auto config = root.object("config");
  if (!config) root.refuse("config", "it is missing");
  manifest.config = parse_descriptor(*config);
  manifest.layers = parse_descriptors(root, "layers", max_layers);
  check_total_size(manifest);
  return manifest;
}

Index Index::parse(std::string_view json, std::string_view declared_type) {
  const auto document = parse_json_object(json, "index", max_manifest_bytes);
  const JsonObject root(document, "index");
  Index index;
  index.media_type = check_type(root, "index", declared_type, &media_type::is_index);
  refuse_members(root, index.media_type, "layers", "config");
  index.manifests = parse_descriptors(root, "manifests", max_index_entries);
  return index;
}

ImageConfig ImageConfig::parse(std::string_view json) {
  const auto document = parse_json_object(json, "config", max_config_bytes);
  const JsonObject root(document, "config");
  ImageConfig config;
  config.platform = parse_platform(root).normalized();
  const auto rootfs = root.object("rootfs");
  if (!rootfs) return config;
  const auto type = rootfs->text("type");
  if (!type.empty() && type != "layers") {
    throw Error(Errc::invalid_image, "config.rootfs.type: only \"layers\" is supported");
  }
  for (const auto& text : rootfs->texts("diff_ids", max_layers)) {
    auto digest = Digest::try_parse(text);
    if (!digest) {
      const auto position = std::to_string(config.diff_ids.size());
      rootfs->refuse("diff_ids", "its element " + position + " is not a sha256 or sha512 digest");
    }
    config.diff_ids.push_back(*std::move(digest));
  }
  return config;
}

std::vector<Descriptor> choose_manifests(const Index& index, const PlatformMatcher& matcher,
                                         std::size_t limit) {
  std::vector<const Descriptor*> matching;
  for (const auto& entry : index.manifests) {
    if (!entry.platform || matcher.matches(*entry.platform)) matching.push_back(&entry);
  }
  const auto preferred = [&matcher](const Descriptor& a, const Descriptor& b) {
    if (!a.platform || !b.platform) return a.platform.has_value() && !b.platform.has_value();
    return matcher.less(*a.platform, *b.platform);
  };
  std::ranges::sort(matching, [&preferred](const Descriptor* a, const Descriptor* b) {
    if (preferred(*a, *b)) return true;
    return !preferred(*b, *a) && a < b;  // equals keep the order of the index
  });
  if (limit > 0 && matching.size() > limit) matching.resize(limit);
  std::vector<Descriptor> chosen;
  chosen.reserve(matching.size());
  for (const auto* entry : matching) chosen.push_back(*entry);
  return chosen;
}

}  // namespace lazypull
