#pragma once

#include "snapshot/unpack/pax_records.hpp"
#include "snapshot/unpack/tar_entry.hpp"
#include "snapshot/unpack/tar_header.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// The three ways in which GNU tar writes files with holes: where in the file the bytes go that the archive
/// holds. All throw Error{invalid_image} where a map is invalid or has more than `most_sparse_fragments`.
namespace lazypull {

inline constexpr std::size_t most_sparse_fragments = std::size_t{1} << 20U;

struct SparseFragment {
  std::int64_t offset = 0;
  std::int64_t length = 0;
};
using SparseMap = std::vector<SparseFragment>;

/// Fragments in order, within a file of `size`, that do not overlap; returns how many bytes they have.
std::int64_t check_sparse_map(const SparseMap& map, std::int64_t size);

/// Old GNU format: from the fields of a header or extension block.
void append_gnu_sparse(const GnuSparseFields& fields, SparseMap& map);

enum class PaxSparse { none, in_header, in_content };

/// Which kind of map the records announce. Takes name and real size from them.
PaxSparse announced_sparse(const PaxRecords& records, TarEntry& entry);

/// Formats 0.0 and 0.1: the map is in the records.
void parse_pax_sparse(const PaxRecords& records, SparseMap& map);

/// Format 1.0: the content begins with blocks of decimal numbers, one a line: how many fragments, and then
/// offset and length of each.
class SparseText {
 public:
  explicit SparseText(SparseMap& map) : map_(map) {}

  void restart();
  /// True once this was the last block.
  bool take(TarBlock block);

 private:
  void take_number(std::int64_t value);
  bool complete() const noexcept { return announced_ >= 0 && taken_ == announced_ * 2; }

  SparseMap& map_;
  std::string digits_;
  std::int64_t announced_ = -1;
  std::int64_t taken_ = 0;
};

}  // namespace lazypull
