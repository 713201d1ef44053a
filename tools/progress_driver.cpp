#include "tools/progress_driver.hpp"

#include <boost/asio/steady_timer.hpp>
#include <sys/ioctl.h>

#include <csignal>
#include <cstdlib>
#include <string>
#include <string_view>
#include <unistd.h>
#include <utility>

namespace lazypull {
namespace {

constexpr std::chrono::milliseconds tick{100};
constexpr std::string_view hide_cursor = "\x1b[?25l";
constexpr std::string_view show_cursor = "\x1b[?25h";
constexpr std::string_view clear_to_line_end = "\x1b[K";
constexpr std::string_view clear_to_screen_end = "\x1b[J";

volatile std::sig_atomic_t cursor_is_hidden = 0;

/// Best effort: a view that cannot be written is no reason to fail.
void write_all(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

Screen screen_size() {
  winsize size{};
  Screen screen;
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0) return screen;
  if (size.ws_col > 0) screen.columns = size.ws_col;
  if (size.ws_row > 0) screen.rows = size.ws_row;
  return screen;
}

ProgressViews views_of(const PullReport& report) {
  ProgressViews views;
  const auto rates = std::make_shared<Rates>();
  const auto plain = std::make_shared<PlainProgress>();
  views.frame = [&report, rates](Screen screen, std::chrono::nanoseconds elapsed) {
    rates->sample(report, Rates::Clock::now());
    return render_progress(report, *rates, screen, elapsed);
  };
  views.lines = [&report, plain] { return plain->update(report); };
  return views;
}

}  // namespace

// Shared with the timer's handler, which may still be queued when the driver goes.
struct ProgressDriver::State : std::enable_shared_from_this<State> {
  State(const boost::asio::any_io_executor& executor, ProgressViews shown, ProgressMode wanted)
      : timer(executor), views(std::move(shown)), mode(wanted) {}

  void schedule() {
    timer.expires_after(tick);
    timer.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (error || self->stopped) return;
      self->show();
      self->schedule();
    });
  }

  void show() {
    if (mode == ProgressMode::tty) {
      draw();
    } else {
      print();
    }
  }

  void draw() {
    const auto now = Rates::Clock::now();
    std::string out;
    if (lines_drawn == 0) {
      cursor_is_hidden = 1;
      out += hide_cursor;
    } else {
      out += "\x1b[" + std::to_string(lines_drawn) + "A\r";
    }
    const auto lines = views.frame(screen_size(), now - start);
    for (const auto& line : lines) {
      out += line;
      out += clear_to_line_end;
      out += '\n';
    }
    out += clear_to_screen_end;
    lines_drawn = lines.size();
    write_all(out);
  }

  void print() {
    std::string out;
    for (const auto& line : views.lines()) out += line + "\n";
    write_all(out);
  }

  void stop() {
    if (stopped) return;
    stopped = true;
    timer.cancel();
    if (mode == ProgressMode::plain || lines_drawn > 0) show();
    restore_cursor();
  }

  boost::asio::steady_timer timer;
  ProgressViews views;
  ProgressMode mode;
  bool stopped = false;
  Rates::Clock::time_point start = Rates::Clock::now();
  std::size_t lines_drawn = 0;
};

ProgressDriver::ProgressDriver(const boost::asio::any_io_executor& executor, const PullReport& report,
                               ProgressMode mode)
    : ProgressDriver(executor, views_of(report), mode) {}

ProgressDriver::ProgressDriver(const boost::asio::any_io_executor& executor, ProgressViews views,
                               ProgressMode mode) {
  if (mode == ProgressMode::none) return;
  state_ = std::make_shared<State>(executor, std::move(views), mode);
  state_->schedule();
}

ProgressDriver::~ProgressDriver() {
  stop();
}

void ProgressDriver::stop() {
  if (state_) state_->stop();
}

ProgressMode resolve_progress_mode(ProgressMode mode, OutputFormat output) {
  if (mode != ProgressMode::automatic) return mode;
  const char* terminal = std::getenv("TERM");
  const bool is_dumb = terminal == nullptr || std::string_view(terminal) == "dumb";
  if (::isatty(STDERR_FILENO) == 1 && !is_dumb) return ProgressMode::tty;
  return output == OutputFormat::json ? ProgressMode::none : ProgressMode::plain;
}

void restore_cursor() noexcept {
  if (cursor_is_hidden == 0) return;
  cursor_is_hidden = 0;
  write_all(show_cursor);
}

}  // namespace lazypull
