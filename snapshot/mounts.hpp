#pragma once

#include "engine/ports.hpp"

#include <containerd/types/mount.pb.h>
#include <google/protobuf/repeated_ptr_field.h>

#include <vector>

/// Between our mounts and containerd's. For .cpp files only.
namespace lazypull {

inline std::vector<Mount> mounts_of(
    const google::protobuf::RepeatedPtrField<::containerd::types::Mount>& messages) {
  std::vector<Mount> mounts;
  for (const auto& message : messages) {
    Mount mount;
    mount.type = message.type();
    mount.source = message.source();
    mount.target = message.target();
    mount.options.assign(message.options().begin(), message.options().end());
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

inline void to_wire(const Mount& mount, ::containerd::types::Mount& message) {
  message.set_type(mount.type);
  message.set_source(mount.source);
  message.set_target(mount.target);
  message.mutable_options()->Add(mount.options.begin(), mount.options.end());
}

}  // namespace lazypull
