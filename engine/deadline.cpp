#include "engine/deadline.hpp"

namespace lazypull {

Awaitable<std::exception_ptr> run_cleanup(Awaitable<> cleanup, std::chrono::steady_clock::duration limit,
                                          std::string what) {
  const auto executor = co_await asio::this_coro::executor;
  // A coroutine of its own, on a slot that nobody emits: the caller's cancellation does not reach it.
  auto guarded = with_deadline(std::move(cleanup), limit, std::move(what));
  asio::cancellation_signal never;
  std::exception_ptr failure;
  try {
    co_await asio::co_spawn(executor, std::move(guarded),
                            asio::bind_cancellation_slot(never.slot(), asio::use_awaitable));
  } catch (...) {
    failure = std::current_exception();
  }
  co_return failure;
}

}  // namespace lazypull
