#pragma once

#include <string_view>

namespace lazypull {

/// What is to be asked of the snapshotter next about one layer, or how it ended.
enum class WalkAction {
  stat_chain,  ///< Stat the ChainID
  prepare,     ///< Prepare a new key on the parent's ChainID
  stat_key,    ///< Stat the prepared key
  fill,        ///< get the layer's content and extract it into the prepared mounts
  commit,      ///< Commit the key as the ChainID
  remove_key,  ///< Remove the key that will not be committed
  skip,        ///< end: the layer is there, nothing to download
  filled,      ///< end: the layer was extracted and committed
  necessary,   ///< end: this layer, and so all above it, must be downloaded (2019 protocol only)
  fail,        ///< end: the last failure stands
};

/// What came of the action.
enum class WalkAnswer {
  begin,           ///< nothing was asked yet
  found_remote,    ///< Stat found it, with the label `containerd.io/snapshot/remote_snapshot`
  found_plain,     ///< Stat found it, without that label
  not_found,       ///< Stat did not find it
  prepared,        ///< Prepare gave mounts to fill
  staged,          ///< Prepare gave mounts whose last one is read-only: the content is there already
  already_exists,  ///< Prepare or Commit said so, or fill found it out
  done,            ///< fill, commit or remove_key succeeded
  failed,          ///< the action failed
};

/// skip, filled, necessary and fail.
bool is_end(WalkAction action) noexcept;

std::string_view to_string(WalkAction action) noexcept;
std::string_view to_string(WalkAnswer answer) noexcept;

/// The protocol of containerd since 1.4 for one layer (core/unpack): Prepare with the label
/// `containerd.io/snapshot.ref`, to which a remote snapshotter answers AlreadyExists. Pure: no I/O, no clock.
class LayerWalk {
 public:
  WalkAction next(WalkAnswer answer);

  static constexpr int max_tries = 3;

 private:
  WalkAction after_prepare(WalkAnswer answer);
  WalkAction after_stat(WalkAnswer answer);
  WalkAction after_commit(WalkAnswer answer);

  WalkAction asked_ = WalkAction::fail;
  WalkAction after_remove_ = WalkAction::fail;
  bool filled_ = false;
  int tries_ = 0;
};

/// The protocol of the 2019 change "Support remote snapshotter to speed up image pulling" for one layer: the
/// snapshotter marks the prepared key with `containerd.io/snapshot/remote_snapshot` if it can provide the
/// layer. Whatever goes wrong on the way only makes the layer necessary. Pure: no I/O, no clock.
class LayerWalk2019 {
 public:
  WalkAction next(WalkAnswer answer);

 private:
  WalkAction asked_ = WalkAction::fail;
  WalkAction after_remove_ = WalkAction::necessary;
};

}  // namespace lazypull
