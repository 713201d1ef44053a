#pragma once

#include "engine/awaitable.hpp"

#include <boost/asio/posix/stream_descriptor.hpp>

#include <chrono>
#include <filesystem>
#include <functional>
#include <vector>

namespace lazypull {

/// Notices when files change (inotify): in folders and the folders in them, and single files, also such as
/// are replaced by renaming or do not exist yet, if the folder that they belong to does.
class FileWatch {
 public:
  /// What cannot be watched, because there is nothing or nothing may be watched any more, is left out.
  FileWatch(const asio::any_io_executor& home, std::vector<std::filesystem::path> folders,
            std::vector<std::filesystem::path> files);

  /// Calls `changed` when nothing has happened for `quiet` after something has, until it is cancelled, which
  /// throws Error{cancelled}.
  Awaitable<> run(std::function<void()> changed, std::chrono::milliseconds quiet);

 private:
  void watch_all();
  void watch(const std::filesystem::path& folder);
  /// Takes what has happened; true if something has.
  bool drain();

  std::vector<std::filesystem::path> folders_;
  std::vector<std::filesystem::path> files_;
  asio::posix::stream_descriptor inotify_;
};

}  // namespace lazypull
