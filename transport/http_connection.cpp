#include "transport/http_connection.hpp"

#include "engine/error.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>

#include <algorithm>
#include <cstring>

namespace lazypull {

namespace http = boost::beast::http;

namespace {

// Room for the largest head plus what comes behind it.
constexpr std::size_t input_bytes = max_response_head_bytes + (8U << 10U);
constexpr int max_interim_responses = 10;

void append_line(std::string& out, std::string_view name, std::string_view value) {
  const auto control = [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
  };
  if (std::any_of(value.begin(), value.end(), control)) {
    throw Error(Errc::bad_response, "header " + std::string(name) + " would contain control characters");
  }
  out.append(name).append(": ").append(value).append("\r\n");
}

}  // namespace

std::string serialise(const HttpRequest& request, std::string_view user_agent, const Proxy* proxy) {
  const auto target = proxy != nullptr ? request.url.str() : request.url.target();
  std::string out = request.method + " " + target + " HTTP/1.1\r\n";
  append_line(out, "Host", request.url.origin().authority());
  if (!request.fields.find("User-Agent")) append_line(out, "User-Agent", user_agent);
  if (proxy != nullptr && !proxy->authorization.empty()) {
    append_line(out, "Proxy-Authorization", proxy->authorization);
  }
  for (const auto& field : request.fields) append_line(out, field.name, field.value);
  if (!request.body.empty()) append_line(out, "Content-Length", std::to_string(request.body.size()));
  return out + "\r\n" + request.body;
}

struct HttpConnection::Parser {
  Parser() {
    parser.header_limit(max_response_head_bytes);
    parser.body_limit(boost::none);  // bounded by whoever reads it
  }
  http::response_parser<http::buffer_body> parser;
};

HttpConnection::HttpConnection(std::unique_ptr<ByteStream> stream) : stream_(std::move(stream)) {}
HttpConnection::~HttpConnection() = default;

// Appends to the input; at least one byte, or else an error.
Awaitable<> HttpConnection::fill(Clock::time_point until) {
  if (input_.empty()) input_.resize(input_bytes);
  if (begin_ > 0) {
    std::memmove(input_.data(), input_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (end_ == input_.size())
    throw Error(Errc::bad_response, "malformed HTTP response: an element is too long");
  const auto got = co_await stream_->read_some(std::span(input_).subspan(end_), until);
  if (got > 0) {
    heard_ = true;
    end_ += got;
    co_return;
  }
  if (!heard_) throw Error(Errc::unavailable, "connection closed before a response");
  if (framing_ == Framing::chunked) {
    throw Error(Errc::bad_response, "connection closed in the middle of a chunked body, after " +
                                        std::to_string(body_read_) + " bytes");
  }
  throw Error(Errc::unavailable, "connection closed in the middle of the response's head");
}

Awaitable<> HttpConnection::parse_head(bool is_head, Clock::time_point until) {
  parser_ = std::make_unique<Parser>();
  auto& parser = parser_->parser;
  parser.skip(is_head);
  while (!parser.is_header_done()) {
    boost::system::error_code failure = http::error::need_more;
    if (begin_ != end_) {
      begin_ += parser.put(asio::buffer(input_.data() + begin_, end_ - begin_), failure);
    }
    if (failure == http::error::header_limit) {
      throw Error(Errc::bad_response, "the response's head is longer than 64 KiB");
    }
    if (failure && failure != http::error::need_more) {
      throw Error(Errc::bad_response, "malformed HTTP response: " + failure.message());
    }
    if (!parser.is_header_done()) co_await fill(until);
  }
}

void HttpConnection::choose_framing(bool is_head) {
  auto& parser = parser_->parser;
  const auto status = parser.get().result_int();
  keep_alive_ = parser.keep_alive();
  length_ = 0;
  if (is_head || status == 204 || status == 304) {
    framing_ = Framing::complete;
  } else if (parser.chunked()) {
    framing_ = Framing::chunked;
  } else if (const auto length = parser.content_length()) {
    length_ = *length;
    framing_ = length_ == 0 ? Framing::complete : Framing::length;
  } else {
    framing_ = Framing::until_close;
    keep_alive_ = false;
  }
}

Awaitable<HttpHead> HttpConnection::exchange(std::string request, bool is_head, Clock::time_point until) {
  heard_ = false;
  body_read_ = 0;
  keep_alive_ = false;
  framing_ = Framing::until_close;
  const auto bytes = std::as_bytes(std::span(request));
  co_await stream_->write(bytes, until);
  for (int interim = 0;; ++interim) {
    if (interim > max_interim_responses) throw Error(Errc::bad_response, "too many interim responses");
    co_await parse_head(is_head, until);
    const auto status = parser_->parser.get().result_int();
    if (status == 101) throw Error(Errc::bad_response, "unexpected 101 Switching Protocols");
    if (status >= 200) break;
  }
  HttpHead head;
  const auto& message = parser_->parser.get();
  head.status = static_cast<int>(message.result_int());
  for (const auto& field : message) {
    const auto name = field.name_string();
    const auto value = field.value();
    head.fields.add(std::string(name.data(), name.size()), std::string(value.data(), value.size()));
  }
  choose_framing(is_head);
  co_return head;
}

Awaitable<std::size_t> HttpConnection::read_body(std::span<std::byte> buffer, Clock::time_point until) {
  std::size_t got = 0;
  if (framing_ == Framing::complete || buffer.empty()) co_return 0;
  if (framing_ == Framing::chunked) {
    got = co_await read_chunked(buffer, until);
  } else {
    got = co_await read_raw(buffer, until);
  }
  body_read_ += got;
  if (framing_ == Framing::length && body_read_ == length_) framing_ = Framing::complete;
  co_return got;
}

// Straight into the caller's buffer, once what came along with the head is used up.
Awaitable<std::size_t> HttpConnection::read_raw(std::span<std::byte> buffer, Clock::time_point until) {
  if (framing_ == Framing::length) {
    buffer =
        buffer.first(static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), length_ - body_read_)));
  }
  if (begin_ != end_) {
    const auto count = std::min(buffer.size(), end_ - begin_);
    std::memcpy(buffer.data(), input_.data() + begin_, count);
    begin_ += count;
    co_return count;
  }
  const auto got = co_await stream_->read_some(buffer, until);
  if (got == 0 && framing_ == Framing::length) {
    throw Error(Errc::bad_response, "connection closed after " + std::to_string(body_read_) + " of " +
                                        std::to_string(length_) + " bytes");
  }
  if (got == 0) framing_ = Framing::complete;
  co_return got;
}

Awaitable<std::size_t> HttpConnection::read_chunked(std::span<std::byte> buffer, Clock::time_point until) {
  auto& parser = parser_->parser;
  auto& body = parser.get().body();
  body.data = buffer.data();
  body.size = buffer.size();
  body.more = true;
  while (body.size == buffer.size() && !parser.is_done()) {
    boost::system::error_code failure = http::error::need_more;
    if (begin_ != end_) {
      begin_ += parser.put(asio::buffer(input_.data() + begin_, end_ - begin_), failure);
    }
    const bool goes_on = failure == http::error::need_more || failure == http::error::need_buffer;
    if (failure && !goes_on) {
      throw Error(Errc::bad_response, "malformed chunked body: " + failure.message());
    }
    const bool starved = failure == http::error::need_more && body.size == buffer.size();
    if (starved && !parser.is_done()) co_await fill(until);
  }
  if (parser.is_done()) framing_ = Framing::complete;
  co_return buffer.size() - body.size;
}

}  // namespace lazypull
