#include "transport/http_client.hpp"

#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <cstdio>

namespace lazypull {

namespace {

constexpr std::chrono::milliseconds most_for_error_body{std::chrono::seconds{5}};

std::string seconds_text(std::chrono::milliseconds limit) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f s", std::chrono::duration<double>(limit).count());
  return text;
}

std::string slow_text(const SpeedWatch& speed) {
  const auto window = std::chrono::duration_cast<std::chrono::milliseconds>(speed.window());
  return ": slower than " + std::to_string(speed.rate()) + " bytes a second for " + seconds_text(window);
}

// Puts the request before the failure, and says what it was that took too long.
[[noreturn]] void rethrow(const std::exception_ptr& failure, const std::string& what,
                          const std::string& late) {
  const auto error = as_error(failure);
  if (error.code() == Errc::timed_out && error.message() == "timed out")
    throw Error(Errc::timed_out, what + late);
  throw error.with_context(what);
}

}  // namespace

HttpResponse::HttpResponse(HttpClient& client, std::unique_ptr<HttpConnection> connection, HttpHead head,
                           const HttpRequest& request, Clock::time_point started)
    : client_(client),
      connection_(std::move(connection)),
      head_(std::move(head)),
      url_(request.url),
      key_{request.url.origin(), request.access ? request.access : client.access()},
      what_(request.display()),
      started_(started),
      patience_(client.progress_timeout(request)),
      speed_(request.patient ? 0 : client.options().min_speed, client.options().min_speed_window),
      least_speed_(client.options().least_speed, patience_),
      span_(request.trace, "transfer", "registry", url_.origin().host) {
  span_.argument("status", static_cast<std::uint64_t>(head_.status));
  log_.method = request.method;
  log_.url = request.url.display();
  log_.status = head_.status;
  if (connection_->body_complete()) finish();
}

HttpResponse::~HttpResponse() {
  finish();
}

void HttpResponse::finish() noexcept {
  try {
    if (connection_ && connection_->reusable()) {
      client_.pool().put(key_, std::move(connection_), Clock::now());
    }
    connection_.reset();
    pass_.release();
    span_.argument("bytes", log_.body_bytes);
    span_.end();
    if (logged_ || !client_.options().log) return;
    logged_ = true;
    log_.duration = Clock::now() - started_;
    client_.options().log(log_);
  } catch (...) {  // NOLINT(bugprone-empty-catch): out of memory, or a logger that throws; neither is the
                   // request's
    connection_.reset();
  }
}

void HttpResponse::hold(GatePass pass, HostGate& gate) {
  gate_ = &gate;
  if (connection_) pass_ = std::move(pass);
}

Awaitable<std::size_t> HttpResponse::read(std::span<std::byte> buffer) {
  return read_within(buffer, patience_);
}

Awaitable<std::size_t> HttpResponse::read_within(std::span<std::byte> buffer,
                                                 std::chrono::milliseconds limit) {
  if (!connection_) co_return 0;
  const auto start = Clock::now();
  auto until = start + limit;
  const bool for_speed = speed_.limited() && start + speed_.patience() < until;
  if (for_speed) until = start + speed_.patience();
  auto late = for_speed ? slow_text(speed_) : ": no data for " + seconds_text(limit);
  std::exception_ptr failure;
  try {
    buffer = buffer.first(std::min(buffer.size(), client_.bucket().piece()));
    const auto got = co_await connection_->read_body(buffer, until);
    if (!least_speed_.note(got, Clock::now() - start) && !connection_->body_complete()) {
      late = slow_text(least_speed_);
      throw Error(Errc::timed_out, "timed out");
    }
    if (!speed_.note(got, Clock::now() - start) && !connection_->body_complete()) {
      late = slow_text(speed_);
      throw Error(Errc::timed_out, "timed out");
    }
    log_.body_bytes += got;
    if (gate_ != nullptr) gate_->on_bytes(got);
    if (connection_->body_complete()) finish();
    if (client_.bucket().limited()) co_await keep_to_rate(got);
    co_return got;
  } catch (...) {
    failure = std::current_exception();
  }
  connection_.reset();
  pass_.release();
  span_.failed();
  broke_off_ = as_error(failure).code() != Errc::cancelled;
  rethrow(failure, what_, late);
}

Awaitable<> HttpResponse::keep_to_rate(std::size_t bytes) {
  const auto pause = client_.bucket().take(bytes, Clock::now());
  if (pause.count() <= 0) co_return;
  const auto executor = co_await asio::this_coro::executor;
  asio::steady_timer timer(executor, pause);
  co_await timer.async_wait(asio::use_awaitable);
}

Awaitable<std::string> HttpResponse::read_all(std::size_t limit) {
  std::string body;
  std::size_t used = 0;
  for (;;) {
    // One byte more than the limit, so that a longer body is noticed.
    body.resize(std::min(limit + 1, std::max(used * 2, std::size_t{16} << 10U)));
    const auto got = co_await read(std::as_writable_bytes(std::span(body)).subspan(used));
    used += got;
    if (got == 0) break;
    if (used > limit) {
      throw Error(Errc::bad_response,
                  what_ + ": the response is longer than " + std::to_string(limit) + " bytes");
    }
  }
  body.resize(used);
  co_return body;
}

