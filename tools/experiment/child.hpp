#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace lazypull::experiment {

/// Throws Error{cancelled} once SIGINT or SIGTERM has come, after `watch_for_stop`.
void check_stop();
/// From now on these signals are noted instead of ending the process, so that what runs can be cleaned up; a
/// second one ends it.
void watch_for_stop();

/// What a process has used.
struct Usage {
  double cpu_seconds = 0;         ///< its own and that of its children that have ended
  std::uint64_t peak_memory = 0;  ///< resident bytes of itself; 0 if it was never seen
};

/// Of a process that runs; null once it has ended.
std::optional<Usage> usage_of(pid_t pid);

struct ChildEnd {
  int exit_code = 0;  ///< 128 + n if it died of signal n
  Usage usage;
};

/// A program that was started, in a process group of its own; it is killed when this process dies.
class Child {
 public:
  /// Standard output and error go to files, which are emptied. A program without a slash is looked up in
  /// PATH. Throws Error{not_found} or {unavailable} that names it.
  Child(std::vector<std::string> argv, const std::filesystem::path& output, std::filesystem::path errors);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  /// SIGTERM, two seconds of grace, SIGKILL.
  ~Child();

  pid_t pid() const noexcept { return pid_; }
  bool running() { return !wait(std::chrono::milliseconds(0)); }
  /// How it ended, or nothing if it still runs after `limit`. Throws Error{cancelled} as check_stop does.
  std::optional<ChildEnd> wait(std::chrono::milliseconds limit);
  void stop();

  const std::string& name() const noexcept { return argv_.front(); }
  /// The end of what it wrote to standard error, for messages.
  std::string last_errors() const;

 private:
  void note_memory();

  std::vector<std::string> argv_;
  std::filesystem::path errors_;
  pid_t pid_ = -1;
  int pidfd_ = -1;
  std::uint64_t peak_memory_ = 0;
  std::optional<ChildEnd> end_;
};

/// Runs to the end and returns it. Throws Error{unavailable} with what it wrote if it does not end with 0,
/// and Error{timed_out}.
ChildEnd run_to_end(std::vector<std::string> argv, const std::filesystem::path& output,
                    const std::filesystem::path& errors, std::chrono::milliseconds limit);

/// Waits until `ready`; throws Error with the child's last words if it ends before, or {timed_out}.
void wait_until_ready(Child& child, const std::function<bool()>& ready, std::chrono::milliseconds limit);

/// Whether somebody takes connections at this Unix socket.
bool takes_connections(const std::filesystem::path& socket);

}  // namespace lazypull::experiment
