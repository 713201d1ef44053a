#pragma once

#include "engine/awaitable.hpp"

#include <boost/asio/thread_pool.hpp>

#include <atomic>
#include <cstddef>
#include <functional>

namespace lazypull {

/// Threads for the stages of layer pipelines. Stages start in the order in which they are given; one that
/// waits for another must not come before it by more than there are threads.
class StageThreads {
 public:
  explicit StageThreads(std::size_t threads) : threads_(threads) {}
  StageThreads(const StageThreads&) = delete;
  StageThreads& operator=(const StageThreads&) = delete;
  ~StageThreads() { threads_.join(); }

  void start(std::function<void()> stage);
  /// Waits until every stage that was started has ended.
  Awaitable<> idle();

 private:
  asio::thread_pool threads_;
  std::atomic<std::size_t> running_ = 0;
};

}  // namespace lazypull
