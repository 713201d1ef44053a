#include "engine/labels.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

namespace lazypull {

namespace {

constexpr std::string_view gc_config = "containerd.io/gc.ref.content.config";
constexpr std::string_view gc_layer = "containerd.io/gc.ref.content.l.";
constexpr std::string_view gc_manifest = "containerd.io/gc.ref.content.m.";

constexpr std::string_view cri_image_ref = "containerd.io/snapshot/cri.image-ref";
constexpr std::string_view cri_manifest_digest = "containerd.io/snapshot/cri.manifest-digest";
constexpr std::string_view cri_layer_digest = "containerd.io/snapshot/cri.layer-digest";
constexpr std::string_view cri_image_layers = "containerd.io/snapshot/cri.image-layers";

constexpr std::string_view stargz_reference = "containerd.io/snapshot/remote/stargz.reference";
constexpr std::string_view stargz_digest = "containerd.io/snapshot/remote/stargz.digest";
constexpr std::string_view stargz_layers = "containerd.io/snapshot/remote/stargz.layers";
constexpr std::string_view remote_urls = "containerd.io/snapshot/remote/urls";

/// What only this client or the snapshotter may say of a snapshot. An image that could set these would have
/// its layers taken for remote ones, and so an empty snapshot committed under somebody else's ChainID.
constexpr std::array<std::string_view, 7> reserved{
    label::snapshot_ref,
    label::diff_id,
    label::parent_chain_id,
    label::remote_2019,
    label::remote_2019_ref,
    label::remote_2019_digest,
    "containerd.io/snapshot/remote",
};

/// Annotations by which formats that snapshotters mount without pulling mark their layers: eStargz, Nydus
/// (data blobs, and plain layers that it refers into) and OverlayBD.
constexpr std::array<std::string_view, 4> remote_hints{
    label::stargz_toc,
    "containerd.io/snapshot/nydus-blob",
    "containerd.io/snapshot/nydus-ref",
    "containerd.io/snapshot/overlaybd/blob-digest",
};

bool fits(std::string_view key, std::string_view value) {
  return key.size() + value.size() <= max_label_bytes;
}

void set(Labels& labels, std::string_view key, std::string_view value) {
  if (fits(key, value)) labels.insert_or_assign(std::string(key), std::string(value));
}

/// Includes the configs of containerd's checkpoints, as containerd does wherever it names a config.
bool is_known_config(std::string_view type) {
  return media_type::is_config(type) ||
         type == "application/vnd.containerd.container.criu.checkpoint.criu.tar" ||
         type == "application/vnd.containerd.container.checkpoint.config.v1+proto";
}

std::string_view gc_key(const Descriptor& child) {
  if (is_known_config(child.media_type)) return gc_config;
  if (media_type::is_manifest(child.media_type)) return gc_manifest;
  if (media_type::is_layer(child.media_type)) return gc_layer;
  return label::gc_content;
}

/// Numbers the children per key; a key without a trailing dot has no number the first time.
class GcLabels {
 public:
  void add(const Descriptor& child) {
    const auto key = gc_key(child);
    const auto index = counts_[key]++;
    std::string name(key);
    if (index > 0 || key.ends_with('.')) name += std::to_string(index);
    labels_.insert_or_assign(std::move(name), child.digest.str());
  }
  Labels take() { return std::move(labels_); }

 private:
  std::map<std::string_view, std::size_t> counts_;
  Labels labels_;
};

/// The host of a domain, as in a URL: neither port nor brackets.
std::string_view host_of(std::string_view domain) {
  if (domain.starts_with('[')) return domain.substr(1, domain.find(']') - 1);
  return domain.substr(0, domain.find(':'));
}

/// A comma-separated list, as far as key and list fit together.
class LabelList {
 public:
  explicit LabelList(std::string_view key) : key_(key) {}

  bool add(std::string_view item) {
    const auto separator = static_cast<std::size_t>(!value_.empty());
    if (key_.size() + value_.size() + separator + item.size() > max_label_bytes) return false;
    if (separator != 0) value_ += ',';
    value_ += item;
    return true;
  }
  const std::string& value() const { return value_; }

