#include "snapshot/unpack/stage_threads.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <utility>

namespace lazypull {

void StageThreads::start(std::function<void()> stage) {
  ++running_;
  asio::post(threads_, [this, stage = std::move(stage)]() mutable {
    stage();
    stage = nullptr;
    --running_;
  });
}

Awaitable<> StageThreads::idle() {
  // Only a pull that has failed finds anything running here, and that for the length of one buffer.
  constexpr std::chrono::milliseconds interval{2};
  const auto executor = co_await asio::this_coro::executor;
  while (running_ > 0) {
    asio::steady_timer timer(executor, interval);
    co_await timer.async_wait(asio::use_awaitable);
  }
}

}  // namespace lazypull
