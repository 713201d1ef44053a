#include "transport/registry_server.hpp"

#include "engine/error.hpp"
#include "transport/registry_server_connection.hpp"
#include "transport/timed_socket.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/socket_base.hpp>
#include <boost/asio/steady_timer.hpp>

#include <exception>
#include <utility>

namespace lazypull {

using asio::ip::tcp;

namespace {

constexpr std::chrono::milliseconds pause_without_descriptors{100};

std::string display(const tcp::endpoint& address) {
  const auto host = address.address().to_string();
  const auto bracketed = address.address().is_v6() ? "[" + host + "]" : host;
  return bracketed + ":" + std::to_string(address.port());
}

void listen(tcp::acceptor& acceptor, const tcp::endpoint& address) {
  boost::system::error_code failure;
  acceptor.open(address.protocol(), failure);
  if (!failure) acceptor.set_option(tcp::acceptor::reuse_address(true), failure);
  if (!failure) acceptor.bind(address, failure);
  if (!failure) acceptor.listen(asio::socket_base::max_listen_connections, failure);
  if (!failure) return;
  const bool denied = failure == asio::error::access_denied;
  throw Error(denied ? Errc::permission_denied : Errc::unavailable,
              "listen on " + display(address) + ": " + error_text(failure));
}

}  // namespace

RegistryServer::RegistryServer(const asio::any_io_executor& home, ServedLayouts layouts,
                               RegistryServerOptions options)
    : layouts_(std::move(layouts)),
      options_(std::move(options)),
      acceptor_(home),
      connections_(options_.max_connections) {
  listen(acceptor_, options_.address);
  address_ = acceptor_.local_endpoint();
}

std::string RegistryServer::url() const {
  return "http://" + display(address_);
}

Awaitable<> RegistryServer::serve() {
  auto accepting = [this](TaskGroup& group) { return accept_all(group); };
  std::function<Awaitable<>(TaskGroup&)> body(std::move(accepting));
  std::exception_ptr end;
  try {
    co_await with_task_group(std::move(body));
  } catch (...) {
    end = std::current_exception();
  }
  group_ = nullptr;
  if (end && !stopping_) throw as_error(end);
}

void RegistryServer::stop() {
  stopping_ = true;
  if (group_ != nullptr) group_->cancel();
}

Awaitable<> RegistryServer::accept_all(TaskGroup& group) {
  group_ = &group;
  if (stopping_) group.cancel();
  for (;;) {
    auto permit = co_await connections_.acquire();
    auto socket = co_await accept();
    group.spawn(serve_connection(layouts_, options_, disk_, std::move(socket), std::move(permit)));
  }
}

// What is wrong with one client, or passes, such as a lack of descriptors, does not end the server.
Awaitable<tcp::socket> RegistryServer::accept() {
  for (;;) {
    auto [failure, socket] = co_await acceptor_.async_accept(asio::as_tuple(asio::use_awaitable));
    if (!failure) co_return std::move(socket);
    if (failure == asio::error::operation_aborted) throw Error(Errc::cancelled, "cancelled");
    asio::steady_timer pause(acceptor_.get_executor(), pause_without_descriptors);
    co_await pause.async_wait(asio::use_awaitable);
  }
}

}  // namespace lazypull
