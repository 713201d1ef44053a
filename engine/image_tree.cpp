#include "engine/image_tree.hpp"

#include "engine/blob_fetch.hpp"
#include "engine/chain_id.hpp"
#include "engine/task_group.hpp"

#include <algorithm>
#include <list>
#include <set>

namespace lazypull {
namespace {

std::string offered_platforms(const Index& index) {
  std::string text;
  for (const auto& entry : index.manifests) {
    if (!entry.platform) continue;
    if (!text.empty()) text += ", ";
    text += entry.platform->str();
    if (text.size() > 400) return text + ", …";
  }
  return text.empty() ? "none" : text;
}

/// The wanted entries, each once, in order of preference.
std::vector<Descriptor> wanted_entries(const PullOptions& options, const Index& index) {
  if (options.all_platforms) return choose_manifests(index, PlatformMatcher::all(), 0);
  std::vector<Platform> platforms = options.platforms;
  if (platforms.empty()) platforms.push_back(Platform::host());
  std::vector<Descriptor> chosen;
  std::set<Digest> seen;
  for (const auto& platform : platforms) {
    const auto best = choose_manifests(index, PlatformMatcher::only(platform), 1);
    if (best.empty()) {
      throw Error(Errc::platform_not_found, "no manifest for platform " + platform.str() +
                                                "; offered are: " + offered_platforms(index));
    }
    if (seen.insert(best.front().digest).second) chosen.push_back(best.front());
  }
  return chosen;
}

bool is_runnable(const Descriptor& descriptor, const Manifest& manifest) {
  const auto& platform = descriptor.platform;
  if (platform && (platform->os == "unknown" || platform->architecture == "unknown")) return false;
  return media_type::is_config(manifest.config.media_type);
}

class TreeLoader {
 public:
  explicit TreeLoader(PullContext& context) : context_(context) {}

  /// Images end up in `images` in the order of their index, not of their arrival.
  Awaitable<> load(Descriptor descriptor, int depth, bool wanted, std::list<ImageNode>& images) {
    if (depth > max_index_depth) {
      throw Error(Errc::invalid_image, "index " + descriptor.digest.str() + ": nested too deep");
    }
    if (media_type::is_index(descriptor.media_type)) {
      co_await load_index(std::move(descriptor), depth, wanted, images);
    } else if (media_type::is_manifest(descriptor.media_type)) {
      co_await load_manifest(std::move(descriptor), wanted, images);
    } else {
      throw Error(Errc::unsupported, descriptor.digest.str() + ": media type " + descriptor.media_type +
                                         " is neither an image manifest nor an index");
    }
  }

 private:
  Awaitable<> load_index(Descriptor descriptor, int depth, bool wanted, std::list<ImageNode>& images) {
    Index index;
    auto inspect = [&](const std::string& bytes) {
      index = Index::parse(bytes, descriptor.media_type);
      return gc_labels(index);
    };
    co_await fetch_metadata(context_, descriptor, max_manifest_bytes, inspect);
    std::vector<Descriptor> entries;
    if (wanted) entries = wanted_entries(context_.options, index);
    const std::size_t wanted_count = entries.size();
    if (context_.options.all_metadata) add_others(index, entries);
    std::vector<std::list<ImageNode>> found(entries.size());
    co_await with_task_group([&](TaskGroup& group) -> Awaitable<> {
      for (std::size_t i = 0; i < entries.size(); ++i) {
        group.spawn(load(entries[i], depth + 1, i < wanted_count, found[i]));
      }
      co_return;
    });
    for (auto& list : found) images.splice(images.end(), list);
  }

  static void add_others(const Index& index, std::vector<Descriptor>& entries) {
    std::set<Digest> seen;
    for (const auto& entry : entries) seen.insert(entry.digest);
    for (const auto& entry : index.manifests) {
      if (seen.insert(entry.digest).second) entries.push_back(entry);
    }
  }

  Awaitable<> load_manifest(Descriptor descriptor, bool wanted, std::list<ImageNode>& images) {
    ImageNode node;
    auto inspect = [&](const std::string& bytes) {
      node.manifest = Manifest::parse(bytes, descriptor.media_type);
      auto labels = gc_labels(node.manifest);
      if (context_.options.discard_unpacked_layers) drop_layer_labels(labels);
      return labels;
    };
    co_await fetch_metadata(context_, descriptor, max_manifest_bytes, inspect);
    node.runnable = is_runnable(descriptor, node.manifest);
    auto parse_config = [&](const std::string& bytes) {
      if (node.runnable) node.config = ImageConfig::parse(bytes);
      return Labels{};
    };
    auto config = co_await fetch_metadata(context_, node.manifest.config, max_config_bytes, parse_config);
    if (!wanted) co_return;
    node.config_labels = std::move(config.labels);
    node.descriptor = std::move(descriptor);
    if (node.runnable) derive_chain(node);
    images.push_back(std::move(node));
  }

  static void drop_layer_labels(Labels& labels) {
    const std::string prefix = std::string(label::gc_content) + "l.";
    std::erase_if(labels, [&](const auto& item) { return item.first.starts_with(prefix); });
  }

  static void derive_chain(ImageNode& node) {
    const auto layers = node.manifest.layers.size();
    const auto diffs = node.config.diff_ids.size();
    if (layers != diffs) {
      throw Error(Errc::invalid_image, "manifest " + node.descriptor.digest.str() + " has " +
                                           std::to_string(layers) + " layers, but its config " +
                                           node.manifest.config.digest.str() + " has " +
                                           std::to_string(diffs) + " diff_ids");
    }
    node.chain_ids = chain_ids(node.config.diff_ids);
  }

  PullContext& context_;
};

}  // namespace

Awaitable<std::vector<ImageNode>> load_images(PullContext& context, const Descriptor& root) {
  std::list<ImageNode> images;
  TreeLoader loader(context);
  co_await loader.load(root, 0, true, images);
  co_return std::vector<ImageNode>(std::make_move_iterator(images.begin()),
                                   std::make_move_iterator(images.end()));
}

}  // namespace lazypull
