#pragma once

#include "engine/awaitable.hpp"
#include "engine/error.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <exception>
#include <memory>
#include <string>
#include <utility>

namespace lazypull {

namespace detail {

// Lives as long as the operation, the timer's handler or the forwarding slot needs it, whichever is last.
struct DeadlineState {
  explicit DeadlineState(const asio::any_io_executor& executor) : timer(executor) {}
  asio::steady_timer timer;
  asio::cancellation_signal signal;
  bool running = true;
  bool expired = false;
};

inline void start_deadline(const std::shared_ptr<DeadlineState>& state,
                           std::chrono::steady_clock::duration limit) {
  state->timer.expires_after(limit);
  state->timer.async_wait([state](const boost::system::error_code& error) {
    if (error || !state->running) return;
    state->expired = true;
    state->signal.emit(asio::cancellation_type::terminal);
  });
}

}  // namespace detail

/// Awaits `operation`, but cancels it once `limit` has passed and then throws Error{timed_out} with
/// "`what`: timed out after N s". Waits for the operation's end in every case; forwards the caller's
/// cancellation.
template <class T>
Awaitable<T> with_deadline(Awaitable<T> operation, std::chrono::steady_clock::duration limit,
                           std::string what) {
  const auto executor = co_await asio::this_coro::executor;
  const auto state = std::make_shared<detail::DeadlineState>(executor);
  const auto cancellation = co_await asio::this_coro::cancellation_state;
  auto outer = cancellation.slot();
  if (outer.is_connected()) {
    outer.assign([state](asio::cancellation_type type) { state->signal.emit(type); });
  }
  detail::start_deadline(state, limit);
  struct Stop {
    detail::DeadlineState& state;
    ~Stop() {
      state.running = false;
      state.timer.cancel();
    }
  };
  std::exception_ptr failure;
  try {
    const Stop stop{*state};
    auto token = asio::bind_cancellation_slot(state->signal.slot(), asio::use_awaitable);
    if constexpr (std::is_void_v<T>) {
      co_await asio::co_spawn(executor, std::move(operation), token);
      co_return;
    } else {
      co_return co_await asio::co_spawn(executor, std::move(operation), token);
    }
  } catch (...) {
    failure = std::current_exception();
  }
  if (state->expired) {
    const auto seconds = std::chrono::duration<double>(limit).count();
    auto text = std::to_string(seconds);
    text.resize(text.find('.') + 2);
    throw Error(Errc::timed_out, what + ": timed out after " + text + " s");
  }
  std::rethrow_exception(failure);
}

/// Runs clean-up that must happen although the caller has been cancelled; it has its own deadline instead.
/// Returns what the clean-up threw, or null. After a cancellation every co_await throws, that of this
/// function too, so the caller says `co_await asio::this_coro::throw_if_cancelled(false)` before it.
Awaitable<std::exception_ptr> run_cleanup(Awaitable<> cleanup, std::chrono::steady_clock::duration limit,
                                          std::string what);

}  // namespace lazypull
