#include "tests/support/connect_proxy.hpp"

#include <sys/socket.h>

#include <netinet/in.h>
#include <poll.h>
#include <stdexcept>
#include <string_view>
#include <unistd.h>
#include <utility>

namespace lazypull::test {

namespace {

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

bool send_all(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

bool pass_on(int from, int to) {
  char buffer[65536];
  const auto got = ::recv(from, buffer, sizeof buffer, 0);
  return got > 0 && send_all(to, {buffer, static_cast<std::size_t>(got)});
}

void relay(int left, int right) {
  for (;;) {
    pollfd both[2] = {{left, POLLIN, 0}, {right, POLLIN, 0}};
    if (::poll(both, 2, -1) < 0) return;
    if (both[0].revents != 0 && !pass_on(left, right)) return;
    if (both[1].revents != 0 && !pass_on(right, left)) return;
  }
}

std::string read_head(int socket) {
  std::string head;
  char byte = 0;
  while (!head.ends_with("\r\n\r\n") && ::recv(socket, &byte, 1, 0) == 1) head += byte;
  return head;
}

}  // namespace

ConnectProxy::ConnectProxy(std::uint16_t target_port, std::string authorization)
    : target_port_(target_port), authorization_(std::move(authorization)) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  auto address = loopback(0);
  socklen_t size = sizeof address;
  if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener_, 64) != 0 ||
      ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("the proxy cannot listen");
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_loop(); });
}

ConnectProxy::~ConnectProxy() {
  stopping_ = true;
  ::shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  ::close(listener_);
  {
    const std::lock_guard lock(mutex_);
    for (const int socket : sockets_) ::shutdown(socket, SHUT_RDWR);
  }
  for (auto& tunnel : tunnels_) tunnel.join();
  for (const int socket : sockets_) ::close(socket);
}

void ConnectProxy::accept_loop() {
  for (;;) {
    const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) return;
    const std::lock_guard lock(mutex_);
    sockets_.push_back(client);
    tunnels_.emplace_back([this, client] { serve(client); });
  }
}

void ConnectProxy::serve(int client) {
  const auto head = read_head(client);
  const bool connect = head.starts_with("CONNECT ");
  {
    const std::lock_guard lock(mutex_);
    targets_.push_back(connect ? head.substr(8, head.find(' ', 8) - 8) : head.substr(0, head.find("\r\n")));
  }
  const bool allowed = authorization_.empty() ||
                       head.find("Proxy-Authorization: " + authorization_ + "\r\n") != std::string::npos;
  if (!connect || !allowed) {
    send_all(client, connect ? "HTTP/1.1 407 No\r\n\r\n" : "HTTP/1.1 405 No\r\n\r\n");
    ::shutdown(client, SHUT_RDWR);
    return;
  }
  const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  {
    const std::lock_guard lock(mutex_);
    sockets_.push_back(server);
  }
  const auto address = loopback(target_port_);
  const bool reached =
      !stopping_ && ::connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  if (send_all(client, reached ? "HTTP/1.1 200 Connection established\r\n\r\n"
                               : "HTTP/1.1 502 Bad Gateway\r\n\r\n") &&
      reached) {
    relay(client, server);
  }
  ::shutdown(client, SHUT_RDWR);
  ::shutdown(server, SHUT_RDWR);
}

std::vector<std::string> ConnectProxy::targets() const {
  const std::lock_guard lock(mutex_);
  return targets_;
}

}  // namespace lazypull::test
