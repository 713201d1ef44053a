#include "tools/agent/file_watch.hpp"

#include "engine/deadline.hpp"
#include "engine/error.hpp"
#include "snapshot/embedded/files.hpp"

#include <sys/inotify.h>
#include <system_error>

#include <array>
#include <cerrno>
#include <exception>
#include <unistd.h>
#include <utility>

namespace lazypull {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t events = IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |
                                 IN_DELETE_SELF | IN_MOVE_SELF | IN_ATTRIB | IN_ONLYDIR;

int make_inotify() {
  const int descriptor = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (descriptor < 0) throw_errno("inotify");
  return descriptor;
}

Awaitable<> readable(asio::posix::stream_descriptor& descriptor) {
  co_await descriptor.async_wait(asio::posix::stream_descriptor::wait_read, asio::use_awaitable);
}

}  // namespace

FileWatch::FileWatch(const asio::any_io_executor& home, std::vector<fs::path> folders,
                     std::vector<fs::path> files)
    : folders_(std::move(folders)), files_(std::move(files)), inotify_(home, make_inotify()) {
  watch_all();
}

void FileWatch::watch(const fs::path& folder) {
  ::inotify_add_watch(inotify_.native_handle(), folder.c_str(), events);
}

void FileWatch::watch_all() {
  for (const auto& folder : folders_) {
    watch(folder.parent_path());  // for a folder that is made, or replaced
    watch(folder);
    std::error_code failure;
    for (fs::directory_iterator entry(folder, failure), end; !failure && entry != end;
         entry.increment(failure)) {
      std::error_code unknown;
      if (entry->is_directory(unknown)) watch(entry->path());
    }
  }
  for (const auto& file : files_) watch(file.parent_path());
}

bool FileWatch::drain() {
  alignas(inotify_event) std::array<char, 8192> buffer;
  bool any = false;
  while (::read(inotify_.native_handle(), buffer.data(), buffer.size()) > 0) any = true;
  return any;
}

Awaitable<> FileWatch::run(std::function<void()> changed, std::chrono::milliseconds quiet) {
  for (;;) {
    std::exception_ptr failure;
    try {
      co_await readable(inotify_);
    } catch (...) {
      failure = std::current_exception();
    }
    if (failure) throw as_error(failure);
    bool more = drain();
    while (more) {
      more = false;
      try {
        co_await with_deadline(readable(inotify_), quiet, "inotify");
        more = drain();
      } catch (...) {
        failure = std::current_exception();
      }
      if (failure && as_error(failure).code() != Errc::timed_out) throw as_error(failure);
      failure = nullptr;
    }
    // Folders may have come.
    watch_all();
    changed();
  }
}

}  // namespace lazypull
