#pragma once

#include "transport/byte_stream.hpp"
#include "transport/http_message.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace lazypull {

inline constexpr std::size_t max_response_head_bytes = 64U << 10U;

/// The request as it goes over the wire (RFC 9112). Throws Error{bad_response} for a field value that
/// contains control characters: some come from servers, such as tokens.
/// With a `proxy` the request is to that, which passes it on: the URL is then in absolute form, and the
/// proxy's credentials come with it.
std::string serialise(const HttpRequest& request, std::string_view user_agent, const Proxy* proxy = nullptr);

/// One HTTP/1.1 connection: a request, its response's head, its body to the end, and the next request. After
/// an error, or with a body left unread, it cannot be used again. Errors do not name the request.
class HttpConnection {
 public:
  explicit HttpConnection(std::unique_ptr<ByteStream> stream);
  ~HttpConnection();

  /// Sends `request` and reads the response's head; interim responses (1xx) are skipped. Throws
  /// Error{unavailable} if the connection ends before the whole head has come, {bad_response} for a malformed
  /// one or one of more than 64 KiB.
  Awaitable<HttpHead> exchange(std::string request, bool is_head, Clock::time_point until);
  /// The next bytes of the body, 0 at its end. Throws Error{bad_response} where the connection ends before
  /// it.
  Awaitable<std::size_t> read_body(std::span<std::byte> buffer, Clock::time_point until);

  /// True once any byte of a response to the current request has come.
  bool heard() const noexcept { return heard_; }
  bool body_complete() const noexcept { return framing_ == Framing::complete; }
  /// True if the body has been read and the server keeps the connection open.
  bool reusable() const noexcept { return body_complete() && keep_alive_ && begin_ == end_; }
  bool idle_and_open() noexcept { return stream_->idle_and_open(); }

 private:
  enum class Framing { complete, length, chunked, until_close };
  struct Parser;

  Awaitable<> fill(Clock::time_point until);
  Awaitable<> parse_head(bool is_head, Clock::time_point until);
  void choose_framing(bool is_head);
  Awaitable<std::size_t> read_raw(std::span<std::byte> buffer, Clock::time_point until);
  Awaitable<std::size_t> read_chunked(std::span<std::byte> buffer, Clock::time_point until);

  std::unique_ptr<ByteStream> stream_;
  std::unique_ptr<Parser> parser_;
  std::vector<std::byte> input_;  // received and not yet consumed: [begin_, end_)
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  Framing framing_ = Framing::complete;
  std::uint64_t length_ = 0;     // of the body, if that is its framing
  std::uint64_t body_read_ = 0;  // bytes of the body handed out
  bool keep_alive_ = false;
  bool heard_ = false;
};

}  // namespace lazypull
