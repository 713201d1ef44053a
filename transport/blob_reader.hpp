#pragma once

#include "engine/ports.hpp"
#include "transport/registry_transport.hpp"

#include <cstdint>
#include <memory>
#include <string>

namespace lazypull {

/// What to do with a response's body so that the blob's bytes from `offset` on come out.
struct BodyPlan {
  std::uint64_t skip = 0;    ///< bytes to throw away first, where the server ignored the range
  std::uint64_t keep = 0;    ///< bytes that must follow, no more and no less
  std::uint64_t offset = 0;  ///< of the first byte kept, in the blob

  friend bool operator==(const BodyPlan&, const BodyPlan&) = default;
};

/// Checks status (200, 206 or 416), Content-Range, Content-Length and Content-Encoding against the
/// descriptor's size. Throws Error{size_mismatch} where the blob has another size, {bad_response} where the
/// response is not to the request.
BodyPlan plan_body(const HttpHead& head, std::uint64_t size, std::uint64_t offset);

/// The bytes of a blob from `first` to `last`, which is one of them, as in a Range header.
struct ByteRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;

  std::uint64_t size() const noexcept { return last - first + 1; }
};

/// Checks that a response to a request for `wanted` is 206 with exactly that range of a blob of `size` bytes.
/// Throws as `plan_body` does.
void check_partial(const HttpHead& head, ByteRange wanted, std::uint64_t size);

/// Reads through a buffer of 256 KiB; errors begin with `response.what`. What is skipped must end with
/// `before`, as far as it reaches; else Error{digest_mismatch}.
std::unique_ptr<BlobReader> make_blob_reader(RegistryResponse response, BodyPlan plan,
                                             std::string before = {});

/// Reads bytes that are there already.
std::unique_ptr<BlobReader> make_inline_reader(std::string bytes, std::uint64_t offset);

}  // namespace lazypull
