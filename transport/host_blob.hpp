#pragma once

#include "engine/ports.hpp"
#include "transport/registry_core.hpp"

#include <cstdint>
#include <memory>

namespace lazypull {

/// The path of a blob or manifest below its repository.
std::string blob_path(const Descriptor& descriptor);

/// The fields of a request for the bytes from `offset` on.
HttpFields blob_fields(const Descriptor& descriptor, std::uint64_t offset);

/// The reader of a response to a request for the bytes from `offset` on. Throws what a refusal means, or what
/// is wrong with the response.
Awaitable<std::unique_ptr<BlobReader>> read_response(RegistryResponse response, Descriptor descriptor,
                                                     std::uint64_t offset);

/// Opens a blob or manifest at one host.
Awaitable<std::unique_ptr<BlobReader>> open_at_host(std::shared_ptr<RegistryCore> core, RegistryHost host,
                                                    bool is_last, Reference repository, Descriptor descriptor,
                                                    std::uint64_t offset);

}  // namespace lazypull
