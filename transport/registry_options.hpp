#pragma once

#include "engine/manifest.hpp"
#include "engine/reference.hpp"
#include "engine/trace.hpp"
#include "transport/circuit_breaker.hpp"
#include "transport/credentials.hpp"
#include "transport/http_client.hpp"
#include "transport/retry_policy.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace lazypull {

struct RegistryOptions {
  /// Where hosts.toml files are looked for (see hosts_directory.hpp); none: every registry serves itself.
  std::vector<std::string> hosts_directories;
  /// For hosts that others come after, unless their hosts.toml has a dial_timeout.
  std::chrono::milliseconds mirror_connect_timeout{std::chrono::seconds{10}};
  BreakerPolicy breaker;
  /// Blobs that are larger are fetched in parts of so many bytes, a few at once; 0 is never.
  std::uint64_t range_bytes = 0;
  std::size_t max_parallel_ranges = 4;  ///< parts of one blob that are in memory at once
  bool plain_http = false;              ///< even where the registry is not on this host
  HttpOptions http;                     ///< TLS files, timeouts, connection limits and the request log
  RetryPolicy retry;
  int max_redirects = 10;
  std::uint64_t manifest_limit = max_manifest_bytes;  ///< bytes; larger ones are refused
  std::optional<Credentials>
      user;  ///< for the registry of whatever reference is pulled, not its mirrors; before `credentials`
  Tracer* tracer = nullptr;                      ///< of the pulls that it is used by
  std::shared_ptr<CredentialStore> credentials;  ///< asked for each host; null is anonymous
};

/// The registry that serves a reference. Plain HTTP where the options say so, or where it is on this host,
/// not on port 443, and no TLS option is given; HTTPS otherwise.
Origin registry_origin(const Reference& reference, const RegistryOptions& options);

}  // namespace lazypull
