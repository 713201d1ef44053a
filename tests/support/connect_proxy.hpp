#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace lazypull::test {

/// An HTTP proxy on the loopback, on threads of its own, that knows CONNECT and nothing else. Whatever host a
/// client asks for, the tunnel leads to one port of 127.0.0.1, so that names that exist nowhere can be used.
class ConnectProxy {
 public:
  /// `authorization` is the Proxy-Authorization that it wants; others get 407.
  explicit ConnectProxy(std::uint16_t target_port, std::string authorization = {});
  ~ConnectProxy();
  ConnectProxy(const ConnectProxy&) = delete;
  ConnectProxy& operator=(const ConnectProxy&) = delete;

  /// "127.0.0.1:PORT".
  std::string host() const { return "127.0.0.1:" + std::to_string(port_); }
  /// "registry.example.com:443", for each CONNECT; those that were refused too.
  std::vector<std::string> targets() const;

 private:
  void accept_loop();
  void serve(int client);

  std::uint16_t target_port_;
  std::string authorization_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  mutable std::mutex mutex_;
  std::vector<std::string> targets_;
  std::vector<std::thread> tunnels_;
  std::vector<int> sockets_;
  std::atomic<bool> stopping_ = false;
  std::thread acceptor_;
};

}  // namespace lazypull::test
