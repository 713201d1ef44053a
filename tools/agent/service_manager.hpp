#pragma once

#include <string>
#include <string_view>

namespace lazypull {

/// The service manager that has started this process, if one has; see sd_notify(3).
class ServiceManager {
 public:
  /// `socket` is the value of $NOTIFY_SOCKET; empty where nobody listens.
  explicit ServiceManager(std::string socket) : socket_(std::move(socket)) {}

  void ready(std::string_view status) const;
  /// Followed by `ready`.
  void reloading() const;
  void stopping() const;

 private:
  std::string socket_;
};

}  // namespace lazypull
