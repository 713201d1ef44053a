#include "snapshot/embedded/remote_snapshots.hpp"

#include "engine/chain_id.hpp"
#include "engine/labels.hpp"

#include <algorithm>
#include <array>

namespace lazypull {

namespace {

constexpr std::string_view remote_today = "containerd.io/snapshot/remote";

/// Labels that name the layer, in the order in which they are believed.
constexpr std::array layer_labels{
    std::string_view("containerd.io/snapshot/cri.layer-digest"),
    std::string_view("containerd.io/snapshot/remote/stargz.digest"),
    label::remote_2019_digest,
};

std::optional<Digest> digest_at(const Labels& labels, std::string_view key) {
  const auto found = labels.find(std::string(key));
  if (found == labels.end()) return std::nullopt;
  return Digest::try_parse(found->second);
}

}  // namespace

std::optional<RemoteRequest> remote_request(const Labels& labels) {
  if (labels.contains(std::string(label::snapshot_ref))) {
    const auto chain_id = digest_at(labels, label::snapshot_ref);
    if (!chain_id) return std::nullopt;
    for (const auto key : layer_labels) {
      if (const auto layer = digest_at(labels, key))
        return RemoteRequest{.layer = *layer, .chain_id = chain_id};
    }
    return std::nullopt;
  }
  if (!labels.contains(std::string(label::remote_2019_ref))) return std::nullopt;
  const auto layer = digest_at(labels, label::remote_2019_digest);
  if (!layer) return std::nullopt;
  return RemoteRequest{.layer = *layer, .chain_id = std::nullopt};
}

std::optional<Digest> chain_id_in(std::string_view name) {
  return Digest::try_parse(name.substr(name.rfind('/') + 1));
}

bool may_lie_upon(const LayerRecord& layer, std::string_view parent) {
  if (!layer.below) return true;
  if (parent.empty()) return layer.below->empty();
  return layer.below == chain_id_in(parent);
}

bool makes_chain_id(const LayerRecord& layer, std::string_view parent, const Digest& chain_id) {
  if (!may_lie_upon(layer, parent)) return false;
  if (parent.empty()) return layer.diff_id == chain_id;
  const auto below = chain_id_in(parent);
  if (!below) return false;
  // The ChainID of two layers follows from that of the lower one as from its DiffID.
  const std::array pair{*below, layer.diff_id};
  return chain_ids(pair).back() == chain_id;
}

Labels marked_remote(Labels labels) {
  labels.insert_or_assign(std::string(label::remote_2019), "true");
  labels.insert_or_assign(std::string(remote_today), "remote snapshot");
  return labels;
}

Labels not_marked_remote(Labels labels) {
  labels.erase(std::string(label::remote_2019));
  labels.erase(std::string(remote_today));
  return labels;
}

}  // namespace lazypull
