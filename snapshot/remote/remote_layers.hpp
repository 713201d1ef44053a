#pragma once

#include "engine/digest.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

/// Layers that lie unpacked in shared storage, so that a node mounts them and downloads nothing.
namespace lazypull {

enum class LayerFormat { directory, erofs, squashfs };

/// An extended attribute that the publisher saw. If the storage does not show it to this node (NFS has no
/// trusted.*), the layer's files are not what they should be.
struct LayerAttribute {
  std::string path;  ///< of a file or directory, relative to the layer's root; "." is the root
  std::string name;

  friend bool operator==(const LayerAttribute&, const LayerAttribute&) = default;
};

/// What is known of a published layer, as its record in the storage says.
struct LayerRecord {
  Digest digest;           ///< of the layer's blob, by which it is found
  Digest diff_id;          ///< of its uncompressed tar
  std::uint64_t size = 0;  ///< of the blob, in bytes
  LayerFormat format = LayerFormat::directory;
  std::uint64_t image_size = 0;        ///< of the EROFS or squashfs image; 0 for a directory
  std::optional<Digest> image_digest;  ///< of that image
  std::optional<Digest> tree_digest;   ///< of a directory's files, as survey_tree has it
  std::vector<LayerAttribute> attributes;
  /// Where the layer's archive leaves something to the layers below (folders that no entry names take owner
  /// and mode from there), the files are right only above these: their ChainID, or an empty digest for no
  /// layer at all. None, as for nearly every layer: right above any.
  std::optional<Digest> below;

  friend bool operator==(const LayerRecord&, const LayerRecord&) = default;
};

/// A layer that one of the storages has.
struct RemoteLayer {
  LayerRecord record;
  std::filesystem::path data;  ///< the directory or the image
};

struct RemoteLayersOptions {
  std::vector<std::filesystem::path> storages;  ///< asked in this order
  std::filesystem::path mounts;                 ///< a local folder for the mounts of images
  /// How long a storage may take to answer (a dead NFS server never does). One that did not is left alone for
  /// `pause`.
  std::chrono::milliseconds patience{3000};
  std::chrono::milliseconds pause{30000};
  /// Told of storages that do not answer and of records that are not sound; may be empty. Called by any
  /// thread.
  std::function<void(const std::string&)> warn;
};

/// Shared storages as one node uses them. Blocking; for several threads and several processes at once.
///
/// An attached image is the mount `mounts`/HEX. It is read-only and nodev; not nosuid, because a snapshot of
/// one layer is a bind mount of it, which would inherit that, and set-uid programs of images are to work as
/// they do where the layer is a local directory. `mounts` itself is for root only.
class RemoteLayers {
 public:
  explicit RemoteLayers(RemoteLayersOptions options);
  ~RemoteLayers();
  RemoteLayers(const RemoteLayers&) = delete;
  RemoteLayers& operator=(const RemoteLayers&) = delete;

  /// The layer, if a storage has it, its record is sound and its data is there. Never throws for what is
  /// wrong with a storage: such a layer is not there, and is downloaded.
  std::optional<RemoteLayer> find(const Digest& layer);

  /// Where the layer's files can be read: its directory, or where its image is mounted (which is done if it
  /// is not yet). Layers are in overlayfs's form. Throws not_found if the data has gone, failed_precondition
  /// for an image that is not whole or cannot be mounted, permission_denied without root.
  std::filesystem::path attach(const RemoteLayer& layer);

  /// Unmounts the layer's image; no error if it is not mounted. Mounts that lie above it stay usable.
  void detach(const Digest& layer);

  /// The layers whose images are mounted below `mounts` now, by this or another process.
  std::vector<Digest> attached() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lazypull
