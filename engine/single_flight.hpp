#pragma once

#include "engine/awaitable.hpp"
#include "engine/error.hpp"
#include "engine/event.hpp"

#include <exception>
#include <functional>
#include <memory>
#include <unordered_map>
#include <utility>

namespace lazypull {

/// Lets coroutines of the home thread that want the same thing at the same time share one run. The first
/// caller runs it, the others wait and get the same failure if it fails. If the runner is cancelled, which
/// says nothing about the thing itself, one of those who wait takes over.
template <class Key>
class SingleFlight {
 public:
  /// `work` is called at most once by each caller. True if this caller did the work.
  Awaitable<bool> run(Key key, std::function<Awaitable<>()> work) {
    for (;;) {
      const auto found = flights_.find(key);
      if (found == flights_.end()) break;
      const std::shared_ptr<Flight> flight = found->second;
      co_await flight->landed.wait();
      if (!flight->abandoned) {
        if (flight->failure) std::rethrow_exception(flight->failure);
        co_return false;
      }
    }
    co_await lead(std::move(key), std::move(work));
    co_return true;
  }

  std::size_t in_flight() const noexcept { return flights_.size(); }

 private:
  struct Flight {
    explicit Flight(const asio::any_io_executor& executor) : landed(executor) {}
    Event landed;
    bool abandoned = true;  ///< until the work has ended by itself
    std::exception_ptr failure;
  };

  Awaitable<> lead(Key key, std::function<Awaitable<>()> work) {
    const auto executor = co_await asio::this_coro::executor;
    const auto flight = std::make_shared<Flight>(executor);
    flights_.emplace(key, flight);
    // Also wakes the others if this coroutine is destroyed in the middle.
    struct Land {
      SingleFlight& owner;
      const Key& key;
      Flight& flight;
      ~Land() {
        owner.flights_.erase(key);
        flight.landed.set();
      }
    };
    const Land land{*this, key, *flight};
    try {
      co_await work();
      flight->abandoned = false;
    } catch (...) {
      flight->failure = std::current_exception();
    }
    if (flight->failure) {
      flight->abandoned = as_error(flight->failure).code() == Errc::cancelled;
      std::rethrow_exception(flight->failure);
    }
  }

  std::unordered_map<Key, std::shared_ptr<Flight>> flights_;
};

}  // namespace lazypull
