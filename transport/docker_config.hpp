#pragma once

#include "transport/credentials.hpp"

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lazypull {

/// The `auths` of Docker's config.json, or of Podman's auth.json, which has the same form. `credsStore` and
/// `credHelpers` are not looked at: whatever serves them is a CredentialStore of its own.
class DockerConfig {
 public:
  /// Throws Error{invalid_argument} with "`origin`: what is wrong"; entries that cannot be understood are
  /// ignored one by one.
  static DockerConfig parse(std::string_view json, std::string_view origin);

  /// The entry that fits best: the longest "domain/path" of which the repository is part, as Podman has them,
  /// then the domain. A key may be "https://index.docker.io/v1/", "host", "host:port" or "https://host/v1/".
  std::optional<Credentials> find(std::string_view domain, std::string_view repository) const;

 private:
  std::map<std::string, Credentials, std::less<>> entries_;  // by "domain" or "domain/path"
};

using Environment = std::function<std::optional<std::string>(const std::string&)>;

/// The files that may hold credentials, first the one that counts most: $REGISTRY_AUTH_FILE,
/// $DOCKER_CONFIG/config.json or else ~/.docker/config.json, $XDG_RUNTIME_DIR/containers/auth.json,
/// ~/.config/containers/auth.json.
std::vector<std::string> docker_config_paths(const Environment& environment);

/// The process's environment variables.
Environment process_environment();

/// Credentials of Docker's and Podman's files, read anew whenever they are asked for, so that a login of a
/// moment ago counts. A file that is missing or must not be read is passed over; one that is malformed is an
/// error.
class DockerConfigCredentials : public CredentialStore {
 public:
  explicit DockerConfigCredentials(std::vector<std::string> paths) : paths_(std::move(paths)) {}
  Awaitable<Credentials> find(std::string domain, std::string repository) override;

 private:
  std::vector<std::string> paths_;
};

}  // namespace lazypull
