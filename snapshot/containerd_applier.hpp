#pragma once

#include "engine/ports.hpp"
#include "transport/containerd/client.hpp"

#include <memory>

namespace lazypull {

/// Has containerd's Diff service extract a layer of its content store. containerd mounts, so it works for
/// every snapshotter, also where this process may not mount.
class ContainerdApplier final : public Applier {
 public:
  explicit ContainerdApplier(ContainerdClient client);
  ~ContainerdApplier() override;

  /// Throws Error{not_found} if the content is missing, Error{unsupported} for a compression that the daemon
  /// does not know.
  Awaitable<AppliedLayer> apply(const Descriptor& layer, const std::vector<Mount>& mounts) override;
  /// Null: the service reads from the content store.
  Awaitable<std::unique_ptr<LayerUnpack>> start(const Descriptor& layer, UnpackTraits traits) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lazypull
