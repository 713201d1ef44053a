#include "engine/offload.hpp"

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/executor_work_guard.hpp>

namespace lazypull {

// No coroutine itself: what it initiates must not depend on the lifetime of temporaries in a co_await.
Awaitable<> BlockingPool::start(std::function<void()> job) {
  auto initiation = [this](auto handler, std::function<void()> work) {
    auto home = asio::get_associated_executor(handler);
    auto guard = asio::make_work_guard(home);
    asio::post(threads_, [handler = std::move(handler), work = std::move(work), home,
                          guard = std::move(guard)]() mutable {
      work();
      work = nullptr;
      asio::post(home, std::move(handler));
    });
  };
  return asio::async_initiate<const asio::use_awaitable_t<>, void()>(std::move(initiation),
                                                                     asio::use_awaitable, std::move(job));
}

}  // namespace lazypull
