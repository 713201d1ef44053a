#include "tests/support/process.hpp"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <system_error>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdexcept>
#include <thread>
#include <unistd.h>
#include <utility>

namespace lazypull::test {

namespace {

[[noreturn]] void throw_errno(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { reset(); }
  int get() const noexcept { return number_; }
  int release() noexcept { return std::exchange(number_, -1); }
  void reset() noexcept {
    if (number_ >= 0) ::close(number_);
    number_ = -1;
  }

 private:
  int number_;
};

int memory_file(const char* name) {
  const int file = ::memfd_create(name, MFD_CLOEXEC);
  if (file < 0) throw_errno("memfd_create");
  return file;
}

void write_all(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto written = ::write(file, bytes.data(), bytes.size());
    if (written < 0) throw_errno("write");
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

std::string read_from(int file, std::size_t offset) {
  struct stat status{};
  if (::fstat(file, &status) != 0) throw_errno("fstat");
  const auto size = static_cast<std::size_t>(status.st_size);
  std::string text(size > offset ? size - offset : 0, '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    const auto got = ::pread(file, text.data() + done, text.size() - done, static_cast<off_t>(offset + done));
    if (got <= 0) break;
    done += static_cast<std::size_t>(got);
  }
  text.resize(done);
  return text;
}

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* path = std::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "/usr/bin:/bin";
  while (!rest.empty()) {
    const auto colon = rest.find(':');
    std::string candidate(rest.substr(0, colon));
    candidate.append("/").append(name);
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    rest = colon == std::string_view::npos ? std::string_view{} : rest.substr(colon + 1);
  }
  // Daemons such as runc live here, which not every user's PATH has.
  const std::string fallback = "/usr/sbin/" + name;
  if (::access(fallback.c_str(), X_OK) == 0) return fallback;
  throw std::runtime_error(name + ": program not found (tools/deps.sh test installs it)");
}

std::vector<std::string> environment(const std::map<std::string, std::string>& changes) {
  std::vector<std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::string name(text.substr(0, text.find('=')));
    if (!changes.contains(name)) result.emplace_back(text);
  }
  for (const auto& [name, value] : changes) {
    if (!value.empty()) result.push_back(std::string(name).append("=").append(value));
  }
  return result;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  result.reserve(strings.size() + 1);
  for (auto& text : strings) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

struct Start {
  const char* program;
  char* const* argv;
  char* const* env;
  const char* cwd;
  int in;
  int out;
  int err;
  int failure;  // the write end on which errno is reported
  pid_t parent;
};

// Between fork and exec: only what is safe although other threads of the parent held locks.
[[noreturn]] void become(const Start& start) {
  const auto fail = [&start] {
    const int number = errno;
    [[maybe_unused]] const auto ignored = ::write(start.failure, &number, sizeof number);
    ::_exit(127);
  };
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != start.parent) ::_exit(127);  // died before the line above
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  if (::dup2(start.in, 0) < 0 || ::dup2(start.out, 1) < 0 || ::dup2(start.err, 2) < 0) fail();
  if (*start.cwd != '\0' && ::chdir(start.cwd) != 0) fail();
  // The failure pipe closes itself on exec; everything else that the parent may have open must not leak.
  ::dup2(start.failure, 3);
  ::fcntl(3, F_SETFD, FD_CLOEXEC);
  ::close_range(4, ~0U, 0);
  ::execve(start.program, start.argv, start.env);
  const int number = errno;
  [[maybe_unused]] const auto ignored = ::write(3, &number, sizeof number);
  ::_exit(127);
}

std::string join(const Argv& argv) {
  std::string text;
  for (const auto& word : argv) text.append(text.empty() ? "" : " ").append(word);
  return text;
}

int exit_code_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

Process::Process(Argv argv, const ProcessOptions& options) : name_(argv.at(0)) {
  const std::string program = find_program(name_);
  auto env = environment(options.env);
  const auto argv_pointers = pointers(argv);
  const auto env_pointers = pointers(env);
  const std::string cwd = options.cwd.string();
  Descriptor in(memory_file("stdin"));
  write_all(in.get(), options.input);
  ::lseek(in.get(), 0, SEEK_SET);
  Descriptor out(memory_file("stdout"));
  Descriptor err(memory_file("stderr"));
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw_errno("pipe2");
  Descriptor failure_in(ends[0]);
  Descriptor failure_out(ends[1]);
  const Start start{.program = program.c_str(),
                    .argv = argv_pointers.data(),
                    .env = env_pointers.data(),
                    .cwd = cwd.c_str(),
                    .in = in.get(),
                    .out = out.get(),
                    .err = err.get(),
                    .failure = failure_out.get(),
                    .parent = ::getpid()};
  pid_ = ::fork();
  if (pid_ < 0) throw_errno("fork");
  if (pid_ == 0) become(start);
  failure_out.reset();
  int number = 0;
  if (::read(failure_in.get(), &number, sizeof number) == sizeof number) {
    ::waitpid(pid_, nullptr, 0);
    throw std::system_error(number, std::generic_category(), "start " + program);
  }
  pidfd_ = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));  // glibc 2.36 declares it without extern "C"
  if (pidfd_ < 0) throw_errno("pidfd_open");
  out_ = out.release();
  err_ = err.release();
}

