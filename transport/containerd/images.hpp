#pragma once

#include "engine/ports.hpp"
#include "transport/containerd/client.hpp"

#include <memory>

namespace lazypull {

/// containerd's image records.
class ContainerdImages final : public ImageStore {
 public:
  explicit ContainerdImages(ContainerdClient client);
  ~ContainerdImages() override;

  Awaitable<std::optional<ImageRecord>> get(const std::string& name) override;
  /// As containerd's own client: creates the record, or replaces target and labels of the one that is there.
  Awaitable<void> put(const ImageRecord& image) override;
  /// `synchronous` waits for the garbage collection that follows. No error if there is no such image.
  Awaitable<void> remove(const std::string& name, bool synchronous);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lazypull
