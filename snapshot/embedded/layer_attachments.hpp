#pragma once

#include "snapshot/embedded/layer_source.hpp"
#include "snapshot/embedded/remote_rows.hpp"

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace lazypull {

/// A remote layer whose files can be read here.
struct AttachedLayer {
  RemoteLayer layer;  ///< perhaps of another storage than was asked for
  std::filesystem::path directory;
};

/// Remote layers of one store. What a record speaks of stays usable whatever the process was told of
/// storages, since the record says where the layer is. Blocking, for several threads; where storages are
/// asked it may take as long as they are given, so not in a transaction.
class LayerAttachments {
 public:
  /// `mounts`: where images are mounted.
  explicit LayerAttachments(std::filesystem::path mounts) : mounts_(std::move(mounts)) {}

  /// Where new layers are looked for; nowhere by default. Not while others use this object.
  void use(std::shared_ptr<LayerSource> source) { source_ = std::move(source); }
  bool can_find() const noexcept { return source_ != nullptr; }

  /// Nothing if no storage has it.
  std::optional<RemoteLayer> find(const Digest& layer);
  /// One that was found just now. Nothing where that fails: then it counts as not found.
  std::optional<AttachedLayer> try_attach(const RemoteLayer& layer);
  /// One that a snapshot consists of: from where it was, or else from where the same layer is now. Throws an
  /// Error that names `key` (the snapshot that is asked for), the layer, and where it was.
  AttachedLayer attach(const RemoteRow& row, const std::string& key);

  // These look at local mounts only.
  /// Whether the images among these layers are mounted.
  bool are_attached(const std::vector<RemoteRow>& rows) const;
  bool is_attached(const RemoteLayer& layer) const;
  std::vector<Digest> attached() const;
  void detach(const Digest& layer);

 private:
  std::optional<AttachedLayer> attach_elsewhere(const RemoteRow& row);
  std::shared_ptr<LayerSource> source_of(const RemoteLayer& layer);
  /// Null if nothing was ever mounted.
  std::shared_ptr<LayerSource> local_source() const;

  std::filesystem::path mounts_;
  std::shared_ptr<LayerSource> source_;
  std::mutex mutex_;
  std::map<std::filesystem::path, std::shared_ptr<LayerSource>> others_;  ///< by the storage
};

}  // namespace lazypull
