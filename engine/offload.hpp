#pragma once

#include "engine/awaitable.hpp"

#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace lazypull {

/// Threads for what blocks: files, databases, digests of large data. Coroutines of the home thread wait for
/// it without blocking that thread. Destroying the pool waits for what is running; every `run` must have been
/// awaited by then.
class BlockingPool {
 public:
  /// With one thread the jobs run one after another, in the order in which they were given.
  explicit BlockingPool(std::size_t threads) : threads_(threads) {}
  BlockingPool(const BlockingPool&) = delete;
  BlockingPool& operator=(const BlockingPool&) = delete;
  ~BlockingPool() { threads_.join(); }

  /// Runs `job` on a thread of the pool and resumes on the home thread with its result or what it threw. Once
  /// it has begun it cannot be interrupted, so a job must be short or watch a flag; what it refers to must
  /// live until this returns. A cancelled caller still waits for the end of its job.
  template <class Job>
  Awaitable<std::invoke_result_t<Job&>> run(Job job) {
    using Result = std::invoke_result_t<Job&>;
    Outcome<Result> outcome;
    co_await start(std::function<void()>([&outcome, &job] { outcome.fill(job); }));
    co_return outcome.take();
  }

 private:
  template <class Result>
  struct Outcome {
    std::optional<Result> value;
    std::exception_ptr failure;
    template <class Job>
    void fill(Job& job) {
      try {
        value.emplace(job());
      } catch (...) {
        failure = std::current_exception();
      }
    }
    Result take() {
      if (failure) std::rethrow_exception(failure);
      return std::move(*value);
    }
  };

  /// Completes on the executor of the coroutine that awaits it.
  Awaitable<> start(std::function<void()> job);

  asio::thread_pool threads_;
};

template <>
struct BlockingPool::Outcome<void> {
  std::exception_ptr failure;
  template <class Job>
  void fill(Job& job) {
    try {
      job();
    } catch (...) {
      failure = std::current_exception();
    }
  }
  void take() const {
    if (failure) std::rethrow_exception(failure);
  }
};

}  // namespace lazypull
