#pragma once

#include "engine/descriptor.hpp"
#include "engine/error.hpp"
#include "engine/reference.hpp"
#include "transport/http_message.hpp"

#include <cstdint>
#include <optional>
#include <string_view>

namespace lazypull {

/// The descriptor that the head of a successful response to HEAD /manifests/ gives; nothing where it does not
/// say enough (digest, length or type missing), so that the manifest itself must be read. Throws
/// Error{digest_mismatch} where the reference has another digest, {unsupported} for schema 1, {invalid_image}
/// for more than `limit` bytes.
std::optional<Descriptor> descriptor_of_head(const HttpHead& head, const Reference& reference,
                                             std::uint64_t limit);

/// The descriptor of a manifest that has been read. Its digest is computed; Error{digest_mismatch} where
/// Docker-Content-Digest or the reference say otherwise. Where Content-Type is of no use the content decides.
Descriptor descriptor_of_body(const HttpHead& head, std::string_view body, const Reference& reference);

Error manifest_too_large(std::uint64_t size, std::uint64_t limit);

}  // namespace lazypull
