#pragma once

#include "engine/awaitable.hpp"
#include "engine/semaphore.hpp"
#include "engine/task_group.hpp"
#include "tools/agent/listen_address.hpp"

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/generic/stream_protocol.hpp>

#include <functional>
#include <map>
#include <string>

namespace lazypull {

/// What is served under one path.
struct StatusPage {
  std::string content_type;
  /// Called on the home thread for each request.
  std::function<std::string()> text;
};

/// Serves a few pages over HTTP/1.1 to whoever asks with GET or HEAD, such as Prometheus or curl: a request a
/// connection, few connections, short deadlines, nothing read but the request line. A Unix socket has the
/// mode 0600. Must outlive `serve`, and be destroyed before its io_context.
class StatusServer {
 public:
  /// Listens from here on. A Unix socket that a dead process has left is replaced. Throws Error that names
  /// the address: {failed_precondition} where somebody serves it or something else is there, {unavailable},
  /// {permission_denied}.
  StatusServer(const asio::any_io_executor& home, ListenAddress address,
               std::map<std::string, StatusPage> pages);
  StatusServer(const StatusServer&) = delete;
  StatusServer& operator=(const StatusServer&) = delete;
  ~StatusServer();

  /// Where it listens, with the port that was free.
  const ListenAddress& address() const noexcept { return address_; }

  /// Answers until it is cancelled, which throws Error{cancelled}.
  Awaitable<> serve();

 private:
  using Protocol = asio::generic::stream_protocol;
  using Socket = Protocol::socket;

  Awaitable<> accept_all(TaskGroup& group);
  Awaitable<> answer(Socket socket, Permit place);
  std::string response(std::string_view head) const;

  ListenAddress address_;
  std::map<std::string, StatusPage> pages_;
  asio::basic_socket_acceptor<Protocol> acceptor_;
  Semaphore connections_{16};
};

}  // namespace lazypull
