#pragma once

#include "engine/ports.hpp"
#include "transport/registry_core.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace lazypull {

/// A blob or manifest of a repository, and for whose sake it is fetched.
struct RemoteBlob {
  RemoteBlob(std::shared_ptr<RegistryCore> its_core, Reference its_repository, Descriptor its_descriptor,
             std::shared_ptr<RetryBudget> its_budget)
      : core(std::move(its_core)),
        repository(std::move(its_repository)),
        descriptor(std::move(its_descriptor)),
        budget(std::move(its_budget)) {}

  std::shared_ptr<RegistryCore> core;
  Reference repository;
  Descriptor descriptor;
  std::shared_ptr<RetryBudget> budget;  ///< null is no limit
};

/// The path of a blob or manifest below its repository.
std::string blob_path(const Descriptor& descriptor);

/// The fields of a request for the bytes from `offset` on.
HttpFields blob_fields(const Descriptor& descriptor, std::uint64_t offset);

/// A request for it at a host, still without fields.
Awaitable<RegistryCall> make_call(RemoteBlob blob, RegistryHost host, bool is_last);

/// The reader of a response to a request for the bytes from `offset` on. Where the server sends all of them,
/// those before are thrown away, and the last of them must be those of `before`: else it is another content
/// than that which has come so far, Error{digest_mismatch}. Throws what a refusal means, or what is wrong
/// with the response.
Awaitable<std::unique_ptr<BlobReader>> read_response(RegistryResponse response, Descriptor descriptor,
                                                     std::uint64_t offset, std::string before = {});

/// Opens a blob or manifest at one host. From an offset on, the request is conditional (RFC 9110 section
/// 13.1.5) where the host has given a strong ETag before.
Awaitable<std::unique_ptr<BlobReader>> open_at_host(RemoteBlob blob, RegistryHost host, bool is_last,
                                                    std::uint64_t offset, std::string before);

}  // namespace lazypull
