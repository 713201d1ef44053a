#pragma once

#include "engine/descriptor.hpp"
#include "engine/json_reader.hpp"

#include <string_view>

namespace lazypull {

/// type "/" subtype of RFC 6838: what may be shown, compared and sent without a second look.
bool is_media_type(std::string_view text) noexcept;

/// A descriptor as in image-spec's descriptor.md. Throws Error{bad_response} that says which member is wrong.
Descriptor parse_descriptor(const JsonObject& json);

/// A platform as in image-spec's image-index.md and config.md, as it is written there.
Platform parse_platform(const JsonObject& json);

/// A digest that must be there.
Digest parse_digest(const JsonObject& json, std::string_view key);

}  // namespace lazypull
