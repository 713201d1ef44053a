#include "transport/host_lookup.hpp"

#include "engine/error.hpp"
#include "transport/timed_socket.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <sys/socket.h>
#include <system_error>

#include <cstring>
#include <memory>
#include <mutex>
#include <netdb.h>
#include <thread>

namespace lazypull {

using asio::ip::tcp;

namespace {

constexpr std::size_t max_addresses = 32;

// Shared by the waiting coroutine and the thread, which may be the last to let go of it: so nothing in here
// belongs to the home context. While the mutex is held and the lookup is not abandoned, that context exists.
struct Lookup {
  explicit Lookup(asio::any_io_executor executor) : home(std::move(executor)) {}

  std::mutex mutex;
  bool abandoned = false;
  asio::any_io_executor home;
  // Written by the thread before it posts, read at home afterwards.
  int failure = 0;
  int system_error = 0;
  std::vector<tcp::endpoint> endpoints;
  // Home only.
  bool done = false;
  asio::steady_timer* landed = nullptr;
};

std::vector<tcp::endpoint> to_endpoints(const addrinfo* list, std::uint16_t port) {
  std::vector<tcp::endpoint> endpoints;
  for (; list != nullptr && endpoints.size() < max_addresses; list = list->ai_next) {
    tcp::endpoint endpoint;
    if (list->ai_addrlen > endpoint.capacity()) continue;
    if (list->ai_family != AF_INET && list->ai_family != AF_INET6) continue;
    std::memcpy(endpoint.data(), list->ai_addr, list->ai_addrlen);
    endpoint.resize(list->ai_addrlen);
    endpoint.port(port);
    endpoints.push_back(endpoint);
  }
  return endpoints;
}

void resolve_on_thread(const std::shared_ptr<Lookup>& lookup, const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* list = nullptr;
  const int failure = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
  const int system_error = failure == EAI_SYSTEM ? errno : 0;
  auto endpoints = failure == 0 ? to_endpoints(list, port) : std::vector<tcp::endpoint>();
  if (list != nullptr) ::freeaddrinfo(list);
  const std::lock_guard lock(lookup->mutex);
  if (lookup->abandoned) return;
  lookup->failure = failure;
  lookup->system_error = system_error;
  lookup->endpoints = std::move(endpoints);
  asio::post(lookup->home, [lookup] {
    lookup->done = true;
    if (lookup->landed != nullptr) lookup->landed->cancel();
  });
}

// Marks the lookup as abandoned however the waiting coroutine ends.
struct Waiting {
  std::shared_ptr<Lookup> lookup;
  ~Waiting() {
    lookup->landed = nullptr;
    const std::lock_guard lock(lookup->mutex);
    lookup->abandoned = true;
  }
};

void check(const Lookup& lookup, const std::string& what) {
  if (lookup.failure == 0 && !lookup.endpoints.empty()) return;
  const std::string text = lookup.failure == EAI_SYSTEM ? std::strerror(lookup.system_error)
                           : lookup.failure == 0        ? "no address"
                                                        : ::gai_strerror(lookup.failure);
  const bool temporary = lookup.failure == EAI_AGAIN || lookup.failure == EAI_SYSTEM;
  throw Error(temporary ? Errc::unavailable : Errc::host_not_found, what + ": " + text);
}

}  // namespace

Awaitable<std::vector<tcp::endpoint>> look_up_host(Origin origin, Clock::time_point until) {
  boost::system::error_code not_an_address;
  const auto address = asio::ip::make_address(origin.host, not_an_address);
  if (!not_an_address) co_return std::vector<tcp::endpoint>(1, tcp::endpoint(address, origin.port));
  const std::string what = "resolve host " + origin.host;
  const auto executor = co_await asio::this_coro::executor;
  asio::steady_timer landed(executor, until);
  const Waiting waiting{std::make_shared<Lookup>(executor)};
  auto& lookup = *waiting.lookup;
  lookup.landed = &landed;
  try {
    std::thread(resolve_on_thread, waiting.lookup, origin.host, origin.port).detach();
  } catch (const std::system_error& failure) {
    throw Error(Errc::unavailable, what + ": " + failure.what());
  }
  while (!lookup.done) {
    co_await landed.async_wait(asio::as_tuple(asio::use_awaitable));
    const auto state = co_await asio::this_coro::cancellation_state;
    if (lookup.done) break;
    if (state.cancelled() != asio::cancellation_type::none)
      throw Error(Errc::cancelled, what + ": cancelled");
    if (Clock::now() >= until) throw Error(Errc::timed_out, what + ": timed out");
  }
  check(lookup, what);
  co_return std::move(lookup.endpoints);
}

}  // namespace lazypull
