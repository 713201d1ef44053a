#pragma once

#include "engine/single_flight.hpp"
#include "transport/credentials.hpp"

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lazypull {

/// Docker's config.json, or Podman's auth.json, which has the same form: `auths`, `credHelpers`,
/// `credsStore`.
class DockerConfig {
 public:
  /// Throws Error{invalid_argument} with "`origin`: what is wrong"; entries that cannot be understood are
  /// ignored one by one.
  static DockerConfig parse(std::string_view json, std::string_view origin);

  /// The entry that fits best: the longest "domain/path" of which the repository is part, as Podman has them,
  /// then the domain. A key may be "https://index.docker.io/v1/", "host", "host:port" or "https://host/v1/".
  std::optional<Credentials> find(std::string_view domain, std::string_view repository) const;

  /// The name of the credential helper that knows about the domain: that of `credHelpers`, or `credsStore`.
  /// Empty if there is none.
  std::string helper(std::string_view domain) const;

 private:
  std::map<std::string, Credentials, std::less<>> entries_;  // by "domain" or "domain/path"
  std::map<std::string, std::string, std::less<>> helpers_;  // by domain
  std::string store_;
};

using Environment = std::function<std::optional<std::string>(const std::string&)>;

/// The files that may hold credentials, first the one that counts most: $REGISTRY_AUTH_FILE,
/// $DOCKER_CONFIG/config.json or else ~/.docker/config.json, $XDG_RUNTIME_DIR/containers/auth.json,
/// ~/.config/containers/auth.json.
std::vector<std::string> docker_config_paths(const Environment& environment);

/// What a credential helper knows a registry by: the domain, but Docker Hub by the URL of its old index.
std::string helper_server(std::string_view domain);

/// The process's environment variables.
Environment process_environment();

/// Credentials of Docker's and Podman's files, read anew whenever they are asked for, so that a login of a
/// moment ago counts. A file that is missing or must not be read is passed over; one that is malformed is an
/// error. In each file the credential helper goes before `auths`; what a helper has answered counts for a
/// minute, and those who want the same at the same time share one run of it.
class DockerConfigCredentials : public CredentialStore {
 public:
  explicit DockerConfigCredentials(std::vector<std::string> paths) : paths_(std::move(paths)) {}
  /// Throws also what is said about `ask_credential_helper`.
  Awaitable<Credentials> find(std::string domain, std::string repository) override;

 private:
  struct Answer {
    Credentials credentials;
    std::chrono::steady_clock::time_point until;
  };
  using HelperKey = std::string;  // "NAME SERVER"

  Awaitable<Credentials> ask(std::string helper, std::string server);
  Awaitable<> ask_now(HelperKey key, std::string helper, std::string server);

  std::vector<std::string> paths_;
  std::map<HelperKey, Answer> answers_;
  SingleFlight<HelperKey> flights_;
};

}  // namespace lazypull
