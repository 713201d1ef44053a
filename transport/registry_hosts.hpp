#pragma once

#include "transport/host_access.hpp"
#include "transport/registry_options.hpp"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace lazypull {

/// A host that may serve a registry's images: the registry itself or a mirror of it.
struct RegistryHost {
  Origin origin;
  std::string api_root;  ///< "/v2"; no slash at its end
  bool resolve = true;   ///< may be asked which digest a tag has
  bool pull = true;      ///< may be asked for what has a digest
  /// It is the registry that the reference names, so that the registry's credentials are for it. Others get
  /// credentials of their own only, and are told by `ns` in the query which registry is meant.
  bool upstream = true;
  HttpFields headers;
  std::shared_ptr<HostAccess> access;  ///< null: as the client's options say
};

using RegistryHostList = std::shared_ptr<const std::vector<RegistryHost>>;

/// Knows the hosts of each registry, in the order in which they are to be asked: what hosts.toml files say,
/// or the registry alone. They are read once, until `reload`.
class RegistryHosts {
 public:
  explicit RegistryHosts(const RegistryOptions& options) : options_(options) {}

  /// Never empty. Throws Error{invalid_argument} or {permission_denied} that names the file.
  RegistryHostList of(const Reference& reference);
  /// What is asked for from now on is read anew, TLS files too.
  void reload() { known_.clear(); }

 private:
  RegistryHostList load(const Reference& reference) const;

  const RegistryOptions& options_;
  std::map<std::string, RegistryHostList> known_;  // by domain
};

}  // namespace lazypull
