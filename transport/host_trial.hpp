#pragma once

#include "engine/digest.hpp"
#include "engine/error.hpp"
#include "transport/circuit_breaker.hpp"
#include "transport/registry_hosts.hpp"

#include <exception>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

namespace lazypull {

/// What has been learned about hosts, for the whole process.
class HostHealth {
 public:
  explicit HostHealth(BreakerPolicy policy = {}) : policy_(policy) {}

  CircuitBreaker& breaker(const Origin& origin) {
    return breakers_.try_emplace(origin, policy_).first->second;
  }
  /// The host has served something else for this digest: it is not asked for it again, and for a pause for
  /// nothing at all.
  void distrust(const Origin& origin, const Digest& digest);
  bool trusts(const Origin& origin, const Digest& digest) const {
    return !distrusted_.contains({origin, digest.str()});
  }
  std::size_t distrusted() const noexcept { return distrusted_.size(); }
  /// Hosts that are left out, or probed, because they have failed.
  std::size_t broken(CircuitBreaker::Time now) const noexcept {
    std::size_t count = 0;
    for (const auto& [origin, breaker] : breakers_) {
      if (breaker.state(now) != CircuitBreaker::State::closed) ++count;
    }
    return count;
  }

 private:
  BreakerPolicy policy_;
  std::map<Origin, CircuitBreaker> breakers_;
  std::set<std::pair<Origin, std::string>> distrusted_;
};

HostVerdict verdict_of(Errc code) noexcept;

/// What a host is needed for.
enum class HostNeed { resolve, pull };

/// Goes through the hosts that may serve one request, in order, and leaves out those that are known to fail:
/// all but the last one, which is what remains when everything fails. Pure but for the clock.
class HostTrial {
 public:
  /// `what` is for messages; `digest` is what is asked for, if that is known. `health` must outlive it.
  HostTrial(RegistryHostList hosts, HostNeed need, HostHealth& health, std::string what,
            std::optional<Digest> digest = {});
  HostTrial(const HostTrial&) = delete;
  HostTrial& operator=(const HostTrial&) = delete;
  ~HostTrial();

  /// Leaves out the hosts before this one, which have just failed at the same.
  void start_at(const Origin& origin);
  /// The next host to ask, null if none is left. What comes of it is told with `succeeded` or `failed`.
  const RegistryHost* next();
  /// True if no other host comes after the current one, so that it is worth to be patient with it.
  bool is_last() const noexcept { return last_; }

  void succeeded() { note(HostVerdict::alive); }
  /// Remembers why. A host whose answer `broke_off` may be faulty but is not dead, unless it has kept silent.
  /// Rethrows what no other host could do better: Error{cancelled}, and {invalid_argument}, which is about
  /// our own files.
  void failed(const std::exception_ptr& failure, bool broke_off = false);
  /// Throws the last failure, with those of the hosts before.
  [[noreturn]] void give_up() const;

 private:
  bool suits(const RegistryHost& host) const;
  void note(HostVerdict verdict);

  RegistryHostList hosts_;
  HostNeed need_;
  HostHealth& health_;
  std::string what_;
  std::optional<Digest> digest_;
  std::size_t position_ = 0;
  const RegistryHost* current_ = nullptr;  // admitted, and no verdict yet
  bool last_ = false;
  std::optional<Error> failure_;
  std::string earlier_;
};

}  // namespace lazypull
