#pragma once

#include "engine/manifest.hpp"
#include "engine/reference.hpp"
#include "transport/credentials.hpp"
#include "transport/http_client.hpp"
#include "transport/retry_policy.hpp"

#include <cstdint>
#include <memory>
#include <optional>

namespace lazypull {

struct RegistryOptions {
  bool plain_http = false;  ///< even where the registry is not on this host
  HttpOptions http;         ///< TLS files, timeouts, connection limits and the request log
  RetryPolicy retry;
  int max_redirects = 10;
  std::uint64_t manifest_limit = max_manifest_bytes;  ///< bytes; larger ones are refused
  std::optional<Credentials>
      user;  ///< for the registry of whatever reference is pulled; before `credentials`
  std::shared_ptr<CredentialStore> credentials;  ///< asked for each reference; null is anonymous
};

/// The registry that serves a reference. Plain HTTP where the options say so, or where it is on this host,
/// not on port 443, and no TLS option is given; HTTPS otherwise.
Origin registry_origin(const Reference& reference, const RegistryOptions& options);

}  // namespace lazypull
