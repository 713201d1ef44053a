#pragma once

#include "transport/byte_stream.hpp"

#include <boost/asio/ip/tcp.hpp>

#include <vector>

namespace lazypull {

/// The addresses of a host, best first, as getaddrinfo gives them. Runs on a thread of its own and not on
/// Asio's resolver, which looks up one name at a time and cannot be interrupted: a lookup that is cancelled
/// or late is left behind. Throws Error{host_not_found}, {unavailable} where trying again may help,
/// {timed_out} or {cancelled}; the message is "resolve host H: …".
Awaitable<std::vector<asio::ip::tcp::endpoint>> look_up_host(Origin origin, Clock::time_point until);

}  // namespace lazypull
