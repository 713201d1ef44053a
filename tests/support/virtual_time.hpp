#pragma once

#include "engine/awaitable.hpp"
#include "engine/event.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <queue>
#include <stdexcept>
#include <tuple>
#include <utility>
#include <vector>

namespace lazypull::test {

/// Time that passes only where all coroutines of a home thread wait for it, and then at once.
class VirtualTime {
 public:
  using Duration = std::chrono::microseconds;

  Duration now() const noexcept { return now_; }
  /// Coroutine steps that were made; the same in each run.
  std::size_t steps() const noexcept { return steps_; }

  Awaitable<> sleep(Duration duration) {
    const auto executor = co_await asio::this_coro::executor;
    Event event(executor);
    alarms_.push({now_ + duration, ++count_, &event});
    co_await event.wait();
  }

  /// Runs a coroutine to its end, in which nothing that sleeps may be cancelled. Throws what it throws, or
  /// std::runtime_error if it waits for something that will never happen.
  void run(Awaitable<> coroutine) {
    std::optional<std::exception_ptr> end;
    asio::co_spawn(home_, std::move(coroutine),
                   [&](std::exception_ptr failure) { end = std::move(failure); });
    home_.restart();
    for (;;) {
      steps_ += home_.poll();
      if (end) break;
      if (alarms_.empty()) throw std::runtime_error("everybody waits for ever");
      ring();
    }
    if (*end) std::rethrow_exception(*end);
  }

 private:
  struct Alarm {
    Duration when;
    std::uint64_t number;
    Event* event;
    bool operator<(const Alarm& other) const {
      return std::tie(other.when, other.number) < std::tie(when, number);
    }
  };

  /// One after another in the order in which they were set, also where they are for the same moment.
  void ring() {
    const auto alarm = alarms_.top();
    alarms_.pop();
    now_ = alarm.when;
    alarm.event->set();
    home_.restart();
  }

  asio::io_context home_{1};
  Duration now_{0};
  std::uint64_t count_ = 0;
  std::size_t steps_ = 0;
  std::priority_queue<Alarm> alarms_;
};

}  // namespace lazypull::test
