#pragma once

#include "snapshot/unpack/unique_fd.hpp"

#include <filesystem>

namespace lazypull {

/// A folder of this process's own in a folder that several processes, perhaps of several hosts, use for the
/// same; removed at the end with all that is in it. A lock file beside it says that its process lives, so
/// what killed ones have left is removed by the next. Blocking.
class WorkFolder {
 public:
  /// Makes `base` if there is none.
  explicit WorkFolder(const std::filesystem::path& base);
  ~WorkFolder();
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;

  const std::filesystem::path& path() const noexcept { return path_; }
  /// A child process that inherits it keeps the folder.
  const UniqueFd& lock() const noexcept { return lock_; }

 private:
  std::filesystem::path path_;
  std::filesystem::path lock_name_;
  UniqueFd lock_;
};

}  // namespace lazypull
