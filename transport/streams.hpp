#pragma once

#include "transport/timed_socket.hpp"

namespace lazypull {

/// Bytes over a connected socket as they are.
std::unique_ptr<ByteStream> make_plain_stream(TimedSocket socket);

/// Bytes over TLS; shakes hands first. Throws Error{tls_failure} that says why, without naming the host.
Awaitable<std::unique_ptr<ByteStream>> make_tls_stream(TimedSocket socket, std::string host,
                                                       const TlsContext& tls, Clock::time_point until);

}  // namespace lazypull
