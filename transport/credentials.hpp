#pragma once

#include "engine/awaitable.hpp"

#include <optional>
#include <string>

namespace lazypull {

/// What is known about an account at a registry. Empty: anonymous.
struct Credentials {
  std::string username;
  std::string password;
  std::string identity_token;  ///< an OAuth2 refresh token (Docker's `identitytoken`)
  std::string registry_token;  ///< a bearer token for the registry itself (Docker's `registrytoken`)

  bool has_password() const noexcept { return !username.empty() && !password.empty(); }
  bool empty() const noexcept { return !has_password() && identity_token.empty() && registry_token.empty(); }

  friend bool operator==(const Credentials&, const Credentials&) = default;
};

/// Where credentials come from: Docker's config file, a credential helper, a node's secrets.
class CredentialStore {
 public:
  virtual ~CredentialStore() = default;
  /// `domain` as in a reference ("docker.io", "registry.example.com:5000"). Empty credentials where there are
  /// none.
  virtual Awaitable<Credentials> find(std::string domain, std::string repository) = 0;
};

}  // namespace lazypull
