#pragma once

#include <chrono>
#include <optional>
#include <string_view>

namespace lazypull {

/// Reads a duration as Go writes it: "300ms", "1.5h", "1m30s", "0"; units ns, us (µs), ms, s, m, h.
/// Nothing for a bad syntax, a negative duration, or one that nanoseconds in 64 bits cannot hold.
std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text);

}  // namespace lazypull
