#include "engine/semaphore.hpp"

#include "engine/error.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>

namespace lazypull {

// A waiter sleeps on a timer that never fires; the permit's giver wakes it by cancelling the timer.
struct Semaphore::Waiter {
  explicit Waiter(const asio::any_io_executor& executor)
      : timer(executor, asio::steady_timer::time_point::max()) {}
  asio::steady_timer timer;
  bool granted = false;
};

void Permit::release() noexcept {
  if (auto* semaphore = std::exchange(semaphore_, nullptr)) semaphore->give_back();
}

Awaitable<Permit> Semaphore::acquire() {
  if (limit_ == 0 || (in_use_ < limit_ && waiters_.empty())) {
    ++in_use_;
    co_return Permit(this);
  }
  const auto executor = co_await asio::this_coro::executor;
  Waiter waiter(executor);
  waiters_.push_back(&waiter);
  // Removes the waiter also if the coroutine is destroyed while it waits; a permit granted in the same moment
  // as the cancellation goes to the next one.
  struct Guard {
    Semaphore& semaphore;
    Waiter& waiter;
    bool keep = false;
    ~Guard() {
      if (keep) return;
      if (waiter.granted) {
        semaphore.give_back();
      } else {
        semaphore.waiters_.remove(&waiter);
      }
    }
  } guard{*this, waiter};
  while (!waiter.granted) {
    co_await waiter.timer.async_wait(asio::as_tuple(asio::use_awaitable));
    const auto state = co_await asio::this_coro::cancellation_state;
    if (state.cancelled() != asio::cancellation_type::none) {
      throw Error(Errc::cancelled, "cancelled while waiting for a permit");
    }
  }
  guard.keep = true;
  co_return Permit(this);
}

void Semaphore::give_back() noexcept {
  if (limit_ != 0 && !waiters_.empty()) {
    // The permit changes hands without passing through the pool, so nobody can overtake the queue.
    Waiter* next = waiters_.front();
    waiters_.pop_front();
    next->granted = true;
    next->timer.cancel();
    return;
  }
  --in_use_;
}

}  // namespace lazypull
