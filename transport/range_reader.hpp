#pragma once

#include "engine/ports.hpp"
#include "transport/host_blob.hpp"

#include <cstdint>
#include <memory>
#include <string>

namespace lazypull {

/// Whether the rest of a blob is to be read in parts from a host: it is larger than one part, and the host is
/// not known to answer otherwise than asked.
bool reads_in_parts(const RegistryCore& core, const RegistryHost& host, const Descriptor& descriptor,
                    std::uint64_t offset);

/// Opens a blob at a host in parts: requests for `bytes=a-b`, a few at a time, whose bytes come out in order
/// of one reader. Each answer must be 206 with exactly the Content-Range asked for. Where the first one is
/// 200 the host is remembered to ignore ranges, and the answer is read as a single stream. A part that fails
/// goes on at the next host that serves the registry, or where it was broken off by the last one, without
/// the other parts being lost. `before` is as for `read_response`. At most `max_parallel_ranges` parts are in
/// memory.
Awaitable<std::unique_ptr<BlobReader>> open_in_parts(RemoteBlob remote, RegistryHost host, bool is_last,
                                                     std::uint64_t offset, std::string before);

}  // namespace lazypull
