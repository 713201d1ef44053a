#pragma once

#include "transport/host_access.hpp"
#include "transport/http_connection.hpp"

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <vector>

namespace lazypull {

struct PoolLimits {
  std::size_t max_idle_per_origin = 8;
  std::size_t max_idle = 64;
  std::chrono::seconds idle_timeout{60};
};

/// Requests that may share connections.
struct ConnectionKey {
  ConnectionKey(Origin its_origin, std::shared_ptr<HostAccess> its_access = nullptr)
      : origin(std::move(its_origin)), access(std::move(its_access)) {}

  Origin origin;
  std::shared_ptr<HostAccess> access;

  friend auto operator<=>(const ConnectionKey&, const ConnectionKey&) = default;
};

/// Connections that are kept open between requests. It has no timer, which would keep the home
/// context running: whatever is too old goes at the next `take` or `put`.
class ConnectionPool {
 public:
  explicit ConnectionPool(PoolLimits limits) : limits_(limits) {}

  /// The connection used last, which is the most likely to be alive still; null if there is none.
  std::unique_ptr<HttpConnection> take(const ConnectionKey& key, Clock::time_point now);
  /// Keeps a reusable connection; beyond the limits the ones idle longest are closed.
  void put(const ConnectionKey& key, std::unique_ptr<HttpConnection> connection, Clock::time_point now);

  std::size_t idle() const noexcept;

 private:
  struct Idle {
    std::unique_ptr<HttpConnection> connection;
    Clock::time_point since;
  };

  void drop_expired(Clock::time_point now);
  void drop_oldest();

  PoolLimits limits_;
  std::map<ConnectionKey, std::vector<Idle>> idle_;  // each oldest first, never empty
};

}  // namespace lazypull
