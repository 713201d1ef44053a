#include "tools/faults/connection.hpp"

#include "engine/deadline.hpp"
#include "engine/error.hpp"
#include "engine/lock_wait.hpp"
#include "tools/faults/decision.hpp"
#include "tools/faults/response_head.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <linux/sockios.h>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace lazypull {

namespace http = boost::beast::http;
using asio::ip::tcp;
using std::chrono::milliseconds;

namespace {

constexpr std::uint32_t max_head_bytes = 32U << 10U;
constexpr std::size_t piece_bytes = 64U << 10U;
constexpr std::chrono::minutes idle_timeout{2};
constexpr std::chrono::minutes write_timeout{10};
constexpr std::chrono::hours stall_timeout{24};

using Parser = http::request_parser<http::empty_body>;

/// What one request came to.
enum class Next { another_request, close, reset };

std::string text_of(boost::beast::string_view text) {
  return {text.data(), text.size()};
}

Awaitable<std::size_t> read_some(tcp::socket& socket, std::span<char> into) {
  const auto got =
      co_await socket.async_read_some(asio::buffer(into.data(), into.size()), asio::use_awaitable);
  co_return got;
}

Awaitable<> write_all(tcp::socket& socket, std::string_view bytes) {
  co_await asio::async_write(socket, asio::buffer(bytes.data(), bytes.size()), asio::use_awaitable);
}

Awaitable<> wait_readable(tcp::socket& socket) {
  co_await socket.async_wait(tcp::socket::wait_read, asio::use_awaitable);
}

}  // namespace

class FaultConnection {
 public:
  FaultConnection(FaultProxy& proxy, std::uint64_t number, tcp::socket socket)
      : proxy_(proxy),
        number_(number),
        socket_(std::move(socket)),
        bandwidth_(proxy.options_.profile.connection_bandwidth, Clock::now()) {
    boost::system::error_code ignored;
    socket_.set_option(tcp::no_delay(true), ignored);
  }

  Awaitable<> run() {
    auto next = Next::another_request;
    for (bool first = true; next == Next::another_request; first = false) {
      auto request = co_await receive();
      if (!request) co_return;
      next = co_await deal_with(std::move(*request), first);
      if (next == Next::another_request && !keep_alive_) next = Next::close;
    }
    if (next == Next::reset) {
      reset();
    } else {
      co_await hang_up();
    }
  }

 private:
  /// Nothing if the client has gone, says nothing, or what is not to be understood.
  Awaitable<std::optional<HttpRequest>> receive() {
    Parser parser;
    parser.header_limit(max_head_bytes);
    std::array<char, 8192> input{};
    for (;;) {
      if (!pending_.empty()) {
        boost::system::error_code failure;
        pending_.erase(0, parser.put(asio::buffer(pending_), failure));
        if (parser.is_header_done()) break;
        if (failure && failure != http::error::need_more) co_return std::nullopt;
      }
      if (pending_.size() > max_head_bytes) co_return std::nullopt;
      auto reading = read_some(socket_, input);
      const auto got = co_await with_deadline(std::move(reading), idle_timeout, "request");
      pending_.append(input.data(), got);
    }
    keep_alive_ = parser.keep_alive();
    co_return pass_on(parser);
  }

  std::optional<HttpRequest> pass_on(const Parser& parser) const {
    const auto& message = parser.get();
    const auto target = text_of(message.target());
    const auto method = text_of(message.method_string());
    if ((method != "GET" && method != "HEAD") || !target.starts_with('/')) return std::nullopt;
    HttpRequest request(method, Url(proxy_.upstream_.origin(), target));
    for (const auto& field : message) {
      const auto name = text_of(field.name_string());
      if (is_connection_field(name) || iequals(name, "Host") || iequals(name, "Content-Length")) continue;
      request.fields.add(name, text_of(field.value()));
    }
    return request;
  }

  Awaitable<Next> deal_with(HttpRequest request, bool first) {
    const auto started = Clock::now();
    FaultRecord record;
    record.connection = number_;
    record.method = request.method;
    record.target = request.url.target();
    record.number = proxy_.count(record.method + " " + record.target);
    record.range = std::string(request.fields.find("Range").value_or(""));
    const auto& options = proxy_.options_;
    const auto decision =
        decide_fault(options.profile, options.seed, {record.method, record.target, record.number});
    record.fault = decision.fault;
    record.delay = decision.delay + (first ? options.profile.connect_latency : milliseconds(0));
    auto next = Next::close;
    std::exception_ptr failure;
    try {
      next = co_await answer(std::move(request), decision, record);
    } catch (...) {
      failure = std::current_exception();
      record.end = FaultRecord::End::client_gone;
    }
    record.duration = std::chrono::duration_cast<milliseconds>(Clock::now() - started);
    if (options.log) options.log(record);
    if (failure) std::rethrow_exception(failure);
    co_return next;
  }

