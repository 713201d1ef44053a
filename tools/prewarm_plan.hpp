#pragma once

#include "engine/pull_report.hpp"
#include "tools/disk_space.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace lazypull {

/// What pulling many images would do, with what they share counted once.
class PrewarmPlan {
 public:
  void add(const PullReport& report);

  std::size_t blobs_to_download() const noexcept { return downloads_.size(); }
  std::uint64_t bytes_to_download() const;
  /// The same if each image were pulled into an empty store of its own.
  std::uint64_t bytes_unshared() const noexcept { return unshared_; }
  std::size_t layers_to_unpack() const noexcept { return unpacks_.size(); }
  /// A guess from the compressed sizes: a compressed layer is taken to grow threefold.
  std::uint64_t bytes_to_unpack() const;

 private:
  std::map<Digest, std::uint64_t> downloads_;
  std::map<Digest, std::uint64_t> unpacks_;  ///< by ChainID
  std::uint64_t unshared_ = 0;
};

/// Whether the plan fits on a disk.
struct SpacePreflight {
  DiskSpace disk;
  std::uint64_t needed = 0;
  std::uint64_t usable = 0;  ///< what is free, less what is to stay free

  bool fits() const noexcept { return needed <= usable; }
};

/// One for each disk; folders on the same one count once.
std::vector<SpacePreflight> space_preflight(const PrewarmPlan& plan, const std::vector<std::string>& folders,
                                            const MinFree& min_free);

}  // namespace lazypull
