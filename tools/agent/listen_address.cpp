#include "tools/agent/listen_address.hpp"

#include "engine/error.hpp"
#include "transport/http_message.hpp"

#include <sys/un.h>

#include <optional>
#include <string_view>

namespace lazypull {

namespace {

namespace asio = boost::asio;

std::optional<std::string> socket_path(std::string_view text) {
  constexpr std::string_view scheme = "unix:";
  if (!text.starts_with(scheme)) {
    return text.starts_with('/') ? std::optional<std::string>(text) : std::nullopt;
  }
  text.remove_prefix(scheme.size());
  if (text.starts_with("///")) text.remove_prefix(2);
  return std::string(text);
}

std::optional<asio::ip::tcp::endpoint> tcp_endpoint(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto port = parse_decimal(text.substr(colon + 1));
  auto host = text.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  boost::system::error_code failure;
  const auto address = asio::ip::make_address(std::string(host), failure);
  if (failure || !port || *port > 65535 || address.is_v6() != bracketed) return std::nullopt;
  return asio::ip::tcp::endpoint(address, static_cast<asio::ip::port_type>(*port));
}

}  // namespace

bool ListenAddress::is_local() const {
  const auto* endpoint = std::get_if<asio::ip::tcp::endpoint>(&where);
  return endpoint == nullptr || endpoint->address().is_loopback();
}

std::string ListenAddress::str() const {
  if (const auto* path = std::get_if<std::filesystem::path>(&where)) return "unix:" + path->string();
  const auto& endpoint = std::get<asio::ip::tcp::endpoint>(where);
  const auto host = endpoint.address().to_string();
  const auto port = ":" + std::to_string(endpoint.port());
  return endpoint.address().is_v6() ? "[" + host + "]" + port : host + port;
}

ListenAddress parse_listen_address(const std::string& text, const std::string& what) {
  if (auto path = socket_path(text)) {
    constexpr auto longest = sizeof(sockaddr_un::sun_path) - 1;
    if (path->starts_with('/') && path->size() <= longest) return {std::filesystem::path(*path)};
  } else if (const auto endpoint = tcp_endpoint(text)) {
    return {*endpoint};
  }
  throw Error(
      Errc::invalid_argument,
      what + ": '" + text + "' is neither unix:/PATH nor an address with a port, such as 127.0.0.1:9750");
}

}  // namespace lazypull
