#pragma once

#include "engine/error.hpp"
#include "engine/token_bucket.hpp"
#include "transport/connection_pool.hpp"
#include "transport/host_gate.hpp"
#include "transport/http_message.hpp"
#include "transport/proxy.hpp"
#include "transport/speed_watch.hpp"
#include "transport/tls_options.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>

namespace lazypull {

struct HttpOptions {
  TlsOptions tls;
  PoolLimits pool;
  std::size_t max_connections_per_host = 16;  ///< requests under way at once; adapts below it; 0 is no limit
  std::uint64_t limit_rate = 0;               ///< of all bodies together, bytes a second; 0 is no limit
  std::chrono::milliseconds connect_timeout{std::chrono::seconds{30}};  ///< name lookup, TCP and TLS together
  std::chrono::milliseconds response_timeout{
      std::chrono::minutes{2}};  ///< from the request to the whole head
  std::chrono::milliseconds progress_timeout{std::chrono::minutes{5}};  ///< between bytes of a body
  /// What every body has to come with, in the mean of progress_timeout: a byte now and then is no progress.
  std::uint64_t least_speed = 256;
  /// In place of both for requests that are not patient, where it is less: another host is left to ask.
  std::chrono::milliseconds mirror_timeout{std::chrono::seconds{30}};
  /// Bytes a second that a body has to come with, unless its request is patient; 0 is no limit.
  std::uint64_t min_speed = 0;
  std::chrono::milliseconds min_speed_window{
      std::chrono::seconds{30}};  ///< of waiting, over which it is measured
  ProxyRules proxies;
  std::string user_agent = "lazypull/0.1.0";
  RequestLogger log;  ///< optional
};

class HttpClient;

/// A response whose head has come. Its body is read piece by piece; once it is complete the connection goes
/// back to the pool, and if the response is destroyed before, the connection is closed. The client must
/// outlive it.
class HttpResponse {
 public:
  HttpResponse(HttpClient& client, std::unique_ptr<HttpConnection> connection, HttpHead head,
               const HttpRequest& request, Clock::time_point started);
  /// The place of its request among those under way; given up with the connection.
  void hold(GatePass pass, HostGate& gate);
  ~HttpResponse();
  HttpResponse(const HttpResponse&) = delete;
  HttpResponse& operator=(const HttpResponse&) = delete;

  int status() const noexcept { return head_.status; }
  const HttpHead& head() const noexcept { return head_; }
  const Url& url() const noexcept { return url_; }
  /// For messages: "GET https://…".
  const std::string& what() const noexcept { return what_; }
  /// The body has ended before its time: the connection was lost, or the server has not kept to HTTP.
  bool broke_off() const noexcept { return broke_off_; }

  /// The next bytes of the body, 0 at its end.
  Awaitable<std::size_t> read(std::span<std::byte> buffer);
  /// The rest of the body; throws Error{bad_response} if it is longer than `limit`.
  Awaitable<std::string> read_all(std::size_t limit);
  /// At most `limit` bytes of the body; whatever goes wrong ends it early. For the bodies of failures, and to
  /// be able to use the connection again. Throws only Error{cancelled}.
  Awaitable<std::string> read_what_is_there(std::size_t limit);

 private:
  Awaitable<std::size_t> read_within(std::span<std::byte> buffer, std::chrono::milliseconds limit);
  Awaitable<> keep_to_rate(std::size_t bytes);
  void finish() noexcept;

  HttpClient& client_;
  std::unique_ptr<HttpConnection> connection_;  // null once the body is complete
  HttpHead head_;
  Url url_;
  ConnectionKey key_;
  std::string what_;
  RequestLog log_;
  Clock::time_point started_;
  std::chrono::milliseconds patience_;  // between bytes
  SpeedWatch speed_;
  SpeedWatch least_speed_;
  bool broke_off_ = false;
  bool logged_ = false;
  GatePass pass_;
  HostGate* gate_ = nullptr;
  Span span_;  // of the body
};

/// Sends requests over pooled connections: one exchange each, no redirects, and no retries but that of a
/// kept-alive connection which turns out to be dead. A request waits while too many to its host are under
/// way, and bodies are read no faster than the rate allows. Must be destroyed before the context of `home`.
class HttpClient {
 public:
  /// Throws Error{invalid_argument} for TLS files that cannot be used.
  HttpClient(asio::any_io_executor home, HttpOptions options);

  /// Any status is a response. Throws Error{unavailable, timed_out, host_not_found, tls_failure,
  /// bad_response, cancelled} with "GET https://…: why".
  Awaitable<std::unique_ptr<HttpResponse>> send(HttpRequest request);

  const HttpOptions& options() const noexcept { return options_; }
  /// What a request has to wait for its response, and then between bytes.
  std::chrono::milliseconds response_timeout(const HttpRequest& request) const;
  std::chrono::milliseconds progress_timeout(const HttpRequest& request) const;
  ConnectionPool& pool() noexcept { return pool_; }
  TokenBucket& bucket() noexcept { return bucket_; }
  const std::shared_ptr<HostAccess>& access() const noexcept { return access_; }

 private:
  Awaitable<std::unique_ptr<HttpResponse>> send_on_idle(const HttpRequest& request, const std::string& wire,
                                                        Clock::time_point started);
  Awaitable<std::unique_ptr<HttpResponse>> send_on_new(const HttpRequest& request, const std::string& wire,
                                                       Clock::time_point started);
  Awaitable<HttpHead> exchange(HttpConnection& connection, const HttpRequest& request,
                               const std::string& wire);
  Awaitable<std::unique_ptr<HttpResponse>> send_now(const HttpRequest& request, Clock::time_point started);
  ConnectionKey key_of(const HttpRequest& request) const;
  void log_failure(const HttpRequest& request, Clock::time_point started, const Error& failure) const;

  asio::any_io_executor home_;
  HttpOptions options_;
  ConnectionPool pool_;
  std::map<Origin, HostGate> gates_;
  TokenBucket bucket_;
  std::shared_ptr<HostAccess> access_;  // of requests that have none of their own
};

}  // namespace lazypull
