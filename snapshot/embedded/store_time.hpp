#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace lazypull {

using StoreTime = std::chrono::system_clock::time_point;

inline std::int64_t nanoseconds_of(StoreTime time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

inline StoreTime time_of(std::int64_t nanoseconds) {
  return StoreTime(std::chrono::duration_cast<StoreTime::duration>(std::chrono::nanoseconds(nanoseconds)));
}

/// RFC 3339 in UTC, to the second: 2024-05-01T12:00:00Z.
std::string rfc3339(StoreTime time);

}  // namespace lazypull
