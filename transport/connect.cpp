#include "engine/error.hpp"
#include "transport/byte_stream.hpp"
#include "transport/host_lookup.hpp"
#include "transport/proxy_tunnel.hpp"
#include "transport/streams.hpp"

#include <algorithm>

namespace lazypull {

using asio::ip::tcp;

namespace {

// An address that does not answer must not use up the time of the others (broken IPv6 is common).
constexpr std::chrono::seconds most_per_address{3};

Clock::time_point share_of(Clock::time_point until, std::size_t addresses_left) {
  const auto now = Clock::now();
  if (addresses_left <= 1 || until <= now) return until;
  const auto share = (until - now) / static_cast<Clock::rep>(addresses_left);
  return now + std::min<Clock::duration>(share, most_per_address);
}

Awaitable<TimedSocket> connect_to_any(asio::any_io_executor home, std::vector<tcp::endpoint> endpoints,
                                      Clock::time_point until) {
  std::exception_ptr failure;
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    TimedSocket socket(home);
    const auto limit = share_of(until, endpoints.size() - i);
    try {
      co_await socket.connect(endpoints[i], limit);
      co_return socket;
    } catch (const Error& error) {
      if (error.code() == Errc::cancelled) throw;
      failure = std::current_exception();
    }
  }
  std::rethrow_exception(failure);
}

}  // namespace

Awaitable<std::unique_ptr<ByteStream>> connect(asio::any_io_executor home, Origin origin,
                                               std::shared_ptr<const TlsContext> tls,
                                               std::shared_ptr<const Proxy> proxy, Clock::time_point until) {
  const auto peer = proxy ? proxy->origin : origin;
  auto endpoints = co_await look_up_host(peer, until);
  std::string step = std::string("connect to ") + (proxy ? "proxy " : "") + peer.host_port();
  std::exception_ptr failure;
  try {
    auto socket = co_await connect_to_any(home, std::move(endpoints), until);
    if (!tls) co_return make_plain_stream(std::move(socket));
    if (proxy) {
      step = "CONNECT " + origin.host_port() + " through proxy " + peer.host_port();
      co_await open_tunnel(socket, *proxy, origin, until);
    }
    step = "TLS handshake with " + origin.host_port();
    auto stream = co_await make_tls_stream(std::move(socket), origin.host, *tls, until);
    co_return stream;
  } catch (...) {
    failure = std::current_exception();
  }
  rethrow_with_context(failure, step);
}

}  // namespace lazypull
