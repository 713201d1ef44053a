#pragma once

#include "tools/exit_code.hpp"

#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <functional>
#include <optional>

namespace lazypull {

/// Ends the command early: at SIGINT, at SIGTERM, or when --timeout passes, its root coroutine is cancelled.
/// That coroutine has a second for its clean-up, then `give_up` is called, which must not return. A second
/// signal ends the process at once.
class StopRequest {
 public:
  /// `timeout` 0 is none. Must be destroyed before `home`.
  StopRequest(boost::asio::io_context& home, std::chrono::nanoseconds timeout,
              std::function<void(ExitCode)> give_up);
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;

  /// What the root coroutine is to be bound to.
  boost::asio::cancellation_slot slot() { return cancel_.slot(); }
  /// The root coroutine has ended: nothing is awaited any more.
  void disarm();
  /// Why the command was ended, if it was.
  const std::optional<ExitCode>& reason() const noexcept { return reason_; }

 private:
  void await_signal();
  void stop(ExitCode reason);

  boost::asio::signal_set signals_;
  boost::asio::steady_timer timeout_;
  boost::asio::steady_timer grace_;
  boost::asio::cancellation_signal cancel_;
  std::function<void(ExitCode)> give_up_;
  std::optional<ExitCode> reason_;
  bool disarmed_ = false;
};

}  // namespace lazypull
