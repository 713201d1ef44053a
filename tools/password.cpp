#include "tools/password.hpp"

#include "engine/error.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <poll.h>
#include <string_view>
#include <termios.h>
#include <unistd.h>

namespace lazypull {
namespace {

constexpr std::size_t longest_password = 4096;
constexpr std::array stop_signals{SIGINT, SIGTERM, SIGHUP, SIGQUIT};

extern "C" void note_signal(int) {}

void say(std::string_view text) {
  [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, text.data(), text.size());
}

/// Turns echo off, and keeps signals from ending the process with it still off: they come only while `wait`
/// waits, and make it fail.
class SilentTerminal {
 public:
  SilentTerminal() {
    sigset_t blocked;
    sigemptyset(&blocked);
    for (std::size_t i = 0; i < stop_signals.size(); ++i) {
      sigaddset(&blocked, stop_signals[i]);
      struct sigaction action{};
      action.sa_handler = note_signal;
      ::sigaction(stop_signals[i], &action, &old_actions_[i]);
    }
    ::sigprocmask(SIG_BLOCK, &blocked, &old_mask_);
    ::tcgetattr(STDIN_FILENO, &old_terminal_);
    termios silent = old_terminal_;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    silent.c_lflag |= static_cast<tcflag_t>(ICANON) | static_cast<tcflag_t>(ISIG);
    ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
  }
  SilentTerminal(const SilentTerminal&) = delete;
  SilentTerminal& operator=(const SilentTerminal&) = delete;
  ~SilentTerminal() {
    say("\n");  // the user's own was not shown
    ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &old_terminal_);
    for (std::size_t i = 0; i < stop_signals.size(); ++i) {
      ::sigaction(stop_signals[i], &old_actions_[i], nullptr);
    }
    ::sigprocmask(SIG_SETMASK, &old_mask_, nullptr);
  }

  /// Waits until there is a line to read.
  void wait() const {
    pollfd input{STDIN_FILENO, POLLIN, 0};
    if (::ppoll(&input, 1, nullptr, &old_mask_) < 0) {
      throw Error(Errc::cancelled, "--user: interrupted while asking for the password");
    }
  }

 private:
  std::array<struct sigaction, stop_signals.size()> old_actions_{};
  sigset_t old_mask_{};
  termios old_terminal_{};
};

std::string read_line(const SilentTerminal& terminal) {
  std::string line;
  for (;;) {
    terminal.wait();
    std::array<char, 256> buffer{};
    const ssize_t count = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    if (count <= 0) return line;
    const std::string_view piece(buffer.data(), static_cast<std::size_t>(count));
    line += piece.substr(0, piece.find('\n'));
    if (piece.ends_with('\n')) return line;
    if (line.size() > longest_password) {
      throw Error(Errc::invalid_argument, "--user: the password is too long");
    }
  }
}

}  // namespace

UserAndPassword complete_credentials(const std::string& text) {
  const std::size_t colon = text.find(':');
  if (colon != std::string::npos) return {text.substr(0, colon), text.substr(colon + 1)};
  if (::isatty(STDIN_FILENO) != 1) {
    throw Error(Errc::invalid_argument,
                "--user: give the password as NAME:PASSWORD, as standard input is no terminal to ask for it");
  }
  say("Password for " + text + ": ");
  const SilentTerminal terminal;
  return {text, read_line(terminal)};
}

}  // namespace lazypull
