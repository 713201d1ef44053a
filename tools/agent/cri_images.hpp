#pragma once

#include "engine/awaitable.hpp"
#include "engine/descriptor.hpp"
#include "engine/platform.hpp"
#include "engine/ports.hpp"
#include "engine/reference.hpp"
#include "transport/containerd/client.hpp"
#include "transport/containerd/content.hpp"
#include "transport/containerd/images.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace lazypull {

/// Labels of image records that containerd's CRI plugin and kubelets go by.
namespace cri_label {
inline constexpr std::string_view managed = "io.cri-containerd.image";
inline constexpr std::string_view managed_value = "managed";
inline constexpr std::string_view pinned = "io.cri-containerd.pinned";
inline constexpr std::string_view pinned_value = "pinned";
}  // namespace cri_label

/// What does not change about an image, whatever names it has.
struct CriImageDetails {
  Digest id;  ///< of the config
  Digest chain_id;
  std::uint64_t size =
      0;             ///< compressed: the config, the layers, the manifest and, if there is one, the index
  std::string user;  ///< of the config: "1000:1000", "nobody", or empty
};

/// An image as the CRI has it: what one config is called by.
struct CriImage {
  std::shared_ptr<const CriImageDetails> details;
  Descriptor target;
  std::vector<std::string> names;         ///< of all its records, its id among them
  std::vector<std::string> repo_tags;     ///< "docker.io/library/alpine:3"
  std::vector<std::string> repo_digests;  ///< "docker.io/library/alpine@sha256:…"
  bool pinned = false;
};

/// The user of a config as the CRI wants it: a number, or a name.
struct CriUser {
  std::optional<std::int64_t> uid;
  std::string name;
};
CriUser cri_user(std::string_view user);

/// A reference as the CRI names images: of tag and digest only the digest counts. Throws
/// Error{invalid_argument}.
Reference cri_reference(std::string_view text);

/// The names of the records that containerd's CRI plugin makes for a pulled image: its id, "repo:tag" if the
/// reference has a tag, "repo@digest".
std::vector<std::string> cri_record_names(const Reference& reference, const Digest& image_id,
                                          const Digest& target);

/// The images of one namespace of containerd as its own CRI plugin sees them, read from containerd each time;
/// only what cannot change is remembered. Of the home thread.
class CriImages {
 public:
  /// `pinned`: names of images that get the label for it when they are pulled.
  CriImages(const ContainerdClient& client, const std::vector<std::string>& pinned);

  /// All images whose manifest and config are there for this node's platform, by their ids.
  Awaitable<std::vector<CriImage>> list();
  /// By its id, which may be cut short where it stays clear, or by a name. Nothing if there is none. Throws
  /// Error{invalid_argument} where it is empty, or not clear.
  Awaitable<std::optional<CriImage>> find(std::string id_or_name);
  /// The whole config, as JSON.
  Awaitable<std::string> config(Digest id);

  /// The labels that a pull's own record is to have.
  Awaitable<Labels> labels_for(Reference reference);
  /// Writes the records of a pulled image that are missing or outdated.
  Awaitable<> record(Reference reference, Descriptor target, Digest image_id);
  /// Removes all records of the image, and waits for what that frees. True if there was one.
  Awaitable<bool> remove(std::string id_or_name, std::string& removed_id);

 private:
  using Details = std::shared_ptr<const CriImageDetails>;

  /// Null where the image is not whole.
  Awaitable<Details> details_of(Descriptor target);
  Awaitable<Details> load_details(Descriptor target);
  Awaitable<std::optional<Descriptor>> choose_manifest(Descriptor target, std::uint64_t& size);
  Labels labels_for_name(const std::string& name) const;

  ContainerdContent content_;
  ContainerdImages images_;
  PlatformMatcher platform_;
  std::set<std::string> pinned_;
  std::map<Digest, Details> known_;  // by the digest of the target
};

}  // namespace lazypull
