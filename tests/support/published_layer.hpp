#pragma once

#include "snapshot/remote/remote_layers.hpp"

#include <filesystem>
#include <functional>
#include <string>

namespace lazypull::test {

using FillFolder = std::function<void(const std::filesystem::path& folder)>;

/// Puts a layer into a storage, which is made if there is none, as a publisher does: with the digest of
/// `blob` and the DiffID of "tar:" and `blob`. Without `fill` it has one file, named "file", which says "from
/// BLOB". Images need erofs-utils or squashfs-tools.
RemoteLayer publish_layer(const std::filesystem::path& storage, const std::string& blob, LayerFormat format,
                          const FillFolder& fill = {});

/// A file system that never answers, mounted on a directory until `revive` or the end, after which whoever
/// waits in it gets an error and the directory is what it was. Needs root.
class HangingMount {
 public:
  explicit HangingMount(std::filesystem::path directory);
  HangingMount(const HangingMount&) = delete;
  HangingMount& operator=(const HangingMount&) = delete;
  ~HangingMount() { revive(); }

  void revive() noexcept;

 private:
  std::filesystem::path directory_;
  int connection_ = -1;
};

}  // namespace lazypull::test
