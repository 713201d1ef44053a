#pragma once

#include "engine/awaitable.hpp"
#include "engine/semaphore.hpp"
#include "engine/task_group.hpp"
#include "engine/token_bucket.hpp"
#include "tools/faults/profile.hpp"
#include "tools/faults/record.hpp"
#include "transport/http_client.hpp"

#include <boost/asio/ip/tcp.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>

namespace lazypull {

struct FaultProxyOptions {
  /// Port 0 is any that is free.
  asio::ip::tcp::endpoint address{asio::ip::address_v4::loopback(), 0};
  std::string upstream;  ///< the registry: "http://127.0.0.1:5000", or "127.0.0.1:5000"
  std::uint64_t seed = 1;
  FaultProfile profile;
  std::size_t max_connections = 256;  ///< further clients wait
  /// Told of each request when it is over, on the home thread.
  std::function<void(const FaultRecord&)> log;
};

/// Passes GET and HEAD on to a registry, over HTTP/1.1 without TLS on the client's side, and lets go wrong
/// what its profile says. What goes wrong depends on the seed and on the request, and on how many for the
/// same URL came before it: a run with the same seed and the same requests goes wrong in the same way.
/// Nothing is cached, and redirects are the client's to follow. Must outlive `serve`, and be destroyed before
/// its io_context.
class FaultProxy {
 public:
  /// Listens from here on. Throws Error{unavailable}, {invalid_argument} or {permission_denied} that names
  /// the address, and {bad_response} for an upstream that is no URL.
  FaultProxy(const asio::any_io_executor& home, FaultProxyOptions options);
  ~FaultProxy();
  FaultProxy(const FaultProxy&) = delete;
  FaultProxy& operator=(const FaultProxy&) = delete;

  asio::ip::tcp::endpoint address() const { return address_; }
  /// "http://127.0.0.1:41234".
  std::string url() const;

  /// Works until it is cancelled, which throws Error{cancelled}, or until `stop`; may run once. All
  /// connections have been closed when it ends.
  Awaitable<> serve();
  /// Makes `serve` return. On the home thread.
  void stop();
  /// From the next request on, each of which is the first of its URL again. On the home thread.
  void use(FaultProfile profile, std::uint64_t seed);

 private:
  friend class FaultConnection;
  Awaitable<> accept_all(TaskGroup& group);
  Awaitable<asio::ip::tcp::socket> accept();
  std::uint64_t count(const std::string& request);

  FaultProxyOptions options_;
  Url upstream_;
  HttpClient client_;
  asio::ip::tcp::acceptor acceptor_;
  asio::ip::tcp::endpoint address_;
  Semaphore connections_;
  TokenBucket bandwidth_;
  std::map<std::string, std::uint64_t> counts_;
  std::uint64_t accepted_ = 0;
  TaskGroup* group_ = nullptr;
  bool stopping_ = false;
};

}  // namespace lazypull
