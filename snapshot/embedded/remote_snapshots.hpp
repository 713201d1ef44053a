#pragma once

#include "engine/digest.hpp"
#include "engine/ports.hpp"
#include "snapshot/remote/remote_layers.hpp"

#include <optional>
#include <string>
#include <string_view>

/// What the labels of a Prepare ask of a remote snapshotter, by both protocols; pure.
namespace lazypull {

/// A client that would rather not download a layer.
struct RemoteRequest {
  Digest layer;  ///< of its blob
  /// The ChainID that a committed snapshot is wanted for, as `containerd.io/snapshot.ref` has it (today's
  /// protocol). None where an active snapshot is to be filled instead (that of 2019).
  std::optional<Digest> chain_id;
};

/// Nothing where the labels do not ask, or do not say for which layer.
std::optional<RemoteRequest> remote_request(const Labels& labels);

/// The last part of a snapshot's name, if it is a digest: containerd calls the snapshots of a proxy plugin
/// "NAMESPACE/NUMBER/NAME".
std::optional<Digest> chain_id_in(std::string_view name);

/// Whether the layer may lie upon the snapshot of this name (none, if empty) at all.
bool may_lie_upon(const LayerRecord& layer, std::string_view parent);
/// Whether the layer upon this snapshot makes the ChainID: then its DiffID is the image's.
bool makes_chain_id(const LayerRecord& layer, std::string_view parent, const Digest& chain_id);

/// With the labels by which both protocols know a remote snapshot.
Labels marked_remote(Labels labels);
/// Without them: only the snapshotter may say so, and not an image through its annotations.
Labels not_marked_remote(Labels labels);

}  // namespace lazypull
