#include "tools/agent/cri_auth.hpp"

#include "engine/error.hpp"
#include "transport/base64.hpp"

#include <algorithm>
#include <cctype>
#include <string_view>
#include <utility>

namespace lazypull {
namespace {

/// The host, with its port where there is one, of a URL or of what is like one.
std::string host_of(std::string_view address) {
  bool https = true;
  for (const std::string_view scheme : {"https://", "http://"}) {
    if (!address.starts_with(scheme)) continue;
    address.remove_prefix(scheme.size());
    https = scheme == "https://";
    break;
  }
  address = address.substr(0, address.find_first_of("/?#"));
  if (const auto at = address.rfind('@'); at != std::string_view::npos) address.remove_prefix(at + 1);
  if (https && address.ends_with(":443")) address.remove_suffix(4);
  std::string host(address);
  std::ranges::transform(host, host.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  // Docker Hub has more names than one.
  if (host == "index.docker.io" || host == "registry-1.docker.io") return "docker.io";
  return host;
}

Credentials decode(const std::string& auth) {
  const auto decoded = base64_decode(auth);
  const auto colon = decoded ? decoded->find(':') : std::string::npos;
  if (colon == std::string::npos) {
    throw Error(Errc::invalid_argument, "auth: it is not the Base64 of \"username:password\"");
  }
  Credentials credentials;
  credentials.username = decoded->substr(0, colon);
  credentials.password = decoded->substr(colon + 1);
  // Docker pads some of them with zero bytes.
  while (credentials.password.ends_with('\0')) credentials.password.pop_back();
  return credentials;
}

}  // namespace

std::optional<Credentials> credentials_of(const CriAuth& auth, const Reference& reference) {
  if (!auth.server_address.empty() && host_of(auth.server_address) != host_of(reference.domain())) {
    return std::nullopt;
  }
  Credentials credentials;
  if (!auth.username.empty()) {
    credentials.username = auth.username;
    credentials.password = auth.password;
  } else if (!auth.identity_token.empty()) {
    credentials.identity_token = auth.identity_token;
  } else if (!auth.auth.empty()) {
    credentials = decode(auth.auth);
  } else {
    credentials.registry_token = auth.registry_token;
  }
  if (credentials.empty()) return std::nullopt;
  return credentials;
}

}  // namespace lazypull
