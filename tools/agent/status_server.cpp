#include "tools/agent/status_server.hpp"

#include "engine/deadline.hpp"
#include "engine/error.hpp"
#include "engine/lock_wait.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <exception>
#include <optional>
#include <string_view>
#include <unistd.h>
#include <utility>

namespace lazypull {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t longest_head = 8192;
constexpr std::chrono::seconds patience{5};

Errc code_of(const boost::system::error_code& failure) {
  if (failure == boost::system::errc::permission_denied) return Errc::permission_denied;
  if (failure == boost::system::errc::address_in_use) return Errc::failed_precondition;
  return Errc::unavailable;
}

[[noreturn]] void refuse(const ListenAddress& address, const boost::system::error_code& failure) {
  throw Error(code_of(failure), "listen on " + address.str() + ": " + failure.message());
}

/// Removes the socket of a process that has died.
void make_room(const fs::path& path, const asio::any_io_executor& home) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) return;
  if (!S_ISSOCK(status.st_mode)) {
    throw Error(Errc::failed_precondition, "listen on " + path.string() + ": it is there and is no socket");
  }
  asio::local::stream_protocol::socket probe(home);
  boost::system::error_code failure;
  probe.connect(asio::local::stream_protocol::endpoint(path.string()), failure);
  if (failure != boost::system::errc::connection_refused) {
    throw Error(Errc::failed_precondition, "listen on " + path.string() + ": another process serves it");
  }
  ::unlink(path.c_str());
}

/// What is made meanwhile is for its owner only.
class PrivateFiles {
 public:
  PrivateFiles() : before_(::umask(0177)) {}
  ~PrivateFiles() { ::umask(before_); }
  PrivateFiles(const PrivateFiles&) = delete;
  PrivateFiles& operator=(const PrivateFiles&) = delete;

 private:
  ::mode_t before_;
};

asio::generic::stream_protocol::endpoint endpoint_of(const ListenAddress& address) {
  if (const auto* path = std::get_if<fs::path>(&address.where)) {
    return asio::local::stream_protocol::endpoint(path->string());
  }
  return std::get<asio::ip::tcp::endpoint>(address.where);
}

template <class Acceptor>
void listen(Acceptor& acceptor, const ListenAddress& address) {
  const auto endpoint = endpoint_of(address);
  boost::system::error_code failure;
  acceptor.open(endpoint.protocol(), failure);
  if (failure) refuse(address, failure);
  const bool tcp = std::holds_alternative<asio::ip::tcp::endpoint>(address.where);
  if (tcp) acceptor.set_option(asio::socket_base::reuse_address(true), failure);
  const PrivateFiles private_files;
  acceptor.bind(endpoint, failure);
  if (failure) refuse(address, failure);
  acceptor.listen(asio::socket_base::max_listen_connections, failure);
  if (failure) refuse(address, failure);
}

struct RequestLine {
  std::string_view method;
  std::string_view path;  ///< without the query
};

std::optional<RequestLine> parse_request_line(std::string_view head) {
  const auto line = head.substr(0, head.find("\r\n"));
  const auto first = line.find(' ');
  const auto second = first == std::string_view::npos ? first : line.find(' ', first + 1);
  if (second == std::string_view::npos || !line.substr(second + 1).starts_with("HTTP/1."))
    return std::nullopt;
  const auto target = line.substr(first + 1, second - first - 1);
  return RequestLine{line.substr(0, first), target.substr(0, target.find('?'))};
}

std::string message(std::string_view status, std::string_view type, std::string_view body, bool with_body) {
  std::string text = "HTTP/1.1 ";
  text.append(status).append("\r\nContent-Type: ").append(type);
  text.append("\r\nContent-Length: ").append(std::to_string(body.size()));
  text.append("\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n");
  if (with_body) text.append(body);
  return text;
}

std::string refusal(std::string_view status) {
  return message(status, "text/plain; charset=utf-8", std::string(status) + "\n", true);
}

}  // namespace

StatusServer::StatusServer(const asio::any_io_executor& home, ListenAddress address,
                           std::map<std::string, StatusPage> pages)
    : address_(std::move(address)), pages_(std::move(pages)), acceptor_(home) {
  if (const auto* path = std::get_if<fs::path>(&address_.where)) make_room(*path, home);
  listen(acceptor_, address_);
  if (auto* endpoint = std::get_if<asio::ip::tcp::endpoint>(&address_.where); endpoint != nullptr) {
    const auto bound = acceptor_.local_endpoint();
    asio::ip::tcp::endpoint real;
    real.resize(bound.size());
    std::memcpy(real.data(), bound.data(), bound.size());
    *endpoint = real;
  }
}

StatusServer::~StatusServer() {
  if (const auto* path = std::get_if<fs::path>(&address_.where)) ::unlink(path->c_str());
}

Awaitable<> StatusServer::serve() {
  co_await with_task_group([this](TaskGroup& group) -> Awaitable<> { co_await accept_all(group); });
}

Awaitable<> StatusServer::accept_all(TaskGroup& group) {
  for (;;) {
    auto place = co_await connections_.acquire();
    Socket socket(acceptor_.get_executor());
    const auto [failure] = co_await acceptor_.async_accept(socket, asio::as_tuple(asio::use_awaitable));
    const auto state = co_await asio::this_coro::cancellation_state;
    if (state.cancelled() != asio::cancellation_type::none) {
      throw Error(Errc::cancelled, "serving " + address_.str() + " was cancelled");
    }
    if (failure) {
      // Out of descriptors, or a client that has gone again.
      co_await sleep_for(std::chrono::milliseconds(100));
      continue;
    }
    group.spawn(answer(std::move(socket), std::move(place)));
  }
}

Awaitable<> StatusServer::answer(Socket socket, Permit place) {
  // A client that breaks off is nobody's failure but its own.
  try {
    std::string head;
    auto buffer = asio::dynamic_buffer(head, longest_head);
    auto reading = asio::async_read_until(socket, buffer, "\r\n\r\n", asio::use_awaitable);
    co_await with_deadline(std::move(reading), patience, "request");
    const auto text = response(head);
    auto writing = asio::async_write(socket, asio::buffer(text), asio::use_awaitable);
    co_await with_deadline(std::move(writing), patience, "response");
    boost::system::error_code ignored;
    socket.shutdown(Socket::shutdown_send, ignored);
  } catch (const std::exception&) {
    place.release();
  }
}

std::string StatusServer::response(std::string_view head) const {
  const auto request = parse_request_line(head);
  if (!request) return refusal("400 Bad Request");
  if (request->method != "GET" && request->method != "HEAD") return refusal("405 Method Not Allowed");
  const auto page = pages_.find(std::string(request->path));
  if (page == pages_.end()) return refusal("404 Not Found");
  return message("200 OK", page->second.content_type, page->second.text(), request->method == "GET");
}

}  // namespace lazypull
