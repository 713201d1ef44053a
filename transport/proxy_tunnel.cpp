#include "transport/proxy_tunnel.hpp"

#include "engine/error.hpp"
#include "transport/http_connection.hpp"

#include <sys/socket.h>

#include <cerrno>

namespace lazypull {

using asio::ip::tcp;

namespace {

void check_would_block() {
  const int failure = errno;
  if (failure == EAGAIN || failure == EWOULDBLOCK || failure == EINTR) return;
  throw_socket_error({failure, boost::system::system_category()});
}

Awaitable<> send_all(TimedSocket& socket, std::string text, Clock::time_point until) {
  std::string_view rest = text;
  while (!rest.empty()) {
    const auto sent = ::send(socket.native(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(sent));
      continue;
    }
    check_would_block();
    co_await socket.wait(tcp::socket::wait_write, until);
  }
}

// To the end of the response's head and no byte further: the next one is for TLS.
Awaitable<std::string> read_head(TimedSocket& socket, Clock::time_point until) {
  std::string head;
  while (!head.ends_with("\r\n\r\n")) {
    char buffer[4096];
    const auto seen = ::recv(socket.native(), buffer, sizeof buffer, MSG_PEEK);
    if (seen == 0) throw Error(Errc::unavailable, "connection closed before a response");
    if (seen < 0) {
      check_would_block();
      co_await socket.wait(tcp::socket::wait_read, until);
      continue;
    }
    const auto before = head.size();
    head.append(buffer, static_cast<std::size_t>(seen));
    const auto end = head.find("\r\n\r\n");
    if (end != std::string::npos) head.resize(end + 4);
    const auto taken = ::recv(socket.native(), buffer, head.size() - before, 0);
    if (taken < 0 || static_cast<std::size_t>(taken) != head.size() - before) check_would_block();
    if (head.size() > max_response_head_bytes) throw Error(Errc::bad_response, "its answer is too long");
  }
  co_return head;
}

int status_of(const std::string& head) {
  const auto status =
      parse_decimal(std::string_view(head).substr(0, 12).substr(std::min<std::size_t>(head.size(), 9)));
  if (!head.starts_with("HTTP/1.") || !status) throw Error(Errc::bad_response, "its answer is not HTTP");
  return static_cast<int>(*status);
}

}  // namespace

Awaitable<> open_tunnel(TimedSocket& socket, const Proxy& proxy, const Origin& origin,
                        Clock::time_point until) {
  const auto target = origin.host_port();
  std::string request = "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n";
  if (!proxy.authorization.empty()) request += "Proxy-Authorization: " + proxy.authorization + "\r\n";
  request += "\r\n";
  co_await send_all(socket, std::move(request), until);
  const auto head = co_await read_head(socket, until);
  HttpHead response;
  response.status = status_of(head);
  if (response.status >= 200 && response.status < 300) co_return;
  auto code = Errc::unavailable;
  if (response.status == 407) code = Errc::unauthorized;
  if (response.status == 403) code = Errc::forbidden;
  throw Error(code, response.status_line());
}

}  // namespace lazypull
