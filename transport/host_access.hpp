#pragma once

#include "transport/tls_options.hpp"

#include <chrono>
#include <memory>
#include <string>

namespace lazypull {

/// How one host is reached. Connections are shared only between requests with the same HostAccess, since they
/// have proven what its TLS options ask for.
class HostAccess {
 public:
  /// `where` says where the options come from, for messages about TLS files; may be empty.
  HostAccess(TlsOptions tls, std::chrono::milliseconds connect_timeout, std::string where = {})
      : options_(std::move(tls)), connect_timeout_(connect_timeout), where_(std::move(where)) {}

  /// Loaded when first needed: the system's CAs take their time. Throws Error{invalid_argument} that names a
  /// file which cannot be used.
  std::shared_ptr<const TlsContext> tls();
  /// For name lookup, TCP and TLS together.
  std::chrono::milliseconds connect_timeout() const noexcept { return connect_timeout_; }

 private:
  TlsOptions options_;
  std::chrono::milliseconds connect_timeout_;
  std::string where_;
  std::shared_ptr<const TlsContext> context_;
};

}  // namespace lazypull
