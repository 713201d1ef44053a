#pragma once

#include "engine/awaitable.hpp"
#include "transport/containerd/client.hpp"

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace lazypull {

/// containerd's own CRI plugin, which learns of images from containerd's events and thus a moment after they
/// are there: a pod that is started at once would not find its image. For .cpp files of the agent.
class CriPeer {
 public:
  explicit CriPeer(const ContainerdClient& client);
  ~CriPeer();

  enum class Sight {
    seen,
    none,      ///< there is no CRI plugin, so nobody to wait for
    not_seen,  ///< it has not learned of the image within the time
  };
  /// Waits until the plugin knows the image by all of the names, which are as `cri_record_names` has them.
  /// Throws only Error{cancelled}.
  Awaitable<Sight> await_image(std::string image_id, std::vector<std::string> names,
                               std::chrono::milliseconds patience);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lazypull
