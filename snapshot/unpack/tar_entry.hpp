#pragma once

#include <compare>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace lazypull {

/// A point in time since the epoch. Seconds may be anything that an archive says.
struct TarTime {
  std::int64_t seconds = 0;
  std::uint32_t nanoseconds = 0;  ///< below 1'000'000'000, forward from `seconds`

  friend auto operator<=>(const TarTime&, const TarTime&) = default;
};

/// Before every other time: stands for "not given".
inline constexpr TarTime never{std::numeric_limits<std::int64_t>::min(), 0};

struct TarXattr {
  std::string_view name;
  std::string_view value;  ///< any bytes
};

/// The type flags that mean something to an extractor (POSIX ustar). Others come as they are in the archive.
namespace tar_type {
inline constexpr char regular = '0';
inline constexpr char hard_link = '1';
inline constexpr char symbolic_link = '2';
inline constexpr char character_device = '3';
inline constexpr char block_device = '4';
inline constexpr char directory = '5';
inline constexpr char fifo = '6';
inline constexpr char global_header = 'g';
inline constexpr char gnu_sparse = 'S';
}  // namespace tar_type

/// One entry, with everything that extended headers said about it. Names and numbers are not checked beyond
/// their syntax.
struct TarEntry {
  char type = tar_type::regular;
  std::string name;
  std::string link;  ///< target of symbolic and hard links
  std::int64_t mode = 0;
  std::int64_t uid = 0;
  std::int64_t gid = 0;
  std::int64_t device_major = 0;
  std::int64_t device_minor = 0;
  std::int64_t size = 0;  ///< of the content with its holes; may be anything for types without content
  TarTime modified;
  TarTime accessed = never;
  std::vector<TarXattr> xattrs;  ///< each name once
};

/// Types that have no content, whatever their size says.
constexpr bool has_content(char type) noexcept {
  return type < tar_type::hard_link || type > tar_type::fifo;
}

}  // namespace lazypull