 private:
  std::string_view key_;
  std::string value_;
};

/// A list has no way to quote a comma, so a URL with one is left out.
void set_urls(Labels& labels, const std::string& key, const Descriptor& layer) {
  LabelList list(key);
  for (const auto& url : layer.urls) {
    if (url.find(',') == std::string::npos && !list.add(url)) break;
  }
  if (!list.value().empty()) set(labels, key, list.value());
}

void inherit_annotations(Labels& labels, const Descriptor& layer) {
  for (const auto& [key, value] : layer.annotations) {
    if (!key.starts_with(label::snapshot_prefix)) continue;
    if (std::ranges::find(reserved, key) == reserved.end()) set(labels, key, value);
  }
}

void add_containerd(Labels& labels, const LayerContext& layer) {
  set(labels, label::snapshot_ref, layer.chain_ids[layer.index].str());
  set(labels, label::diff_id, layer.diff_ids[layer.index].str());
  if (layer.index > 0) set(labels, label::parent_chain_id, layer.chain_ids[layer.index - 1].str());
}

void add_cri(Labels& labels, const LayerContext& layer) {
  LabelList list(cri_image_layers);
  for (const auto& above : layer.layers.subspan(layer.index)) {
    if (media_type::is_layer(above.media_type) && !list.add(above.digest.str())) break;
  }
  set(labels, cri_image_ref, layer.reference.name());
  set(labels, cri_manifest_digest, layer.manifest_digest.str());
  set(labels, cri_layer_digest, layer.layers[layer.index].digest.str());
  if (!list.value().empty()) set(labels, cri_image_layers, list.value());
}

void add_stargz(Labels& labels, const LayerContext& layer) {
  const auto& target = layer.layers[layer.index];
  LabelList list(stargz_layers);
  std::size_t position = 0;  // in the list: that is how the reader finds a neighbour's URLs
  for (const auto& above : layer.layers.subspan(layer.index)) {
    if (!media_type::is_layer(above.media_type)) continue;
    if (!list.add(above.digest.str())) break;
    set_urls(labels, std::string(remote_urls) + "." + std::to_string(position), above);
    ++position;
  }
  set(labels, stargz_reference, layer.reference.name());
  set(labels, stargz_digest, target.digest.str());
  if (!list.value().empty()) set(labels, stargz_layers, list.value());
  set_urls(labels, std::string(remote_urls), target);
}

void add_v2019(Labels& labels, const LayerContext& layer) {
  set(labels, label::remote_2019_ref, layer.reference.name());
  set(labels, label::remote_2019_digest, layer.layers[layer.index].digest.str());
}

}  // namespace

Labels gc_labels(const Manifest& manifest) {
  GcLabels labels;
  labels.add(manifest.config);
  for (const auto& layer : manifest.layers) labels.add(layer);
  return labels.take();
}

Labels gc_labels(const Index& index) {
  GcLabels labels;
  for (const auto& child : index.manifests) labels.add(child);
  return labels.take();
}

std::optional<std::pair<std::string, std::string>> distribution_source_label(const Reference& reference,
                                                                             const Labels& existing) {
  std::string key(label::distribution_source);
  key += host_of(reference.domain());
  std::set<std::string, std::less<>> repositories;
  if (const auto found = existing.find(key); found != existing.end()) {
    std::string_view rest = found->second;
    while (!rest.empty()) {
      const auto comma = std::min(rest.find(','), rest.size());
      if (comma > 0) repositories.emplace(rest.substr(0, comma));
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
  }
  if (!repositories.insert(reference.repository()).second) return std::nullopt;
  std::string value;
  for (const auto& repository : repositories) {
    if (!value.empty()) value += ',';
    value += repository;
  }
  if (!fits(key, value)) return std::nullopt;
  return std::pair(std::move(key), std::move(value));
}

std::string ingest_ref(const Descriptor& descriptor) {
  const auto& type = descriptor.media_type;
  std::string ref = "unknown-";
  if (media_type::is_manifest(type)) ref = "manifest-";
  if (media_type::is_index(type)) ref = "index-";
  if (media_type::is_layer(type)) ref = "layer-";
  if (is_known_config(type)) ref = "config-";
  const auto name = descriptor.annotations.find("org.opencontainers.image.ref.name");
  if (name != descriptor.annotations.end()) ref += name->second + "@";
  return ref + descriptor.digest.str();
}

Labels snapshot_labels(const LayerContext& layer, const std::set<LabelDialect>& dialects) {
  Labels labels;
  inherit_annotations(labels, layer.layers[layer.index]);
  for (const auto dialect : dialects) {
    switch (dialect) {
      case LabelDialect::containerd:
        add_containerd(labels, layer);
        break;
      case LabelDialect::cri:
        add_cri(labels, layer);
        break;
      case LabelDialect::stargz:
        add_stargz(labels, layer);
        break;
      case LabelDialect::v2019:
        add_v2019(labels, layer);
        break;
    }
  }
  return labels;
}

bool has_remote_hint(const Descriptor& layer) {
  return std::ranges::any_of(remote_hints,
                             [&](auto hint) { return layer.annotations.contains(std::string(hint)); });
}

}  // namespace lazypull