  Awaitable<Next> answer(HttpRequest request, const FaultDecision& decision, FaultRecord& record) {
    if (record.delay.count() > 0) co_await sleep_for(record.delay);
    if (decision.is(FaultKind::drop)) {
      record.end = FaultRecord::End::cut;
      co_return decision.variant % 2 == 0 ? Next::close : Next::reset;
    }
    if (decision.is(FaultKind::status)) {
      record.status = decision.fault->status;
      co_await send(make_status_response(*decision.fault, request.method != "HEAD"));
      co_return Next::another_request;
    }
    if (decision.is(FaultKind::whole)) request = without_range(request);
    const bool with_body = request.method != "HEAD";
    std::unique_ptr<HttpResponse> response;
    try {
      response = co_await proxy_.client_.send(std::move(request));
    } catch (const Error& error) {
      if (error.code() == Errc::cancelled) throw;
      record.failure = error.message();
    }
    if (!response) {
      record.end = FaultRecord::End::upstream_failed;
      co_return Next::close;
    }
    const auto next = co_await respond(*response, with_body, decision, record);
    co_return next;
  }

  static HttpRequest without_range(const HttpRequest& request) {
    HttpRequest whole(request.method, request.url);
    for (const auto& field : request.fields) {
      if (!iequals(field.name, "Range") && !iequals(field.name, "If-Range")) {
        whole.fields.add(field.name, field.value);
      }
    }
    return whole;
  }

  Awaitable<Next> respond(HttpResponse& response, bool with_body, const FaultDecision& decision,
                          FaultRecord& record) {
    const auto length = response.head().content_length();
    const auto head = make_faulty_head(response.head(), length, decision);
    record.status = head.status;
    if (decision.cut_after && *decision.cut_after < head.bytes.size()) {
      co_await send(std::string_view(head.bytes).substr(0, static_cast<std::size_t>(*decision.cut_after)));
      const auto how = co_await cut(record, decision.cut_resets);
      co_return how;
    }
    co_await send(head.bytes);
    if (!with_body) co_return head.close ? Next::close : Next::another_request;
    const auto next = co_await send_body(response, head, decision, record);
    co_return next;
  }

  /// Where the body is to be broken off, and how.
  struct Break {
    std::uint64_t at = UINT64_MAX;
    Next how = Next::close;
  };

  static Break find_break(const FaultyHead& head, std::uint64_t length, const FaultDecision& decision) {
    Break found;
    if (decision.cut_after) {
      found = {*decision.cut_after - head.bytes.size(), decision.cut_resets ? Next::reset : Next::close};
    }
    const bool cuts =
        decision.is(FaultKind::cut) || decision.is(FaultKind::reset) || decision.is(FaultKind::chunks);
    if (cuts && decision.at(length) < found.at) {
      found = {decision.at(length), decision.is(FaultKind::reset) ? Next::reset : Next::close};
    }
    return found;
  }

  Awaitable<Next> send_body(HttpResponse& response, const FaultyHead& head, const FaultDecision& decision,
                            FaultRecord& record) {
    constexpr std::uint64_t nominal_bytes = piece_bytes;  // where the registry does not say how long it is
    const auto length = response.head().content_length().value_or(nominal_bytes);
    const auto broken = find_break(head, length, decision);
    const auto at = decision.at(length);
    const bool stalls = decision.is(FaultKind::stall);
    if (decision.is(FaultKind::corrupt) || stalls) {
      record.at = at;
    } else if (broken.at < length) {
      record.at = broken.at;
    }
    std::vector<std::byte> buffer(piece_bytes);
    bool stalled = false;
    for (std::uint64_t sent = 0;;) {
      if (sent == broken.at) {
        const auto how = co_await cut(record, broken.how == Next::reset);
        co_return how;
      }
      if (stalls && !stalled && sent == at) {
        stalled = true;
        const bool gone = co_await stall(decision.fault->duration);
        if (gone) co_return client_left(record);
      }
      const auto stop = stalls && !stalled ? std::min(at, broken.at) : broken.at;
      const auto room = std::min(next_piece(), stop - sent);
      std::size_t got = 0;
      try {
        got = co_await response.read(std::span(buffer).first(static_cast<std::size_t>(room)));
      } catch (const Error& error) {
        if (error.code() == Errc::cancelled) throw;
        record.failure = error.message();
        record.end = FaultRecord::End::upstream_failed;
      }
      if (!record.failure.empty()) co_return Next::close;
      if (got == 0) break;
      if (decision.is(FaultKind::corrupt) && at >= sent && at < sent + got) {
        buffer[static_cast<std::size_t>(at - sent)] ^= std::byte{1U << 3U};
      }
      co_await send_piece(std::span(buffer).first(got), head.chunked);
      sent += got;
      record.body_bytes = sent;
    }
    if (head.chunked && decision.is(FaultKind::chunks)) {
      record.end = FaultRecord::End::cut;
      co_return Next::close;
    }
    if (head.chunked) co_await send("0\r\n\r\n");
    co_return head.close ? Next::close : Next::another_request;
  }

