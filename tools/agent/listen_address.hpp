#pragma once

#include <boost/asio/ip/tcp.hpp>

#include <filesystem>
#include <string>
#include <variant>

namespace lazypull {

/// Where a server for people and programs of this host, or of the network, listens.
struct ListenAddress {
  std::variant<std::filesystem::path, boost::asio::ip::tcp::endpoint> where;

  /// Only who is on this host gets there: a Unix socket, or an address of the loopback network.
  bool is_local() const;
  /// "unix:/run/lazypull/metrics.sock" or "127.0.0.1:9750".
  std::string str() const;
};

/// Understands "unix:/PATH", "unix:///PATH", "/PATH", "IP:PORT" and "[IP]:PORT"; port 0 is any that is free.
/// Throws Error{invalid_argument} that names `what`, the option.
ListenAddress parse_listen_address(const std::string& text, const std::string& what);

}  // namespace lazypull
