#include "engine/lock_wait.hpp"

#include <boost/asio/steady_timer.hpp>

#include <algorithm>

namespace lazypull {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds first_backoff{50};
constexpr milliseconds longest_backoff{500};
constexpr std::chrono::minutes longest_wait{10};

}  // namespace

Awaitable<> sleep_for(milliseconds duration) {
  const auto executor = co_await asio::this_coro::executor;
  asio::steady_timer timer(executor, duration);
  co_await timer.async_wait(asio::use_awaitable);
}

LockWait::LockWait() : give_up_(std::chrono::steady_clock::now() + longest_wait), backoff_(first_backoff) {}

Awaitable<> LockWait::pause(std::exception_ptr locked) {
  if (std::chrono::steady_clock::now() > give_up_) std::rethrow_exception(locked);
  co_await sleep_for(backoff_);
  backoff_ = std::min(backoff_ * 2, longest_backoff);
}

}  // namespace lazypull