  std::uint64_t next_piece() const {
    std::uint64_t piece = piece_bytes;
    if (proxy_.bandwidth_.limited()) piece = std::min<std::uint64_t>(piece, proxy_.bandwidth_.piece());
    if (bandwidth_.limited()) piece = std::min<std::uint64_t>(piece, bandwidth_.piece());
    return piece;
  }

  Awaitable<> send_piece(std::span<const std::byte> bytes, bool chunked) {
    const auto now = Clock::now();
    const auto wait = std::max(proxy_.bandwidth_.take(bytes.size(), now), bandwidth_.take(bytes.size(), now));
    if (wait.count() > 0) co_await sleep_for(std::chrono::ceil<milliseconds>(wait));
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (!chunked) {
      co_await send(text);
      co_return;
    }
    std::array<char, 20> size{};
    std::snprintf(size.data(), size.size(), "%zx\r\n", bytes.size());
    std::string chunk(size.data());
    chunk.append(text).append("\r\n");
    co_await send(chunk);
  }

  Awaitable<> send(std::string_view bytes) {
    auto writing = write_all(socket_, bytes);
    co_await with_deadline(std::move(writing), write_timeout, "response");
  }

  /// True if the client has gone. `limit` 0 is until it does.
  Awaitable<bool> stall(milliseconds limit) {
    auto waiting = wait_readable(socket_);
    const Clock::duration longest =
        limit.count() > 0 ? Clock::duration(limit) : Clock::duration(stall_timeout);
    try {
      co_await with_deadline(std::move(waiting), longest, "stall");
    } catch (const Error& error) {
      if (error.code() != Errc::timed_out) throw;
      co_return limit.count() == 0;
    }
    co_return true;
  }

  static Next client_left(FaultRecord& record) {
    record.end = FaultRecord::End::client_gone;
    return Next::close;
  }

  // The byte of a reset is to be the same one each time, so what comes before it is let out, unless the
  // client takes nothing.
  Awaitable<Next> cut(FaultRecord& record, bool by_reset) {
    constexpr std::chrono::seconds patience{1};
    constexpr milliseconds pause{1};
    record.end = FaultRecord::End::cut;
    if (!by_reset) co_return Next::close;
    const auto until = Clock::now() + patience;
    while (unsent() > 0 && Clock::now() < until) co_await sleep_for(pause);
    record.undelivered = std::min(record.body_bytes, unsent());
    reset();
    co_return Next::reset;
  }

  /// Bytes that the kernel has yet to send.
  std::uint64_t unsent() {
    int bytes = 0;
    const bool known = ::ioctl(socket_.native_handle(), SIOCOUTQNSD, &bytes) == 0 && bytes > 0;
    return known ? static_cast<std::uint64_t>(bytes) : 0;
  }

  void reset() {
    boost::system::error_code ignored;
    socket_.set_option(asio::socket_base::linger(true, 0), ignored);
    socket_.close(ignored);
  }

  // Closing a socket with unread input would reset the connection, and the client lose what was sent.
  Awaitable<> hang_up() {
    constexpr std::chrono::seconds limit{1};
    boost::system::error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
    auto draining = drain();
    co_await with_deadline(std::move(draining), limit, "end");
  }

  Awaitable<> drain() {
    std::array<char, 4096> input{};
    for (;;) co_await read_some(socket_, input);  // until it ends, which throws
  }

  FaultProxy& proxy_;
  std::uint64_t number_;
  tcp::socket socket_;
  TokenBucket bandwidth_;
  std::string pending_;  // received, and not yet parsed
  bool keep_alive_ = true;
};

Awaitable<> serve_faulty_connection(FaultProxy& proxy, std::uint64_t number, tcp::socket socket,
                                    [[maybe_unused]] Permit permit) {
  FaultConnection connection(proxy, number, std::move(socket));
  try {
    co_await connection.run();
  } catch (...) {
    // Clients come and go; only the end of the proxy is for others to know.
    if (as_error(std::current_exception()).code() == Errc::cancelled) throw;
  }
}

}  // namespace lazypull
