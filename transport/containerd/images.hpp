#pragma once

#include "engine/ports.hpp"
#include "transport/containerd/client.hpp"

#include <memory>
#include <string>
#include <vector>

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
  /// Creates the record, or gives the one that is there this target and these labels, and leaves it its
  /// others.
  Awaitable<void> merge(const ImageRecord& image);
  /// Everything that matches one of the filters ("name==docker.io/library/alpine:latest"), or everything.
  Awaitable<std::vector<ImageRecord>> list(const std::vector<std::string>& filters);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lazypull
