#pragma once

#include "engine/ports.hpp"
#include "transport/registry_options.hpp"

#include <cstddef>
#include <memory>

namespace lazypull {

struct RegistryCore;
struct RegistryHost;
struct RegistryResponse;

/// A client of the OCI distribution API: turns references into descriptors and opens blobs, of any registry
/// and its mirrors. Connections, tokens and what is known about hosts are shared between all pulls of a
/// client. Must be destroyed, as well as the readers that it opens, before the context of `home`.
class RegistryClient : public Resolver, public Fetcher {
 public:
  /// Throws Error{invalid_argument} for TLS files that cannot be used.
  RegistryClient(asio::any_io_executor home, RegistryOptions options);

  /// The same client on behalf of one pull, whose requests share a retry budget.
  RegistryClient with_budget(std::shared_ptr<RetryBudget> budget) const;

  /// HEAD of the manifest; where that is refused or does not tell the digest, GET, which is then hashed. The
  /// hosts of the registry are asked in order until one answers with a manifest.
  Awaitable<Descriptor> resolve(const Reference& reference) override;
  Awaitable<std::unique_ptr<BlobReader>> open(const Reference& repository, const Descriptor& descriptor,
                                              std::uint64_t offset) override;

  /// Reads hosts.toml and TLS files anew when they are needed next.
  void reload();
  /// How many blobs mirrors have been found to serve wrong.
  std::size_t distrusted() const noexcept;
  /// How many hosts are left out for a while because they have failed.
  std::size_t broken_hosts() const noexcept;

 private:
  Awaitable<Descriptor> resolve_at(RegistryHost host, bool is_last, Reference reference);
  Awaitable<RegistryResponse> get_manifest(RegistryHost host, bool is_last, Reference reference);
  Awaitable<Descriptor> resolve_by_get(RegistryHost host, bool is_last, Reference reference);
  Awaitable<std::unique_ptr<BlobReader>> open_foreign(const Descriptor& descriptor, std::uint64_t offset,
                                                      std::string& failures);

  std::shared_ptr<RegistryCore> core_;
  std::shared_ptr<RetryBudget> budget_;  // null is no limit
};

}  // namespace lazypull
