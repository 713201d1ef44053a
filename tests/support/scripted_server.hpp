#pragma once

#include "tests/support/test_identity.hpp"

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

struct ssl_ctx_st;

namespace lazypull::test {

using HeaderList = std::vector<std::pair<std::string, std::string>>;

/// A request as a ScriptedServer received it.
struct ScriptedRequest {
  std::string method;
  std::string target;
  HeaderList headers;
  std::string body;
  std::size_t connection = 0;  ///< which of the server's connections, from 0

  /// The value of the first header of that name, in whatever case; empty if there is none.
  std::string header(std::string_view name) const;
  bool has_header(std::string_view name) const;
  /// The target without its query.
  std::string path() const { return target.substr(0, target.find('?')); }
};

/// What to answer, and how to get it wrong.
struct ScriptedResponse {
  int status = 200;
  HeaderList headers;
  std::string body;
  bool chunked = false;
  bool without_length = false;                  ///< the end of the connection ends the body
  std::optional<std::uint64_t> claimed_length;  ///< Content-Length, whatever the body has
  std::optional<std::size_t> cut_after;         ///< close the connection after so many bytes of the body
  std::optional<std::size_t> stall_after;  ///< send no more after so many bytes, and keep the connection open
  std::chrono::milliseconds drip{0};  ///< for ever one more byte of the body after so long, from the start
                                      ///< again at its end; of `raw` if there is one
  bool stall = false;                 ///< no response at all, but keep the connection open
  bool hang_up = false;               ///< close the connection without a response
  bool close_after = false;           ///< close the connection after the response, without saying so
  std::string raw;                    ///< sent as it is, in place of all that, before closing

  ScriptedResponse() = default;
  explicit ScriptedResponse(int response_status, std::string response_body = {},
                            HeaderList response_headers = {})
      : status(response_status), headers(std::move(response_headers)), body(std::move(response_body)) {}
};

/// A small HTTP/1.1 server on the loopback, on threads of its own, which answers as the test says and records
/// what it was asked. HEAD gets the response to GET without its body. Whatever is not scripted is 404.
class ScriptedServer {
 public:
  using Handler = std::function<ScriptedResponse(const ScriptedRequest&)>;

  ScriptedServer();
  /// Speaks TLS. With a `client_authority` only clients that have a certificate of it are served.
  explicit ScriptedServer(const Identity& identity, const Identity* client_authority = nullptr);
  ~ScriptedServer();
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;

  /// Answers requests with `key`, "GET /v2/app/blobs/…" without the query, in the order of calls; the last
  /// one answers all that follow.
  void on(const std::string& key, ScriptedResponse response);
  void on(const std::string& key, Handler handler);
  /// Answers whatever has no answer of its own.
  void otherwise(Handler handler);
  /// Says this to every new connection, whatever the client says, and hears it out until it goes away.
  void greet(std::string raw);

  std::uint16_t port() const noexcept { return port_; }
  /// "127.0.0.1:PORT".
  std::string host() const { return "127.0.0.1:" + std::to_string(port_); }
  /// "http://127.0.0.1:PORT" or https.
  std::string url() const { return (tls_ ? "https://" : "http://") + host(); }

  std::vector<ScriptedRequest> requests() const;
  /// The requests of one key.
  std::vector<ScriptedRequest> requests(const std::string& key) const;
  std::size_t connections() const;
  /// Waits until a request of that key has arrived; false after ten seconds.
  bool wait_for_request(const std::string& key) const;
  /// Closes all connections, as a server does with idle ones, and waits until that is done.
  void close_connections();

 private:
  class Connection;
  struct Script {
    std::vector<Handler> handlers;
    std::size_t next = 0;
  };

  void start();
  void accept_loop();
  ScriptedResponse answer(ScriptedRequest request);
  std::string greeting() const;

  std::shared_ptr<ssl_ctx_st> tls_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  mutable std::mutex mutex_;
  mutable std::condition_variable arrived_;
  std::map<std::string, Script> scripts_;
  Handler otherwise_;
  std::string greeting_;
  std::vector<ScriptedRequest> requests_;
  std::vector<std::unique_ptr<Connection>> connections_;
  bool stopping_ = false;
  std::thread acceptor_;
};

}  // namespace lazypull::test
