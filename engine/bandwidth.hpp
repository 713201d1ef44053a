#pragma once

#include "engine/awaitable.hpp"
#include "engine/permit_queue.hpp"
#include "engine/semaphore.hpp"
#include "engine/token_bucket.hpp"

#include <array>
#include <cstdint>

namespace lazypull {

/// Bytes a second that the pulls of each class may take from the network, all of a class together. Can be
/// changed while they run.
class Bandwidth {
 public:
  /// 0 is no limit, which is what each class begins with. Also those who wait for their bytes' time go by it
  /// within a tenth of a second.
  void set_rate(PullClass pull_class, std::uint64_t bytes_per_second);
  std::uint64_t rate(PullClass pull_class) const noexcept { return at(pull_class).rate; }

  bool limited(PullClass pull_class) const noexcept { return at(pull_class).rate > 0; }
  /// Has the bytes that have come paid for: returns when more may be read. Those of a class pay one after
  /// another.
  Awaitable<> pay(PullClass pull_class, std::uint64_t bytes);

 private:
  struct Budget {
    std::uint64_t rate = 0;
    TokenBucket bucket{0, {}};
    Semaphore line{1};
  };
  const Budget& at(PullClass pull_class) const noexcept {
    return budgets_[static_cast<std::size_t>(pull_class)];
  }
  Budget& at(PullClass pull_class) noexcept { return budgets_[static_cast<std::size_t>(pull_class)]; }

  std::array<Budget, 2> budgets_;
};

}  // namespace lazypull
