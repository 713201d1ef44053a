#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace lazypull {

/// RFC 4648 section 4, with padding.
std::string base64_encode(std::string_view bytes);

/// The inverse; padding may be missing. Nothing for any character outside the alphabet or a truncated group.
std::optional<std::string> base64_decode(std::string_view text);

}  // namespace lazypull
