#pragma once

#include <cstdint>
#include <string_view>

namespace lazypull {

/// Which bytes of a blob are wanted.
struct ServedRange {
  enum class Kind {
    whole,          ///< no range that counts: the answer is 200
    part,           ///< 206
    unsatisfiable,  ///< 416
  };
  Kind kind = Kind::whole;
  std::uint64_t first = 0;
  std::uint64_t length = 0;

  friend bool operator==(const ServedRange&, const ServedRange&) = default;
};

/// What a Range field means for a blob of `size` bytes (RFC 9110, section 14). One range of bytes is
/// understood; fields with other units, with several ranges or that are malformed are ignored, as section
/// 14.2 allows.
ServedRange parse_range(std::string_view field, std::uint64_t size) noexcept;

}  // namespace lazypull
