#include "snapshot/remote/run_program.hpp"

#include "engine/error.hpp"
#include "snapshot/embedded/files.hpp"
#include "snapshot/unpack/unique_fd.hpp"

#include <boost/asio/posix/stream_descriptor.hpp>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <exception>
#include <fcntl.h>
#include <span>
#include <spawn.h>
#include <string_view>
#include <unistd.h>
#include <utility>

namespace lazypull {
namespace {

constexpr std::size_t longest_output = 2000;

std::vector<std::string> merged_environment(const std::map<std::string, std::string>& changes) {
  std::vector<std::string> merged;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    if (!changes.contains(std::string(text.substr(0, text.find('='))))) merged.emplace_back(text);
  }
  for (const auto& [name, value] : changes) merged.push_back(std::string(name).append("=").append(value));
  return merged;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  all.reserve(texts.size() + 1);
  for (auto& text : texts) all.push_back(text.data());
  all.push_back(nullptr);
  return all;
}

class SpawnSettings {
 public:
  SpawnSettings(int output, int inherit) {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions_, output, STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions_, output, STDERR_FILENO);
    // To itself: it then stays open.
    if (inherit >= 0) ::posix_spawn_file_actions_adddup2(&actions_, inherit, inherit);
    ::posix_spawnattr_init(&attributes_);
    ::sigset_t none;
    ::sigemptyset(&none);
    ::sigset_t usual;
    ::sigemptyset(&usual);
    ::sigaddset(&usual, SIGPIPE);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &usual);
    // Ctrl-C is for us to hear, and for us to pass on.
    ::posix_spawnattr_setpgroup(&attributes_, 0);
    ::posix_spawnattr_setflags(&attributes_,
                               POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;
  ~SpawnSettings() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }

  const ::posix_spawn_file_actions_t* actions() const noexcept { return &actions_; }
  const ::posix_spawnattr_t* attributes() const noexcept { return &attributes_; }

 private:
  ::posix_spawn_file_actions_t actions_{};
  ::posix_spawnattr_t attributes_{};
};

/// Killed, and waited for, unless it has been.
class Child {
 public:
  Child(std::vector<std::string>& arguments, std::vector<std::string>& environment, int output, int inherit) {
    const SpawnSettings settings(output, inherit);
    const auto argv = pointers(arguments);
    const auto env = pointers(environment);
    const int failure = ::posix_spawnp(&pid_, argv.front(), settings.actions(), settings.attributes(),
                                       argv.data(), env.data());
    if (failure == ENOENT) throw Error(Errc::not_found, arguments.front() + " is not installed");
    if (failure != 0) {
      errno = failure;
      throw_errno("start " + arguments.front());
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ <= 0) return;
    ::kill(-pid_, SIGKILL);
    wait();
  }

  int open() const {
    // glibc's own declaration came late.
    const auto descriptor = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
    if (descriptor < 0) throw_errno("watch a process");
    return descriptor;
  }

  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  ::pid_t pid_ = -1;
};

std::string end_of(const UniqueFd& output) {
  struct ::stat status{};
  if (::fstat(output.get(), &status) != 0) throw_errno("stat the output");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  std::string text(static_cast<std::size_t>(std::min<std::uint64_t>(size, longest_output)), '\0');
  text.resize(read_at(output, std::as_writable_bytes(std::span(text)), size - text.size(), "the output"));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace

Awaitable<ProgramRun> run_program(std::vector<std::string> arguments,
                                  std::map<std::string, std::string> environment, int inherit) {
  const auto executor = co_await asio::this_coro::executor;
  const UniqueFd output(::memfd_create("output", MFD_CLOEXEC));
  if (!output) throw_errno("memfd_create");
  auto variables = merged_environment(environment);
  Child child(arguments, variables, output.get(), inherit);
  asio::posix::stream_descriptor ended(executor, child.open());
  co_await ended.async_wait(asio::posix::descriptor_base::wait_read, asio::use_awaitable);
  ProgramRun run;
  run.exit_code = child.wait();
  run.output = end_of(output);
  co_return run;
}

}  // namespace lazypull