Process::Process(Process&& other) noexcept {
  swap(other);
}

Process& Process::operator=(Process&& other) noexcept {
  Process taken(std::move(other));
  swap(taken);
  return *this;
}

void Process::swap(Process& other) noexcept {
  std::swap(name_, other.name_);
  std::swap(pid_, other.pid_);
  std::swap(pidfd_, other.pidfd_);
  std::swap(out_, other.out_);
  std::swap(err_, other.err_);
  std::swap(exit_code_, other.exit_code_);
  std::swap(stopped_, other.stopped_);
}

Process::~Process() {
  if (pid_ > 0) {
    try {
      stop();
    } catch (const std::exception& failure) {
      std::fprintf(stderr, "%s\n", failure.what());
    }
  }
  for (const int file : {pidfd_, out_, err_}) {
    if (file >= 0) ::close(file);
  }
}

bool Process::running() {
  return !wait(std::chrono::milliseconds(0));
}

std::optional<int> Process::wait(std::chrono::milliseconds limit) {
  if (exit_code_) return exit_code_;
  const auto end = std::chrono::steady_clock::now() + limit;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    pollfd ended{.fd = pidfd_, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&ended, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (ready > 0) break;
    if (ready == 0) return std::nullopt;
    if (errno != EINTR) throw_errno("poll");
  }
  int status = 0;
  if (::waitpid(pid_, &status, 0) != pid_) throw_errno("waitpid " + name_);
  exit_code_ = exit_code_of(status);
  return exit_code_;
}

void Process::signal(int number) {
  if (running()) ::kill(pid_, number);
}

int Process::stop(std::chrono::milliseconds grace) {
  if (!stopped_) {
    if (grace.count() > 0 && running()) {
      ::kill(-pid_, SIGTERM);
      wait(grace);
    }
    ::kill(-pid_, SIGKILL);  // also what the leader, if it has ended, left behind
    stopped_ = true;         // from now on the group's number may be somebody else's
    if (!wait(std::chrono::seconds(10))) throw std::runtime_error(name_ + " does not die of SIGKILL");
  }
  return exit_code_.value();
}

std::string Process::out(std::size_t offset) const {
  return read_from(out_, offset);
}
std::string Process::err(std::size_t offset) const {
  return read_from(err_, offset);
}

ProcessResult run(Argv argv, const ProcessOptions& options) {
  const std::string command = join(argv);
  const auto limit = options.timeout;
  Process process(std::move(argv), options);
  const auto exit_code = process.wait(limit);
  if (!exit_code) {
    process.kill();
    throw std::runtime_error(command + ": still running after " + std::to_string(limit.count()) + " ms\n" +
                             process.out() + process.err());
  }
  return {.exit_code = *exit_code, .out = process.out(), .err = process.err()};
}

std::string run_ok(Argv argv, const ProcessOptions& options) {
  const std::string command = join(argv);
  auto result = run(std::move(argv), options);
  if (result.exit_code != 0) {
    throw std::runtime_error(command + ": exit code " + std::to_string(result.exit_code) + "\n" + result.out +
                             result.err);
  }
  return std::move(result.out);
}

void detail::pause_or_throw(std::chrono::steady_clock::time_point start, std::chrono::milliseconds limit,
                            const std::string& what) {
  if (std::chrono::steady_clock::now() - start > limit) {
    throw std::runtime_error("timed out waiting for " + what);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
}

}  // namespace lazypull::test
