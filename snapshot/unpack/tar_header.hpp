#pragma once

#include "snapshot/unpack/tar_entry.hpp"

#include <array>
#include <cstddef>
#include <span>

namespace lazypull {

inline constexpr std::size_t tar_block_bytes = 512;
using TarBlock = std::span<const char, tar_block_bytes>;

enum class TarFormat {
  v7,
  ustar,  ///< POSIX, also with pax extended headers
  gnu,
  star,
};

bool is_zero(TarBlock block) noexcept;

/// Fills `entry`, except for its xattrs, from a header block. Throws Error{invalid_image} where the checksum
/// or a number is wrong.
TarFormat parse_tar_header(TarBlock block, TarEntry& entry);

/// Up to 21 fragments of GNU's old sparse format, each of two numeric fields, and whether a block with more
/// of them follows.
struct GnuSparseFields {
  static constexpr std::size_t field_bytes = 12;
  std::span<const char> fields;
  bool extended = false;
};
GnuSparseFields gnu_sparse_in_header(TarBlock block) noexcept;
GnuSparseFields gnu_sparse_in_extension(TarBlock block) noexcept;
std::span<const char> gnu_real_size(TarBlock block) noexcept;

}  // namespace lazypull
