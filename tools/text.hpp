#pragma once

#include "engine/digest.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace lazypull {

/// "0 B", "980.5 KiB", "12.3 MiB".
std::string format_bytes(std::uint64_t bytes);
/// "15 ms", "1.2 s", "2 m 05 s", "1 h 02 m".
std::string format_duration(std::chrono::nanoseconds duration);
/// "1 layer", "2 layers".
std::string format_count(std::uint64_t count, std::string_view noun);
/// The first 12 hex digits.
std::string short_digest(const Digest& digest);

/// The text, safe for a terminal and for JSON whoever wrote it: control characters become blanks, and bytes
/// that are not UTF-8 become "?".
std::string printable(std::string_view text);

}  // namespace lazypull
