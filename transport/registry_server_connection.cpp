#include "transport/registry_server_connection.hpp"

#include "engine/deadline.hpp"
#include "transport/registry_server_answer.hpp"
#include "transport/registry_server_log.hpp"
#include "transport/timed_socket.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/status.hpp>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace lazypull {

namespace http = boost::beast::http;
using asio::ip::tcp;

namespace {

constexpr std::uint32_t max_head_bytes = 16U << 10U;
// Room for the largest head plus what is pipelined behind it.
constexpr std::size_t input_bytes = max_head_bytes + (8U << 10U);
constexpr std::size_t file_step_bytes = 4U << 20U;
constexpr std::size_t max_lingering_bytes = 64U << 10U;
constexpr std::chrono::seconds linger_timeout{1};

[[noreturn]] void throw_errno(int failure) {
  throw_socket_error({failure, boost::system::system_category()});
}

bool would_block(int failure) noexcept {
  return failure == EAGAIN || failure == EWOULDBLOCK || failure == EINTR;
}

std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::array<char, 64> text{};
  const auto size = std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return std::string(text.data(), size);
}

std::string serialise(const ServedResponse& response, const ServedRequest& request) {
  const auto reason = http::obsolete_reason(http::int_to_status(static_cast<unsigned>(response.status)));
  std::string head =
      "HTTP/1.1 " + std::to_string(response.status) + " " + std::string(reason.data(), reason.size());
  head += "\r\nDate: " + http_date() + "\r\nDocker-Distribution-Api-Version: registry/2.0\r\n";
  for (const auto& field : response.fields) head += field.name + ": " + field.value + "\r\n";
  if (response.status != 304) {
    head += "Content-Length: " + std::to_string(response.blob_bytes.value_or(response.text.size())) + "\r\n";
  }
  if (response.close) {
    head += "Connection: close\r\n";
  } else if (request.version == 10) {
    head += "Connection: keep-alive\r\n";
  }
  return head + "\r\n";
}

using Parser = http::request_parser<http::empty_body>;

ServedRequest read_head(const Parser& parser) {
  const auto& message = parser.get();
  ServedRequest request;
  const auto method = message.method_string();
  const auto target = message.target();
  request.method.assign(method.data(), method.size());
  request.target.assign(target.data(), target.size());
  for (const auto& field : message) {
    const auto name = field.name_string();
    const auto value = field.value();
    request.fields.add(std::string(name.data(), name.size()), std::string(value.data(), value.size()));
  }
  request.version = static_cast<int>(message.version());
  request.keep_alive = parser.keep_alive();
  request.has_body = parser.chunked() || parser.content_length().value_or(0) > 0;
  return request;
}

/// A request, or what to say to one that is no good before hanging up.
struct Incoming {
  ServedRequest request;
  std::optional<ServedResponse> refusal;
};

Incoming refuse(int status, std::string_view message) {
  Incoming incoming;
  incoming.request.keep_alive = false;
  incoming.refusal = answer_error(status, "UNSUPPORTED", message);
  return incoming;
}

Incoming check_head(const Parser& parser) {
  const auto version = parser.get().version();
  if (version != 10 && version != 11) return refuse(505, "only HTTP/1.1 and 1.0 are spoken");
  Incoming incoming{read_head(parser), std::nullopt};
  const auto hosts = incoming.request.fields.all("Host").size();
  if (hosts > 1 || (hosts == 0 && version == 11)) return refuse(400, "exactly one Host is required");
  return incoming;
}

Awaitable<> wait_for(tcp::socket& socket, tcp::socket::wait_type what) {
  co_await socket.async_wait(what, asio::use_awaitable);
}

/// What came of one system call, or of several.
struct Progress {
  std::uint64_t bytes = 0;
  bool would_block = false;
};

