#pragma once

#include "tools/faults/proxy.hpp"

namespace lazypull {

/// Deals with one client's requests, one after the other, until a fault, the client or idleness ends the
/// connection. `proxy` must outlive it. Throws only where it is cancelled.
Awaitable<> serve_faulty_connection(FaultProxy& proxy, std::uint64_t number, asio::ip::tcp::socket socket,
                                    Permit permit);

}  // namespace lazypull
