#pragma once

namespace lazypull {

/// Who extracts layers for containerd.
enum class UnpackMode {
  automatic,     ///< we do where the snapshots' folders are ours to write, else containerd
  direct,        ///< we do, or it is an error
  diff_service,  ///< containerd's Diff service
};

}  // namespace lazypull