// Unlike send, sendfile cannot be told to leave the signal out. The thread is the pool's, so it can be
// masked.
void block_broken_pipe_signal() {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

// On a thread of the pool, because the file may have to be read from the disk.
Progress send_file(int socket, int file, std::uint64_t from, std::uint64_t length) {
  block_broken_pipe_signal();
  auto offset = static_cast<off_t>(from);
  Progress progress;
  const auto step = std::min<std::uint64_t>(length, file_step_bytes);
  while (progress.bytes < step && !progress.would_block) {
    const auto sent = ::sendfile(socket, file, &offset, static_cast<std::size_t>(step - progress.bytes));
    if (sent > 0) {
      progress.bytes += static_cast<std::uint64_t>(sent);
    } else if (sent == 0) {
      throw Error(Errc::size_mismatch, "the blob has been cut short");
    } else if (would_block(errno)) {
      progress.would_block = true;
    } else {
      throw_errno(errno);
    }
  }
  return progress;
}

class ServedConnection {
 public:
  ServedConnection(const ServedLayouts& layouts, const RegistryServerOptions& options, BlockingPool& disk,
                   tcp::socket socket)
      : layouts_(layouts), options_(options), disk_(disk), socket_(std::move(socket)) {
    boost::system::error_code ignored;
    socket_.native_non_blocking(true, ignored);
    socket_.set_option(tcp::no_delay(true), ignored);
    const auto peer = socket_.remote_endpoint(ignored);
    client_ = ignored ? "-" : peer.address().to_string();
  }

  Awaitable<> run() {
    for (bool again = true; again;) {
      const auto incoming = co_await receive();
      if (!incoming) co_return;
      auto answered = answer(*incoming);
      again = co_await with_deadline(std::move(answered), options_.response_timeout, "response");
    }
    co_await linger();
  }

 private:
  enum class Input { more, closed, late };

  // Nothing if the client has gone, or has said nothing for too long.
  Awaitable<std::optional<Incoming>> receive() {
    if (begin_ == end_) {
      const auto input = co_await fill(options_.idle_timeout);
      if (input != Input::more) co_return std::nullopt;
    }
    Parser parser;
    parser.header_limit(max_head_bytes);
    parser.body_limit(boost::none);  // no body is ever read
    const auto until = Clock::now() + options_.head_timeout;
    for (;;) {
      skip_empty_lines();
      boost::system::error_code failure = http::error::need_more;
      if (begin_ != end_) begin_ += parser.put(asio::buffer(&input_[begin_], end_ - begin_), failure);
      if (parser.is_header_done()) co_return check_head(parser);
      if (failure == http::error::header_limit || end_ - begin_ > max_head_bytes) {
        co_return refuse(431, "the head is longer than 16 KiB");
      }
      if (failure && failure != http::error::need_more) co_return refuse(400, "malformed request");
      const auto input = co_await fill(until - Clock::now());
      if (input == Input::closed) co_return std::nullopt;
      if (input == Input::late) co_return refuse(408, "the head took too long");
    }
  }

  // RFC 9112, section 2.2: an empty line before a request is to be ignored.
  void skip_empty_lines() noexcept {
    while (end_ - begin_ >= 2 && input_[begin_] == '\r' && input_[begin_ + 1] == '\n') begin_ += 2;
  }

  Awaitable<Input> fill(Clock::duration limit) {
    if (begin_ > 0) {
      std::memmove(input_.data(), &input_[begin_], end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
    }
    for (;;) {
      const auto got = ::recv(socket_.native_handle(), input_.data() + end_, input_.size() - end_, 0);
      if (got > 0) {
        end_ += static_cast<std::size_t>(got);
        co_return Input::more;
      }
      if (got == 0 || !would_block(errno)) co_return Input::closed;
      const bool readable = co_await wait_readable(limit);
      if (!readable) co_return Input::late;
    }
  }

  Awaitable<bool> wait_readable(Clock::duration limit) {
    auto waiting = wait_for(socket_, tcp::socket::wait_read);
    try {
      co_await with_deadline(std::move(waiting), limit, "request");
      co_return true;
    } catch (const Error& error) {
      if (error.code() != Errc::timed_out) throw;
      co_return false;
    }
  }

  Awaitable<> wait_writable() {
    auto waiting = wait_for(socket_, tcp::socket::wait_write);
    co_await with_deadline(std::move(waiting), options_.stall_timeout, "response");
  }

  // True if another request may follow on this connection.
  Awaitable<bool> answer(const Incoming& incoming) {
    const auto& request = incoming.request;
    ServedResponse response;
    std::optional<OpenBlob> blob;
    if (incoming.refusal) {
      response = *incoming.refusal;
    } else {
      auto routed = route(layouts_, request);
      if (auto* wanted = std::get_if<WantedBlob>(&routed)) {
        auto open = [this, wanted] { return layouts_.open(wanted->digest); };
        blob = co_await disk_.run(std::move(open));
        response = blob ? answer_blob(request, *wanted, blob->size) : answer_missing(*wanted);
      } else {
        response = std::get<ServedResponse>(std::move(routed));
      }
    }
    // A body is not read, so what follows it cannot be found.
    response.close = !request.keep_alive || request.has_body;
    const int file = blob ? blob->file.descriptor() : -1;
    co_await respond(request, response, file);
    co_return !response.close;
  }

  Awaitable<> respond(const ServedRequest& request, const ServedResponse& response, int file) {
    body_sent_ = 0;
    std::exception_ptr failure;
    try {
      co_await send_response(request, response, file);
    } catch (...) {
      failure = std::current_exception();
    }
    if (options_.access_log) log(request, response.status);
    if (failure) std::rethrow_exception(failure);
  }

  Awaitable<> send_response(const ServedRequest& request, const ServedResponse& response, int file) {
    const bool with_body = request.method != "HEAD";
    auto bytes = serialise(response, request);
    const auto head_bytes = bytes.size();
    if (with_body) bytes += response.text;
    const auto rest = with_body ? response.blob_bytes.value_or(0) : 0;
    co_await send(bytes, rest > 0 ? MSG_MORE : 0);
    body_sent_ = bytes.size() - head_bytes;
    if (rest > 0) co_await send_blob(file, response.first, rest);
  }

  Awaitable<> send(std::string_view bytes, int flags) {
    while (!bytes.empty()) {
      const auto sent = ::send(socket_.native_handle(), bytes.data(), bytes.size(), flags | MSG_NOSIGNAL);
      if (sent >= 0) {
        bytes.remove_prefix(static_cast<std::size_t>(sent));
        continue;
      }
      if (!would_block(errno)) throw_errno(errno);
      co_await wait_writable();
    }
  }

  Awaitable<> send_blob(int file, std::uint64_t from, std::uint64_t length) {
    const auto end = from + length;
    while (from < end) {
      auto step = [socket = socket_.native_handle(), file, from, end] {
        return send_file(socket, file, from, end - from);
      };
      const auto progress = co_await disk_.run(std::move(step));
      from += progress.bytes;
      body_sent_ += progress.bytes;
      if (progress.would_block) co_await wait_writable();
    }
  }

  void log(const ServedRequest& request, int status) const {
    AccessRecord record;
    record.client = client_;
    record.time = std::chrono::system_clock::now();
    record.method = request.method;
    record.target = request.target;
    record.version = request.version;
    record.status = status;
    record.bytes = body_sent_;
    record.referer = request.field("Referer");
    record.user_agent = request.field("User-Agent");
    options_.access_log(access_log_line(record));
  }

  // Closing a socket with unread input would reset the connection, and the client lose the last response.
  Awaitable<> linger() {
    boost::system::error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
    const auto until = Clock::now() + linger_timeout;
    for (std::size_t drained = 0; drained < max_lingering_bytes; drained += end_) {
      begin_ = end_ = 0;
      const auto input = co_await fill(until - Clock::now());
      if (input != Input::more) co_return;
    }
  }

  const ServedLayouts& layouts_;
  const RegistryServerOptions& options_;
  BlockingPool& disk_;
  tcp::socket socket_;
  std::string client_;
  std::string input_ = std::string(input_bytes, '\0');
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::uint64_t body_sent_ = 0;
};

}  // namespace

Awaitable<> serve_connection(const ServedLayouts& layouts, const RegistryServerOptions& options,
                             BlockingPool& disk, tcp::socket socket, [[maybe_unused]] Permit permit) {
  ServedConnection connection(layouts, options, disk, std::move(socket));
  try {
    co_await connection.run();
  } catch (...) {
    // Clients come and go; only the end of the server is for others to know.
    if (as_error(std::current_exception()).code() == Errc::cancelled) throw;
  }
}

}  // namespace lazypull
