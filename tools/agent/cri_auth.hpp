#pragma once

#include "engine/reference.hpp"
#include "transport/credentials.hpp"

#include <optional>
#include <string>

namespace lazypull {

/// The CRI's AuthConfig, field by field.
struct CriAuth {
  std::string username;
  std::string password;
  std::string auth;            ///< Base64 of "username:password"
  std::string server_address;  ///< "https://index.docker.io/v1/", "registry.example.com:5000"; empty is any
  std::string identity_token;
  std::string registry_token;
};

/// What a pull of the reference is to log in with. Nothing where the credentials are for another server, or
/// where there are none: then the node's own count. Of several kinds the first counts, in the order of
/// containerd: name and password, identity token, `auth`, and then the registry token. Throws
/// Error{invalid_argument}, which does not quote what is wrong.
std::optional<Credentials> credentials_of(const CriAuth& auth, const Reference& reference);

}  // namespace lazypull
