#pragma once

#include "engine/awaitable.hpp"
#include "engine/offload.hpp"
#include "engine/semaphore.hpp"
#include "engine/task_group.hpp"
#include "transport/registry_server_layout.hpp"

#include <boost/asio/ip/tcp.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace lazypull {

struct RegistryServerOptions {
  /// Port 0 is any that is free.
  asio::ip::tcp::endpoint address{asio::ip::address_v4::loopback(), 0};
  /// Further clients wait until one of these has gone. Each may have a socket and a file open.
  std::size_t max_connections = 256;
  std::chrono::milliseconds idle_timeout = std::chrono::seconds(60);      ///< between requests
  std::chrono::milliseconds head_timeout = std::chrono::seconds(10);      ///< for the head of one request
  std::chrono::milliseconds stall_timeout = std::chrono::seconds(30);     ///< of a client that takes nothing
  std::chrono::milliseconds response_timeout = std::chrono::minutes(60);  ///< for one response
  /// Gets a line for each response, on the home thread; see access_log_line.
  std::function<void(std::string_view line)> access_log;
};

/// A read-only registry on OCI image layouts, for tests and experiments: the pull part of distribution-spec
/// over HTTP/1.1, without TLS and without authentication. Content is not verified: clients do that, and are
/// tried out on content that is wrong. Must outlive `serve`, and be destroyed before its io_context.
class RegistryServer {
 public:
  /// Listens from here on. Throws Error{unavailable}, {invalid_argument} or {permission_denied} that names
  /// the address.
  RegistryServer(const asio::any_io_executor& home, ServedLayouts layouts, RegistryServerOptions options);
  RegistryServer(const RegistryServer&) = delete;
  RegistryServer& operator=(const RegistryServer&) = delete;

  asio::ip::tcp::endpoint address() const { return address_; }
  /// "http://127.0.0.1:5000".
  std::string url() const;

  /// Answers until it is cancelled, which throws Error{cancelled}, or until `stop`; may run once. All
  /// connections have been closed when it ends.
  Awaitable<> serve();
  /// Makes `serve` return. On the home thread.
  void stop();

 private:
  Awaitable<> accept_all(TaskGroup& group);
  Awaitable<asio::ip::tcp::socket> accept();

  ServedLayouts layouts_;
  RegistryServerOptions options_;
  asio::ip::tcp::acceptor acceptor_;
  asio::ip::tcp::endpoint address_;
  Semaphore connections_;
  BlockingPool disk_{2};
  TaskGroup* group_ = nullptr;
  bool stopping_ = false;
};

}  // namespace lazypull
