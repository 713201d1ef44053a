#include "tools/experiment/virtual_clock.hpp"

#include "engine/error.hpp"

#include <boost/asio/co_spawn.hpp>

#include <algorithm>
#include <exception>
#include <optional>

namespace lazypull::experiment {

Awaitable<> VirtualClock::sleep_until(Time end) {
  const auto home = co_await asio::this_coro::executor;
  Event over(home);
  const auto entry = sleepers_.emplace(std::pair(std::max(end, now_), sleeps_++), &over).first;
  struct Leave {
    std::map<std::pair<Time, std::uint64_t>, Event*>& sleepers;
    std::pair<Time, std::uint64_t> key;
    ~Leave() { sleepers.erase(key); }
  };
  const Leave leave{sleepers_, entry->first};
  co_await over.wait();
}

VirtualClock::Time VirtualClock::run(Awaitable<> root) {
  const auto start = now_;
  std::optional<std::exception_ptr> ended;
  asio::co_spawn(home_, std::move(root), [&](std::exception_ptr failure) { ended = std::move(failure); });
  for (;;) {
    home_.restart();
    while (home_.poll() > 0) {
    }
    if (ended) break;
    if (sleepers_.empty()) throw Error(Errc::internal, "the simulation waits for nothing");
    const auto first = sleepers_.begin();
    now_ = first->first.first;
    first->second->set();
    sleepers_.erase(first);
  }
  if (*ended) std::rethrow_exception(*ended);
  return now_ - start;
}

}  // namespace lazypull::experiment
