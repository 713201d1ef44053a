#include "transport/child_process.hpp"

#include "engine/deadline.hpp"
#include "engine/error.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <system_error>

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <spawn.h>
#include <unistd.h>
#include <utility>

namespace lazypull {

namespace {

constexpr std::size_t max_input = 64U << 10U;

[[noreturn]] void fail(int error, const std::string& what) {
  Errc code = Errc::internal;
  if (error == ENOENT || error == ENOTDIR) code = Errc::not_found;
  if (error == EACCES || error == EPERM) code = Errc::permission_denied;
  throw Error(code, what + ": " + std::system_category().message(error));
}

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const noexcept { return fd_; }
  int release() noexcept { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

class SpawnSettings {
 public:
  SpawnSettings() {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawnattr_init(&attributes_);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;
  ~SpawnSettings() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }

  /// A process group of its own and no signal blocked or ignored.
  int prepare(int input, int output) {
    ::posix_spawn_file_actions_adddup2(&actions_, input, STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions_, output, STDOUT_FILENO);
    int failure = ::posix_spawn_file_actions_addopen(&actions_, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    ::posix_spawnattr_setpgroup(&attributes_, 0);
    constexpr short flags = POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
    if (failure == 0) failure = ::posix_spawnattr_setflags(&attributes_, flags);
    return failure;
  }

  const posix_spawn_file_actions_t* actions() const noexcept { return &actions_; }
  const posix_spawnattr_t* attributes() const noexcept { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

/// A process that is killed with its group unless its end has been seen.
class Child {
 public:
  Child() = default;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ <= 0) return;
    ::kill(-pid_, SIGKILL);
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
  }

  void spawn(const std::vector<std::string>& argv, int input, int output) {
    SpawnSettings settings;
    int failure = settings.prepare(input, output);
    std::vector<char*> arguments;
    arguments.reserve(argv.size() + 1);
    for (const auto& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    pid_t pid = -1;
    if (failure == 0) {
      failure = ::posix_spawnp(&pid, arguments[0], settings.actions(), settings.attributes(),
                               arguments.data(), environ);
    }
    if (failure != 0) fail(failure, argv[0]);
    pid_ = pid;
  }

  pid_t pid() const noexcept { return pid_; }

  /// After the process has ended.
  int exit_code() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }

 private:
  pid_t pid_ = -1;
};

struct Pipes {
  Fd our_input;
  Fd its_input;
  Fd our_output;
  Fd its_output;
};

// Its input is a socket, since writing to one that nobody reads raises no SIGPIPE.
Pipes open_pipes(const std::string& name) {
  int input[2];
  int output[2];
  Pipes pipes;
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, input) != 0) fail(errno, name);
  pipes.our_input = Fd(input[0]);
  pipes.its_input = Fd(input[1]);
  if (::pipe2(output, O_CLOEXEC) != 0) fail(errno, name);
  pipes.our_output = Fd(output[0]);
  pipes.its_output = Fd(output[1]);
  return pipes;
}

Awaitable<std::string> read_all(asio::posix::stream_descriptor& stream, std::size_t max_output,
                                const std::string& name) {
  std::string out;
  char buffer[16384];
  for (;;) {
    const auto [error, got] =
        co_await stream.async_read_some(asio::buffer(buffer), asio::as_tuple(asio::use_awaitable));
    if (error == asio::error::eof) co_return out;
    if (error == asio::error::operation_aborted) throw Error(Errc::cancelled, name + ": cancelled");
    if (error) throw Error(Errc::unavailable, name + ": " + error.message());
    out.append(buffer, got);
    if (out.size() > max_output) {
      throw Error(Errc::bad_response,
                  name + ": its output is longer than " + std::to_string(max_output) + " bytes");
    }
  }
}

Awaitable<ProgramOutput> run(std::vector<std::string> argv, std::string input, std::size_t max_output) {
  const auto executor = co_await asio::this_coro::executor;
  const auto& name = argv[0];
  auto pipes = open_pipes(name);
  Child child;
  child.spawn(argv, pipes.its_input.get(), pipes.its_output.get());
  pipes.its_input = Fd();
  pipes.its_output = Fd();
  // Fits into the socket's buffer, so it does not block; whether it is read is the program's business.
  [[maybe_unused]] const auto sent =
      ::send(pipes.our_input.get(), input.data(), input.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  pipes.our_input = Fd();
  // Not by the C library's function: the header of glibc 2.36 declares it as one of C++.
  const auto pidfd = static_cast<int>(::syscall(SYS_pidfd_open, child.pid(), 0));
  if (pidfd < 0) fail(errno, name);
  asio::posix::stream_descriptor ended(executor, pidfd);
  asio::posix::stream_descriptor output(executor, pipes.our_output.release());
  ProgramOutput result;
  result.out = co_await read_all(output, max_output, name);
  const auto [error] = co_await ended.async_wait(asio::posix::stream_descriptor::wait_read,
                                                 asio::as_tuple(asio::use_awaitable));
  if (error) throw Error(Errc::cancelled, name + ": cancelled");
  result.exit_code = child.exit_code();
  co_return result;
}

}  // namespace

Awaitable<ProgramOutput> run_program(std::vector<std::string> argv, std::string input, std::size_t max_output,
                                     std::chrono::milliseconds limit) {
  if (argv.empty() || input.size() > max_input) {
    throw Error(Errc::invalid_argument, "a program needs a name and an input of at most 64 KiB");
  }
  auto what = argv[0];
  auto running = run(std::move(argv), std::move(input), max_output);
  auto output = co_await with_deadline(std::move(running), limit, std::move(what));
  co_return output;
}

}  // namespace lazypull
