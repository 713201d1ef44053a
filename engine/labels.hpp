#pragma once

#include "engine/descriptor.hpp"
#include "engine/manifest.hpp"
#include "engine/reference.hpp"

#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lazypull {

/// Label names of containerd and of remote snapshotters.
namespace label {
inline constexpr std::string_view snapshot_ref = "containerd.io/snapshot.ref";
inline constexpr std::string_view snapshot_prefix = "containerd.io/snapshot/";
inline constexpr std::string_view diff_id = "containerd.io/snapshot/diff-id";
inline constexpr std::string_view parent_chain_id = "containerd.io/snapshot/parent-chain-id";
inline constexpr std::string_view remote_2019 = "containerd.io/snapshot/remote_snapshot";
inline constexpr std::string_view remote_2019_ref = "containerd.io/snapshot/remote_snapshot/ref";
inline constexpr std::string_view remote_2019_digest = "containerd.io/snapshot/remote_snapshot/digest";
inline constexpr std::string_view stargz_toc = "containerd.io/snapshot/stargz/toc.digest";
inline constexpr std::string_view uncompressed = "containerd.io/uncompressed";
inline constexpr std::string_view distribution_source = "containerd.io/distribution.source.";
inline constexpr std::string_view gc_snapshot = "containerd.io/gc.ref.snapshot.";
inline constexpr std::string_view gc_content = "containerd.io/gc.ref.content.";
inline constexpr std::string_view gc_expire = "containerd.io/gc.expire";
}  // namespace label

/// containerd refuses a label whose key and value are longer than this together.
inline constexpr std::size_t max_label_bytes = 4096;

/// The labels that keep a manifest's or index's children from garbage collection, as containerd's
/// ChildGCLabels: `config`, `l.<i>`, `m.<i>`, and `<i>` for anything else.
Labels gc_labels(const Manifest& manifest);
Labels gc_labels(const Index& index);

/// `containerd.io/distribution.source.<domain>` with the repository added to what is there already (sorted,
/// without duplicates, comma-separated). Nothing if it is there already or the label would grow too long.
std::optional<std::pair<std::string, std::string>> distribution_source_label(const Reference& reference,
                                                                             const Labels& existing);

/// The name of the ingest for this content, as containerd's MakeRefKey: "layer-sha256:…", "manifest-…",
/// "index-…", "config-…", "unknown-…"; prefixed by the annotation org.opencontainers.image.ref.name and "@".
std::string ingest_ref(const Descriptor& descriptor);

/// The sets of labels that snapshotters understand on Prepare.
enum class LabelDialect { containerd, cri, stargz, v2019 };

/// Everything the labels of one Prepare are made from.
struct LayerContext {
  const Reference& reference;
  const Digest& manifest_digest;
  std::span<const Descriptor> layers;  ///< of the whole image, lowest first
  std::span<const Digest> diff_ids;
  std::span<const Digest> chain_ids;
  std::size_t index;  ///< the layer in question
};

/// Labels for Prepare (and Commit) of a layer's snapshot. The layer's `containerd.io/snapshot/*` annotations
/// are always inherited; lists of layers are cut so that key and value fit max_label_bytes; a label that
/// would still be too long is left out.
Labels snapshot_labels(const LayerContext& layer, const std::set<LabelDialect>& dialects);

/// True if an annotation of the layer says that a snapshotter may be able to mount it remotely.
bool has_remote_hint(const Descriptor& layer);

}  // namespace lazypull
