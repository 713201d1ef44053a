#include "tools/experiment/child.hpp"

#include "engine/error.hpp"
#include "tools/text.hpp"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <system_error>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <fcntl.h>
#include <fstream>
#include <poll.h>
#include <sstream>
#include <unistd.h>

namespace lazypull::experiment {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds look_every{10};

volatile std::sig_atomic_t stop_signals = 0;
timespec first_stop{};

/// A signal that is sent twice at once, to the process and to its group, is one request; one that comes later
/// does not wait for the cleaning up.
void note_stop(int number) {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  if (stop_signals == 0) {
    first_stop = now;
    stop_signals = 1;
    return;
  }
  if (now.tv_sec - first_stop.tv_sec >= 2) ::_exit(128 + number);
}

/// What the child does between fork and exec: only what is safe there.
[[noreturn]] void become(char* const* argv, int output, int errors) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int nothing = ::open("/dev/null", O_RDONLY);
  ::dup2(nothing, 0);
  ::dup2(output, 1);
  ::dup2(errors, 2);
  for (const int number : {SIGINT, SIGTERM, SIGPIPE, SIGXFSZ}) std::signal(number, SIG_DFL);
  ::execvp(argv[0], argv);
  ::_exit(127);
}

int open_output(const fs::path& file) {
  const int descriptor = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
  if (descriptor < 0) {
    throw Error(Errc::unavailable, file.string() + ": " + std::generic_category().message(errno));
  }
  return descriptor;
}

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

std::uint64_t peak_memory_of(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("VmHWM:")) continue;
    std::istringstream words(line.substr(6));
    std::uint64_t kibibytes = 0;
    words >> kibibytes;
    return kibibytes * 1024;
  }
  return 0;
}

bool is_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return ::access(name.c_str(), X_OK) == 0;
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "/usr/bin:/bin" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    const auto program = fs::path(folder) / name;
    if (::access(program.c_str(), X_OK) == 0) return true;
  }
  return false;
}

}  // namespace

void check_stop() {
  if (stop_signals != 0) throw Error(Errc::cancelled, "interrupted");
}

void watch_for_stop() {
  struct sigaction action = {};
  action.sa_handler = note_stop;
  ::sigaddset(&action.sa_mask, SIGINT);
  ::sigaddset(&action.sa_mask, SIGTERM);
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

std::optional<Usage> usage_of(pid_t pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  if (!std::getline(stat, line)) return std::nullopt;
  // The name, in parentheses, may have anything in it.
  std::istringstream fields(line.substr(std::min(line.size(), line.rfind(')') + 1)));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double ticks = 0;
  for (int i = 0; i < 4; ++i) {
    double field = 0;
    fields >> field;
    ticks += field;
  }
  if (!fields) return std::nullopt;
  return Usage{ticks / static_cast<double>(::sysconf(_SC_CLK_TCK)), peak_memory_of(pid)};
}

Child::Child(std::vector<std::string> argv, const fs::path& output, fs::path errors)
    : argv_(std::move(argv)), errors_(std::move(errors)) {
  if (!is_program(argv_.front())) {
    throw Error(Errc::not_found, argv_.front() + ": there is no such program");
  }
  std::vector<char*> words;
  words.reserve(argv_.size() + 1);
  for (auto& word : argv_) words.push_back(word.data());
  words.push_back(nullptr);
  const int out = open_output(output);
  const int err = output == errors_ ? ::fcntl(out, F_DUPFD_CLOEXEC, 0) : open_output(errors_);
  pid_ = ::fork();
  if (pid_ == 0) become(words.data(), out, err);
  const int reason = errno;
  ::close(out);
  ::close(err);
  if (pid_ < 0) {
    throw Error(Errc::unavailable, argv_.front() + ": " + std::generic_category().message(reason));
  }
  pidfd_ = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
}

Child::~Child() {
  stop();
  if (pidfd_ >= 0) ::close(pidfd_);
}

void Child::note_memory() {
  peak_memory_ = std::max(peak_memory_, peak_memory_of(pid_));
}

std::optional<ChildEnd> Child::wait(milliseconds limit) {
  const auto until = Clock::now() + limit;
  while (!end_) {
    check_stop();
    note_memory();
    const auto left = std::chrono::duration_cast<milliseconds>(until - Clock::now());
    const auto turn = std::clamp(left, milliseconds(0), look_every);
    pollfd ended{pidfd_, POLLIN, 0};
    ::poll(&ended, 1, static_cast<int>(turn.count()));
    int status = 0;
    rusage used = {};
    if (::wait4(pid_, &status, WNOHANG, &used) == pid_) {
      end_ = ChildEnd{WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status),
                      {seconds(used.ru_utime) + seconds(used.ru_stime), peak_memory_}};
    } else if (left <= milliseconds(0)) {
      return std::nullopt;
    }
  }
  return end_;
}

void Child::stop() {
  if (pid_ < 0 || end_) return;
  const auto gone = [&](int number, milliseconds grace) {
    ::kill(-pid_, number);
    ::kill(pid_, number);
    const auto until = Clock::now() + grace;
    do {
      int status = 0;
      if (::waitpid(pid_, &status, WNOHANG) == pid_) return true;
      pollfd ended{pidfd_, POLLIN, 0};
      ::poll(&ended, 1, static_cast<int>(look_every.count()));
    } while (Clock::now() < until);
    return false;
  };
  if (!gone(SIGTERM, milliseconds(2000))) gone(SIGKILL, milliseconds(10'000));
  end_ = ChildEnd{};
}

std::string Child::last_errors() const {
  std::ifstream file(errors_, std::ios::binary | std::ios::ate);
  const auto size = static_cast<std::streamoff>(file.tellg());
  if (!file || size < 0) return "";
  constexpr std::streamoff most = 600;
  file.seekg(std::max<std::streamoff>(0, size - most));
  std::string text(static_cast<std::size_t>(std::min(size, most)), '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text = printable(text);
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

ChildEnd run_to_end(std::vector<std::string> argv, const fs::path& output, const fs::path& errors,
                    milliseconds limit) {
  Child child(std::move(argv), output, errors);
  const auto end = child.wait(limit);
  if (!end) throw Error(Errc::timed_out, child.name() + ": timed out");
  if (end->exit_code != 0) {
    throw Error(Errc::unavailable,
                child.name() + " ended with " + std::to_string(end->exit_code) + ": " + child.last_errors());
  }
  return *end;
}

void wait_until_ready(Child& child, const std::function<bool()>& ready, milliseconds limit) {
  const auto until = Clock::now() + limit;
  while (!ready()) {
    if (child.wait(milliseconds(2))) {
      throw Error(Errc::unavailable, child.name() + " did not start: " + child.last_errors());
    }
    if (Clock::now() > until) {
      throw Error(Errc::timed_out, child.name() + " did not start in time: " + child.last_errors());
    }
  }
}

bool takes_connections(const fs::path& socket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const auto& path = socket.native();
  if (path.size() >= sizeof address.sun_path) {
    throw Error(Errc::invalid_argument, path + ": too long for a socket");
  }
  std::ranges::copy(path, address.sun_path);
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool taken = ::connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::close(probe);
  return taken;
}

}  // namespace lazypull::experiment
