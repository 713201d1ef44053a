#pragma once

#include "engine/ports.hpp"

#include <optional>
#include <string>
#include <vector>

namespace lazypull {

/// Where the files of a prepared snapshot go, as its mounts say.
struct SnapshotPlace {
  std::string directory;           ///< the upperdir, or the folder that is bind-mounted
  std::vector<std::string> lower;  ///< folders of the layers below, topmost first
  bool overlay = false;            ///< whiteouts must be overlayfs's
  bool user_xattr = false;         ///< overlayfs reads user.overlay.* attributes

  friend bool operator==(const SnapshotPlace&, const SnapshotPlace&) = default;
};

/// Nothing if the mounts are of a kind, or have an option, of which we do not know that files may be put
/// straight into their folder.
std::optional<SnapshotPlace> snapshot_place(const std::vector<Mount>& mounts);

/// Moves everything in folder `from` into the empty folder of the snapshot, which must be on the same file
/// system, by renaming its top-level entries. Each of `implicit_directories` (paths relative to `from`,
/// parents first), which no entry of the archive named, takes owner, mode and attributes of the same folder
/// of the highest layer below that has it, as containerd does; each of `named_later`, which an entry named
/// only after it had been made, takes those attributes that it does not have. False, and nothing done, if the
/// folder is not empty or elsewhere. Blocks.
bool place_layer(const std::string& from, const SnapshotPlace& to,
                 const std::vector<std::string>& implicit_directories,
                 const std::vector<std::string>& named_later = {});

}  // namespace lazypull
