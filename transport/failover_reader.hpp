#pragma once

#include "engine/ports.hpp"
#include "transport/host_blob.hpp"

#include <cstdint>
#include <memory>

namespace lazypull {

/// Opens a blob or manifest at the first host that serves it. Where a host fails in the middle, the reader
/// goes on at the next one from the byte that it has reached. What another host than the last one sends is
/// verified, since a mirror is not the registry: up to 4 MiB before a byte of it is handed out, so that
/// the next host can do better; more while it passes, so that the last bytes are withheld with
/// Error{digest_mismatch}, and the host is not asked for it again.
Awaitable<std::unique_ptr<BlobReader>> open_at_hosts(RemoteBlob blob, std::uint64_t offset);

}  // namespace lazypull
