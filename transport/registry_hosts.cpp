#include "transport/registry_hosts.hpp"

#include "transport/hosts_directory.hpp"

#include <algorithm>

namespace lazypull {

namespace {

constexpr std::size_t max_known = 1000;

TlsOptions tls_of(const HostEntry& entry, TlsOptions tls) {
  tls.ca_files.insert(tls.ca_files.end(), entry.ca_files.begin(), entry.ca_files.end());
  tls.clients.insert(tls.clients.begin(), entry.clients.begin(), entry.clients.end());
  tls.skip_verify = entry.skip_verify.value_or(tls.skip_verify);
  return tls;
}

bool has_own_tls(const HostEntry& entry) {
  return entry.skip_verify || !entry.ca_files.empty() || !entry.clients.empty();
}

Origin origin_of(const HostEntry& entry, const Reference& reference, const RegistryOptions& options) {
  if (entry.origin) return *entry.origin;
  if (!has_own_tls(entry) || options.plain_http) return registry_origin(reference, options);
  return parse_origin(true, reference.api_host());  // TLS files are a reason for TLS on this host too
}

RegistryHost make_host(const HostEntry& entry, bool last, const Reference& reference,
                       const RegistryOptions& options) {
  RegistryHost host;
  host.origin = origin_of(entry, reference, options);
  host.api_root = entry.api_root;
  host.resolve = entry.resolve;
  host.pull = entry.pull;
  host.headers = entry.headers;
  const auto authority = host.origin.authority();
  host.upstream = !entry.origin || authority == registry_origin(reference, options).authority() ||
                  authority == parse_origin(true, reference.api_host()).authority();
  auto timeout = options.http.connect_timeout;
  if (!last) timeout = std::min(timeout, options.mirror_connect_timeout);
  if (entry.dial_timeout) timeout = *entry.dial_timeout;
  if (has_own_tls(entry) || timeout != options.http.connect_timeout) {
    const auto where = has_own_tls(entry) ? host.origin.authority() + " of certs.d" : std::string();
    host.access = std::make_shared<HostAccess>(tls_of(entry, options.http.tls), timeout, where);
  }
  return host;
}

}  // namespace

RegistryHostList RegistryHosts::of(const Reference& reference) {
  const auto found = known_.find(reference.domain());
  if (found != known_.end()) return found->second;
  if (known_.size() >= max_known) known_.clear();
  return known_[reference.domain()] = load(reference);
}

RegistryHostList RegistryHosts::load(const Reference& reference) const {
  auto entries = load_hosts(options_.hosts_directories, reference.domain());
  if (entries.empty()) entries.emplace_back();
  auto hosts = std::make_shared<std::vector<RegistryHost>>();
  for (const auto& entry : entries) {
    hosts->push_back(make_host(entry, &entry == &entries.back(), reference, options_));
  }
  return hosts;
}

}  // namespace lazypull
