#include "tools/layers_chain.hpp"

#include "engine/chain_id.hpp"
#include "engine/error.hpp"
#include "engine/manifest.hpp"
#include "engine/reference.hpp"

#include <utility>

namespace lazypull {
namespace {

std::string full_name(const std::string& name) {
  try {
    return Reference::parse(name).name();
  } catch (const Error&) {
    return name;  // names of images need not be references
  }
}

/// The best manifest for the platform that the content store has. The descriptor is that of the image.
Awaitable<std::optional<Descriptor>> find_manifest(ContentStore& content, Descriptor descriptor,
                                                   const PlatformMatcher& matcher, int depth) {
  if (depth > max_index_depth) co_return std::nullopt;
  const auto present = co_await content.info(descriptor.digest);
  if (!present) co_return std::nullopt;
  if (!media_type::is_index(descriptor.media_type)) co_return descriptor;
  const auto bytes = co_await content.read(descriptor.digest, max_manifest_bytes);
  const auto index = Index::parse(bytes, descriptor.media_type);
  for (const auto& entry : choose_manifests(index, matcher, 0)) {
    auto found = co_await find_manifest(content, entry, matcher, depth + 1);
    if (found) co_return found;
  }
  co_return std::nullopt;
}

Awaitable<ImageConfig> read_config(ContentStore& content, const Manifest& manifest) {
  const auto& config = manifest.config;
  if (!media_type::is_config(config.media_type)) {
    throw Error(Errc::unsupported,
                "its config is of media type " + config.media_type + ", so it has no layers");
  }
  const auto bytes = co_await content.read(config.digest, max_config_bytes);
  co_return ImageConfig::parse(bytes);
}

}  // namespace

Awaitable<ImageRecord> find_image_record(ImageStore& images, std::string name) {
  auto found = co_await images.get(name);
  if (!found) {
    const auto full = full_name(name);
    found = co_await images.get(full);
  }
  if (!found) throw Error(Errc::not_found, "image " + name + " is not there; pull it first");
  co_return std::move(*found);
}

Awaitable<LayerChain> load_layer_chain(ContentStore& content, ImageRecord image,
                                       std::optional<Platform> platform) {
  const auto matcher = PlatformMatcher::only(platform ? *platform : Platform::host());
  const auto none = Error(Errc::platform_not_found,
                          "image " + image.name + " has not been pulled for platform " + matcher.str());
  const auto manifest_descriptor = co_await find_manifest(content, image.target, matcher, 0);
  if (!manifest_descriptor) throw none;
  const auto bytes = co_await content.read(manifest_descriptor->digest, max_manifest_bytes);
  auto manifest = Manifest::parse(bytes, manifest_descriptor->media_type);
  auto config = co_await read_config(content, manifest);
  const bool chosen = media_type::is_index(image.target.media_type);
  if (platform && !chosen && !matcher.matches(config.platform)) throw none;
  if (manifest.layers.size() != config.diff_ids.size()) {
    throw Error(Errc::invalid_image,
                "image " + image.name + " has " + std::to_string(manifest.layers.size()) +
                    " layers, but its config has " + std::to_string(config.diff_ids.size()) + " diff_ids");
  }
  LayerChain chain;
  chain.layers = std::move(manifest.layers);
  chain.diff_ids = std::move(config.diff_ids);
  chain.chain_ids = chain_ids(chain.diff_ids);
  co_return chain;
}

}  // namespace lazypull
