#include "tools/faults/proxy.hpp"

#include "engine/error.hpp"
#include "tools/faults/connection.hpp"
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
/// So many URLs are told apart; it is a tool for tests, but must not grow for ever.
constexpr std::size_t max_counts = 1'000'000;

std::string display(const tcp::endpoint& address) {
  const auto host = address.address().to_string();
  return (address.address().is_v6() ? "[" + host + "]" : host) + ":" + std::to_string(address.port());
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

Url parse_upstream(const std::string& text) {
  return Url::parse(text.find("://") == std::string::npos ? "http://" + text : text);
}

HttpOptions client_options() {
  HttpOptions options;
  options.max_connections_per_host = 0;
  options.least_speed = 0;  // how fast it goes is the client's business, and ours
  options.user_agent = "lazypull-faults";
  return options;
}

}  // namespace

FaultProxy::FaultProxy(const asio::any_io_executor& home, FaultProxyOptions options)
    : options_(std::move(options)),
      upstream_(parse_upstream(options_.upstream)),
      client_(home, client_options()),
      acceptor_(home),
      connections_(options_.max_connections),
      bandwidth_(options_.profile.bandwidth, Clock::now()) {
  listen(acceptor_, options_.address);
  address_ = acceptor_.local_endpoint();
}

FaultProxy::~FaultProxy() = default;

std::string FaultProxy::url() const {
  return "http://" + display(address_);
}

Awaitable<> FaultProxy::serve() {
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

void FaultProxy::stop() {
  stopping_ = true;
  if (group_ != nullptr) group_->cancel();
}

void FaultProxy::use(FaultProfile profile, std::uint64_t seed) {
  options_.profile = std::move(profile);
  options_.seed = seed;
  counts_.clear();
  bandwidth_.set_rate(options_.profile.bandwidth, Clock::now());
}

std::uint64_t FaultProxy::count(const std::string& request) {
  if (counts_.size() >= max_counts) counts_.clear();
  return ++counts_[request];
}

Awaitable<> FaultProxy::accept_all(TaskGroup& group) {
  group_ = &group;
  if (stopping_) group.cancel();
  for (;;) {
    auto permit = co_await connections_.acquire();
    auto socket = co_await accept();
    group.spawn(serve_faulty_connection(*this, ++accepted_, std::move(socket), std::move(permit)));
  }
}

// What is wrong with one client, or passes, does not end the proxy.
Awaitable<tcp::socket> FaultProxy::accept() {
  for (;;) {
    auto [failure, socket] = co_await acceptor_.async_accept(asio::as_tuple(asio::use_awaitable));
    if (!failure) co_return std::move(socket);
    if (failure == asio::error::operation_aborted) throw Error(Errc::cancelled, "cancelled");
    asio::steady_timer pause(acceptor_.get_executor(), pause_without_descriptors);
    co_await pause.async_wait(asio::use_awaitable);
  }
}

}  // namespace lazypull
