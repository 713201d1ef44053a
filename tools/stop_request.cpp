#include "tools/stop_request.hpp"

#include "tools/progress_driver.hpp"

#include <csignal>
#include <unistd.h>

namespace lazypull {
namespace {

constexpr std::chrono::milliseconds grace{950};

extern "C" void end_at_once(int signal) {
  restore_cursor();
  ::_exit(128 + signal);
}

/// A second signal must work even while the home thread is busy, so it does not pass through the io_context.
void end_at_once_on(int signal) {
  struct sigaction action{};
  action.sa_handler = end_at_once;
  ::sigaction(signal, &action, nullptr);
}

}  // namespace

StopRequest::StopRequest(boost::asio::io_context& home, std::chrono::nanoseconds timeout,
                         std::function<void(ExitCode)> give_up)
    : signals_(home, SIGINT, SIGTERM), timeout_(home), grace_(home), give_up_(std::move(give_up)) {
  await_signal();
  if (timeout.count() <= 0) return;
  timeout_.expires_after(timeout);
  timeout_.async_wait([this](const boost::system::error_code& error) {
    if (!error) stop(ExitCode::timed_out);
  });
}

void StopRequest::await_signal() {
  signals_.async_wait([this](const boost::system::error_code& error, int signal) {
    if (error) return;
    signals_.clear();
    end_at_once_on(SIGINT);
    end_at_once_on(SIGTERM);
    stop(signal == SIGINT ? ExitCode::interrupted : ExitCode::terminated);
  });
}

void StopRequest::stop(ExitCode reason) {
  if (reason_ || disarmed_) return;
  reason_ = reason;
  timeout_.cancel();
  grace_.expires_after(grace);
  grace_.async_wait([this](const boost::system::error_code& error) {
    if (!error && !disarmed_) give_up_(*reason_);
  });
  cancel_.emit(boost::asio::cancellation_type::terminal);
}

void StopRequest::disarm() {
  // A handler that is queued already cannot be cancelled any more.
  disarmed_ = true;
  signals_.cancel();
  timeout_.cancel();
  grace_.cancel();
}

}  // namespace lazypull
