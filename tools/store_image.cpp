#include "tools/store_image.hpp"

#include "engine/chain_id.hpp"
#include "engine/error.hpp"
#include "engine/reference.hpp"

#include <set>
#include <utility>

namespace lazypull {

namespace {

std::optional<std::string> full_name(const std::string& name) {
  try {
    return Reference::parse(name).name();
  } catch (const Error&) {
    return std::nullopt;  // names of images need not be references
  }
}

class ImageReader {
 public:
  explicit ImageReader(EmbeddedStore& store) : content_(store.content()) {}

  ImageContents run(const Descriptor& target) {
    contents_.of_index = media_type::is_index(target.media_type);
    read(target, 0);
    return std::move(contents_);
  }

 private:
  void read(const Descriptor& descriptor, int depth) {
    if (depth > max_index_depth || !seen_.insert(descriptor.digest).second) return;
    if (!content_.info(descriptor.digest)) {
      contents_.absent.push_back(descriptor);
    } else if (media_type::is_index(descriptor.media_type)) {
      contents_.indexes.push_back(descriptor);
      const auto bytes = content_.read(descriptor.digest, max_manifest_bytes);
      for (const auto& entry : Index::parse(bytes, descriptor.media_type).manifests) read(entry, depth + 1);
    } else if (media_type::is_manifest(descriptor.media_type)) {
      contents_.parts.push_back(read_part(descriptor));
    }
  }

  ImagePart read_part(const Descriptor& descriptor) {
    ImagePart part;
    part.descriptor = descriptor;
    part.manifest =
        Manifest::parse(content_.read(descriptor.digest, max_manifest_bytes), descriptor.media_type);
    const auto& config = part.manifest.config;
    if (media_type::is_config(config.media_type) && content_.info(config.digest)) {
      part.config = ImageConfig::parse(content_.read(config.digest, max_config_bytes));
      part.chain_ids = chain_ids(part.config->diff_ids);
      part.platform = part.config->platform;
    }
    if (descriptor.platform) part.platform = *descriptor.platform;
    return part;
  }

  ContentDirectory& content_;
  ImageContents contents_;
  std::set<Digest> seen_;
};

}  // namespace

std::vector<Descriptor> ImagePart::blobs() const {
  std::vector<Descriptor> all{descriptor, manifest.config};
  all.insert(all.end(), manifest.layers.begin(), manifest.layers.end());
  return all;
}

StoredImage find_image(EmbeddedStore& store, const std::string& name) {
  auto found = store.images().find(name);
  if (!found) {
    if (const auto full = full_name(name)) found = store.images().find(*full);
  }
  if (!found) throw Error(Errc::not_found, "image " + name + " is not in the store");
  return std::move(*found);
}

ImageContents read_image(EmbeddedStore& store, const Descriptor& target) {
  return ImageReader(store).run(target);
}

const ImagePart& choose_part(const ImageContents& contents, const std::optional<Platform>& platform,
                             const std::string& image) {
  if (!platform && !contents.of_index && contents.parts.size() == 1) return contents.parts.front();
  const auto matcher = PlatformMatcher::only(platform ? *platform : Platform::host());
  const ImagePart* best = nullptr;
  for (const auto& part : contents.parts) {
    if (!matcher.matches(part.platform)) continue;
    if (best == nullptr || matcher.less(part.platform, best->platform)) best = &part;
  }
  if (best == nullptr) {
    throw Error(Errc::platform_not_found,
                "image " + image + " is not in the store for platform " + matcher.str());
  }
  return *best;
}

}  // namespace lazypull