Awaitable<std::string> HttpResponse::read_what_is_there(std::size_t limit) {
  std::string body(limit, '\0');
  std::size_t used = 0;
  const auto until = Clock::now() + std::min(client_.options().progress_timeout, most_for_error_body);
  try {
    for (std::size_t got = 1; got > 0 && used < limit;) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
      got = co_await read_within(std::as_writable_bytes(std::span(body)).subspan(used), left);
      used += got;
    }
  } catch (const Error& error) {
    if (error.code() == Errc::cancelled) throw;
  }
  body.resize(used);
  co_return body;
}

HttpClient::HttpClient(asio::any_io_executor home, HttpOptions options)
    : home_(std::move(home)),
      options_(std::move(options)),
      pool_(options_.pool),
      bucket_(options_.limit_rate, Clock::now()),
      access_(std::make_shared<HostAccess>(options_.tls, options_.connect_timeout)) {
  if (options_.tls.any()) access_->tls();
}

std::chrono::milliseconds HttpClient::response_timeout(const HttpRequest& request) const {
  if (request.patient) return options_.response_timeout;
  return std::min(options_.response_timeout, options_.mirror_timeout);
}

std::chrono::milliseconds HttpClient::progress_timeout(const HttpRequest& request) const {
  if (request.patient) return options_.progress_timeout;
  return std::min(options_.progress_timeout, options_.mirror_timeout);
}

ConnectionKey HttpClient::key_of(const HttpRequest& request) const {
  return {request.url.origin(), request.access ? request.access : access_};
}

Awaitable<std::unique_ptr<HttpResponse>> HttpClient::send(HttpRequest request) {
  auto started = Clock::now();
  std::exception_ptr failure;
  try {
    auto& gate = gates_.try_emplace(request.url.origin(), options_.max_connections_per_host).first->second;
    Span waiting(request.trace, "wait for host", "registry", request.url.origin().host);
    auto pass = co_await gate.enter();
    waiting.end();
    started = Clock::now();
    auto response = co_await send_now(request, started);
    gate.on_status(response->status());
    response->hold(std::move(pass), gate);
    co_return response;
  } catch (...) {
    failure = std::current_exception();
  }
  log_failure(request, started, as_error(failure));
  rethrow(failure, request.display(), ": no response within " + seconds_text(response_timeout(request)));
}

Awaitable<std::unique_ptr<HttpResponse>> HttpClient::send_now(const HttpRequest& request,
                                                              Clock::time_point started) {
  // A tunnel passes on what it is given; only plain HTTP is the proxy's own business.
  const auto proxy = request.url.origin().tls ? nullptr : options_.proxies.proxy_of(request.url.origin());
  const auto wire = serialise(request, options_.user_agent, proxy.get());
  auto response = co_await send_on_idle(request, wire, started);
  if (response) co_return response;
  response = co_await send_on_new(request, wire, started);
  co_return response;
}

// Null where there is no idle connection, or the server had closed it before it read the request.
Awaitable<std::unique_ptr<HttpResponse>> HttpClient::send_on_idle(const HttpRequest& request,
                                                                  const std::string& wire,
                                                                  Clock::time_point started) {
  auto connection = pool_.take(key_of(request), started);
  if (!connection) co_return nullptr;
  try {
    Span waiting(request.trace, "first byte", "registry", request.url.origin().host);
    auto head = co_await exchange(*connection, request, wire);
    waiting.end();
    co_return std::make_unique<HttpResponse>(*this, std::move(connection), std::move(head), request, started);
  } catch (const Error& error) {
    if (error.code() != Errc::unavailable || connection->heard()) throw;
  }
  co_return nullptr;
}

Awaitable<std::unique_ptr<HttpResponse>> HttpClient::send_on_new(const HttpRequest& request,
                                                                 const std::string& wire,
                                                                 Clock::time_point started) {
  const auto& origin = request.url.origin();
  const auto access = key_of(request).access;
  const auto tls = origin.tls ? access->tls() : nullptr;
  const auto proxy = options_.proxies.proxy_of(origin);
  Span connecting(request.trace, "connect", "registry", origin.host);
  auto stream = co_await connect(home_, origin, tls, proxy, Clock::now() + access->connect_timeout());
  connecting.end();
  auto connection = std::make_unique<HttpConnection>(std::move(stream));
  Span waiting(request.trace, "first byte", "registry", origin.host);
  auto head = co_await exchange(*connection, request, wire);
  waiting.end();
  co_return std::make_unique<HttpResponse>(*this, std::move(connection), std::move(head), request, started);
}

Awaitable<HttpHead> HttpClient::exchange(HttpConnection& connection, const HttpRequest& request,
                                         const std::string& wire) {
  return connection.exchange(wire, request.method == "HEAD", Clock::now() + response_timeout(request));
}

void HttpClient::log_failure(const HttpRequest& request, Clock::time_point started,
                             const Error& failure) const {
  if (!options_.log) return;
  RequestLog log;
  log.method = request.method;
  log.url = request.url.display();
  log.duration = Clock::now() - started;
  log.failure = failure.message();
  options_.log(log);
}

}  // namespace lazypull
