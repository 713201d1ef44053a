#include "engine/bandwidth.hpp"

#include "engine/lock_wait.hpp"

#include <algorithm>
#include <chrono>

namespace lazypull {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// A new rate takes effect after so long at the latest.
constexpr milliseconds longest_sleep{100};

}  // namespace

void Bandwidth::set_rate(PullClass pull_class, std::uint64_t bytes_per_second) {
  auto& budget = at(pull_class);
  budget.rate = bytes_per_second;
  budget.bucket.set_rate(bytes_per_second, Clock::now());
}

Awaitable<> Bandwidth::pay(PullClass pull_class, std::uint64_t bytes) {
  auto& budget = at(pull_class);
  if (budget.rate == 0) co_return;
  const Permit turn = co_await budget.line.acquire();
  auto wait = budget.bucket.take(bytes, Clock::now());
  while (wait.count() > 0) {
    const auto rest = std::chrono::ceil<milliseconds>(wait);
    co_await sleep_for(std::min(rest, longest_sleep));
    wait = budget.bucket.take(0, Clock::now());
  }
}

}  // namespace lazypull
