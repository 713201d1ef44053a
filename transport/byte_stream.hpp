#pragma once

#include "engine/awaitable.hpp"
#include "transport/proxy.hpp"
#include "transport/tls_options.hpp"
#include "transport/url.hpp"

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace lazypull {

using Clock = std::chrono::steady_clock;

/// A connection to a server, plain or TLS. One operation at a time. Errors are Error{unavailable} where the
/// connection was lost, {timed_out}, {cancelled} or {tls_failure}; their messages do not name the peer. After
/// an error the stream is closed.
class ByteStream {
 public:
  virtual ~ByteStream() = default;
  /// At least one byte, or 0 at the end of the stream. Lets other coroutines run in between even where bytes
  /// keep coming.
  virtual Awaitable<std::size_t> read_some(std::span<std::byte> buffer, Clock::time_point until) = 0;
  /// All of `bytes`.
  virtual Awaitable<> write(std::span<const std::byte> bytes, Clock::time_point until) = 0;
  /// False if an idle connection has been closed by the peer, or has bytes that nobody asked for.
  virtual bool idle_and_open() noexcept = 0;
};

/// Resolves, connects and, where `tls` is given, shakes hands. Errors name the host: "resolve host H: …"
/// (host_not_found or unavailable), "connect to H:P: …" (unavailable or timed_out), "TLS handshake with H:P:
/// …" (tls_failure).
///
/// With a `proxy` the connection is to that; for TLS it makes a tunnel: "CONNECT H:P through proxy H:P: …".
Awaitable<std::unique_ptr<ByteStream>> connect(asio::any_io_executor home, Origin origin,
                                               std::shared_ptr<const TlsContext> tls,
                                               std::shared_ptr<const Proxy> proxy, Clock::time_point until);

}  // namespace lazypull
