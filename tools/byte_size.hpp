#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace lazypull {

/// Reads a number of bytes as curl's --limit-rate and many a configuration file write it: "500000", "64k",
/// "8M", "8MiB", "1g", with units of 1024. Nothing for a bad syntax or more than 2^63-1.
std::optional<std::uint64_t> parse_byte_size(std::string_view text);

}  // namespace lazypull
