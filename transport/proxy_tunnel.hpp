#pragma once

#include "transport/proxy.hpp"
#include "transport/timed_socket.hpp"

namespace lazypull {

/// Asks the proxy at the other end of the socket for a connection to `origin` (CONNECT, RFC 9110 section
/// 9.3.6); afterwards the socket leads there. Throws Error{unauthorized} for 407, {forbidden} for 403,
/// {unavailable} for other refusals, {bad_response}, {timed_out} or {cancelled}.
Awaitable<> open_tunnel(TimedSocket& socket, const Proxy& proxy, const Origin& origin,
                        Clock::time_point until);

}  // namespace lazypull
