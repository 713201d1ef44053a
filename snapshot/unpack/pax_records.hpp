#pragma once

#include "snapshot/unpack/tar_entry.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace lazypull {

/// What a pax extended header ("x" or "g") says, as far as it matters to extraction. The views point into the
/// parsed text. Of a key that occurs twice the last one counts; an empty value is as good as none.
struct PaxRecords {
  std::string_view path;
  std::string_view link_path;
  std::string_view uid;
  std::string_view gid;
  std::string_view accessed;
  std::string_view changed;
  std::string_view modified;
  std::string_view size;
  std::string_view sparse_major;  ///< GNU.sparse.*
  std::string_view sparse_minor;
  std::string_view sparse_name;
  std::string_view sparse_size;
  std::string_view sparse_real_size;
  std::string_view sparse_blocks;
  std::string_view sparse_map;
  std::vector<TarXattr> xattrs;  ///< SCHILY.xattr.*; an empty value is a value
  std::string old_sparse_map;    ///< GNU's format 0.0, which repeats keys, in the form of 0.1

  void clear();
};

/// Replaces `records`. Throws Error{invalid_image} where the text is not a sequence of records.
void parse_pax(std::string_view text, PaxRecords& records);

/// Overrides fields of `entry`. Throws Error{invalid_image} where a number is none.
void apply_pax(const PaxRecords& records, TarEntry& entry);

}  // namespace lazypull
