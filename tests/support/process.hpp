#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

/// Helpers of the tests. They share no code with what they test, so that they can be its oracle; failures of
/// the helpers themselves are std::runtime_error.
namespace lazypull::test {

using Argv = std::vector<std::string>;

struct ProcessOptions {
  std::map<std::string, std::string> env = {};  ///< in addition to this process's own; an empty value unsets
  std::filesystem::path cwd = {};               ///< empty is this process's own
  std::string input = {};                       ///< standard input
  /// For `run`: after this the process is killed and std::runtime_error thrown.
  std::chrono::milliseconds timeout = std::chrono::seconds(60);
};

struct ProcessResult {
  int exit_code = 0;  ///< 128 + n if it died of signal n
  std::string out;
  std::string err;
};

/// A child process with a process group of its own; output is kept in memory. The kernel kills it when the
/// thread that started it dies, so start processes on the test's main thread.
class Process {
 public:
  /// Throws if the program cannot be started; a program without a slash is looked up in PATH.
  explicit Process(Argv argv, const ProcessOptions& options = {});
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;
  /// SIGTERM, two seconds of grace, SIGKILL, for the whole group.
  ~Process();

  pid_t pid() const noexcept { return pid_; }
  bool running();
  /// The exit code, or nothing if it still runs after `limit`.
  std::optional<int> wait(std::chrono::milliseconds limit);
  /// To the process alone; no error if it has ended.
  void signal(int number);
  /// SIGTERM, then SIGKILL once `grace` is over, for the whole group. Returns the exit code.
  int stop(std::chrono::milliseconds grace = std::chrono::seconds(2));
  int kill() { return stop(std::chrono::milliseconds(0)); }

  /// What it has written until now, from `offset` on.
  std::string out(std::size_t offset = 0) const;
  std::string err(std::size_t offset = 0) const;

 private:
  void swap(Process& other) noexcept;

  std::string name_;
  pid_t pid_ = -1;
  int pidfd_ = -1;
  int out_ = -1;
  int err_ = -1;
  std::optional<int> exit_code_;
  bool stopped_ = false;
};

/// Runs to the end, whatever the exit code.
ProcessResult run(Argv argv, const ProcessOptions& options = {});

/// Runs to the end and returns standard output; throws with command and output if the exit code is not 0.
std::string run_ok(Argv argv, const ProcessOptions& options = {});

/// Polls until `ready` returns true; throws "timed out waiting for `what`".
template <class Ready>
void wait_until(Ready ready, const std::string& what,
                std::chrono::milliseconds limit = std::chrono::seconds(20));

namespace detail {
/// Sleeps a little; throws once `start` is longer than `limit` ago.
void pause_or_throw(std::chrono::steady_clock::time_point start, std::chrono::milliseconds limit,
                    const std::string& what);
}  // namespace detail

template <class Ready>
void wait_until(Ready ready, const std::string& what, std::chrono::milliseconds limit) {
  const auto start = std::chrono::steady_clock::now();
  while (!ready()) detail::pause_or_throw(start, limit, what);
}

}  // namespace lazypull::test
