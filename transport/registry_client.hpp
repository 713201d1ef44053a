#pragma once

#include "engine/ports.hpp"
#include "transport/registry_options.hpp"
#include "transport/registry_transport.hpp"

#include <memory>

namespace lazypull {

/// A client of the OCI distribution API: turns references into descriptors and opens blobs, of any registry.
/// Connections and tokens are shared between all pulls of a client. Must outlive the readers that it opens,
/// and be destroyed before the context of `home`.
class RegistryClient : public Resolver, public Fetcher {
 public:
  /// Throws Error{invalid_argument} for TLS files that cannot be used.
  RegistryClient(asio::any_io_executor home, RegistryOptions options);

  /// HEAD of the manifest; where that is refused or does not tell the digest, GET, which is then hashed.
  Awaitable<Descriptor> resolve(const Reference& reference) override;
  Awaitable<std::unique_ptr<BlobReader>> open(const Reference& repository, const Descriptor& descriptor,
                                              std::uint64_t offset) override;

 private:
  Awaitable<RegistryCall> make_call(const Reference& reference, const std::string& method,
                                    const std::string& path);
  Awaitable<Descriptor> resolve_by_get(const Reference& reference);
  Awaitable<std::unique_ptr<BlobReader>> open_foreign(const Descriptor& descriptor, std::uint64_t offset,
                                                      std::string& failures);

  RegistryOptions options_;
  RegistryTransport transport_;
};

}  // namespace lazypull
