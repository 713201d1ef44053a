#pragma once

#include "transport/credentials.hpp"
#include "transport/registry_client.hpp"
#include "transport/registry_options.hpp"

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <optional>

namespace lazypull {

/// The agent's registry clients: one that logs in as the node does, and one for each set of credentials that
/// requests bring, so that no request profits from the tokens and connections of another's credentials. Of
/// the home thread.
class AgentRegistries {
 public:
  static constexpr std::size_t max_kept = 16;  ///< clients of requests' credentials that are kept for later

  /// `options` makes those of a client anew each time.
  AgentRegistries(asio::any_io_executor home, std::function<RegistryOptions()> options);

  /// Stays usable after a reload, with what was known before. Throws Error{invalid_argument} for TLS files
  /// that cannot be used.
  std::shared_ptr<RegistryClient> client(const std::optional<Credentials>& credentials);
  /// Clients that are asked for from now on know hosts.toml, TLS files and the node's credentials as they are
  /// then.
  void reload();

  std::size_t distrusted_blobs() const;
  std::size_t broken_hosts() const;

 private:
  struct Known {
    std::optional<Credentials> credentials;
    std::shared_ptr<RegistryClient> client;
  };

  asio::any_io_executor home_;
  std::function<RegistryOptions()> options_;
  std::list<Known> clients_;  // the one used last first
};

}  // namespace lazypull
