#pragma once

#include "engine/semaphore.hpp"
#include "transport/registry_server.hpp"

namespace lazypull {

/// Answers one client's requests, one after the other, until it goes away, says nonsense or takes too long.
/// All that it refers to must outlive it. Throws only where it is cancelled.
Awaitable<> serve_connection(const ServedLayouts& layouts, const RegistryServerOptions& options,
                             BlockingPool& disk, asio::ip::tcp::socket socket, Permit permit);

}  // namespace lazypull
