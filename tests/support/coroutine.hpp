#pragma once

#include "engine/awaitable.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <chrono>
#include <exception>
#include <functional>
#include <optional>
#include <stdexcept>
#include <utility>

namespace lazypull::test {

/// Runs a coroutine to its end on a home thread of its own and returns or throws what it did. A coroutine
/// that waits for something that will never happen is an error, not a hang.
inline void run_on(asio::io_context& home, Awaitable<> coroutine) {
  std::optional<std::exception_ptr> end;
  asio::co_spawn(home, std::move(coroutine), [&](std::exception_ptr failure) { end = std::move(failure); });
  home.restart();
  home.run_for(std::chrono::seconds(60));
  if (!end) throw std::runtime_error("the coroutine did not come to its end");
  if (*end) std::rethrow_exception(*end);
}

inline void run(Awaitable<> coroutine) {
  asio::io_context home(1);
  run_on(home, std::move(coroutine));
}

/// Lets everything that is ready run, once each time.
inline Awaitable<> step(int times = 1) {
  const auto executor = co_await asio::this_coro::executor;
  for (int i = 0; i < times; ++i) co_await asio::post(executor, asio::use_awaitable);
}

}  // namespace lazypull::test
