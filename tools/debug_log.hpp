#pragma once

#include "engine/ports.hpp"
#include "transport/http_message.hpp"

namespace lazypull {

/// For --debug: lines on standard error, with the seconds since the first one. Neither an HTTP request's log
/// nor a port's arguments hold credentials, so none can be shown.
void debug_request(const RequestLog& request);

/// Says what is asked of containerd and what comes of it, a line for each call.
class DebugLeases final : public LeaseManager {
 public:
  /// `leases` must outlive it.
  explicit DebugLeases(LeaseManager& leases) : leases_(leases) {}

  Awaitable<std::unique_ptr<Lease>> acquire(std::chrono::seconds lifetime) override;

 private:
  LeaseManager& leases_;
};

}  // namespace lazypull
