#pragma once

#include "engine/awaitable.hpp"

#include <cstddef>
#include <list>
#include <memory>
#include <utility>

namespace lazypull {

class Semaphore;

/// One unit of a Semaphore's limit, given back on destruction. Move-only.
class Permit {
 public:
  Permit() = default;
  Permit(Permit&& other) noexcept : semaphore_(std::exchange(other.semaphore_, nullptr)) {}
  Permit& operator=(Permit&& other) noexcept {
    if (this != &other) {
      release();
      semaphore_ = std::exchange(other.semaphore_, nullptr);
    }
    return *this;
  }
  ~Permit() { release(); }

  void release() noexcept;
  bool held() const noexcept { return semaphore_ != nullptr; }

 private:
  friend class Semaphore;
  explicit Permit(Semaphore* semaphore) : semaphore_(semaphore) {}
  Semaphore* semaphore_ = nullptr;
};

/// Limits how many coroutines of the home thread are at something at once. First come, first served; a waiter
/// that is cancelled leaves the queue and takes no permit with it. Must outlive its permits and waiters.
class Semaphore {
 public:
  /// `limit` 0 is no limit.
  explicit Semaphore(std::size_t limit) : limit_(limit) {}
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;

  /// Throws Error{cancelled} if cancelled while waiting.
  Awaitable<Permit> acquire();

  std::size_t limit() const noexcept { return limit_; }
  std::size_t in_use() const noexcept { return in_use_; }
  std::size_t waiting() const noexcept { return waiters_.size(); }

 private:
  friend class Permit;
  struct Waiter;
  void give_back() noexcept;

  std::size_t limit_;
  std::size_t in_use_ = 0;
  std::list<Waiter*> waiters_;
};

}  // namespace lazypull
