#include "snapshot/unpack/sparse_map.hpp"

#include "engine/error.hpp"
#include "snapshot/unpack/tar_number.hpp"

#include <limits>

namespace lazypull {
namespace {

constexpr std::size_t longest_number = 4096;  // leading zeros are allowed

[[noreturn]] void fail(const char* why = "an invalid map of a sparse file") {
  throw Error(Errc::invalid_image, why);
}

std::int64_t number(std::string_view text) {
  const auto value = decimal(text);
  if (!value) fail();
  return *value;
}

void append(SparseMap& map, SparseFragment fragment) {
  if (map.size() == most_sparse_fragments) fail("a sparse file of too many fragments");
  map.push_back(fragment);
}

}  // namespace

std::int64_t check_sparse_map(const SparseMap& map, std::int64_t size) {
  if (size < 0) fail();
  std::int64_t end = 0;
  std::int64_t bytes = 0;
  for (const auto& fragment : map) {
    if (fragment.length < 0 || fragment.offset < end) fail();
    if (fragment.offset > std::numeric_limits<std::int64_t>::max() - fragment.length) fail();
    end = fragment.offset + fragment.length;
    if (end > size) fail();
    bytes += fragment.length;
  }
  return bytes;
}

void append_gnu_sparse(const GnuSparseFields& fields, SparseMap& map) {
  constexpr auto width = GnuSparseFields::field_bytes;
  for (auto rest = fields.fields; rest.size() >= 2 * width; rest = rest.subspan(2 * width)) {
    if (rest.front() == '\0') return;
    const auto offset = tar_numeric(rest.first(width));
    const auto length = tar_numeric(rest.subspan(width, width));
    if (!offset || !length) fail();
    append(map, {*offset, *length});
  }
}

PaxSparse announced_sparse(const PaxRecords& records, TarEntry& entry) {
  const auto& major = records.sparse_major;
  const auto& minor = records.sparse_minor;
  PaxSparse kind = PaxSparse::none;
  const bool first_version = major == "0" && (minor == "0" || minor == "1");
  // It did not always say so.
  const bool unsaid = major.empty() && minor.empty() && !records.sparse_map.empty();
  if (first_version || unsaid) {
    kind = PaxSparse::in_header;
  } else if (major == "1" && minor == "0") {
    kind = PaxSparse::in_content;
  }
  if (kind == PaxSparse::none) return kind;
  if (!records.sparse_name.empty()) entry.name = records.sparse_name;
  const auto size = records.sparse_size.empty() ? records.sparse_real_size : records.sparse_size;
  if (!size.empty()) entry.size = number(size);
  return kind;
}

void parse_pax_sparse(const PaxRecords& records, SparseMap& map) {
  const auto fragments = number(records.sparse_blocks);
  if (fragments < 0) fail();
  std::int64_t values = 0;
  std::int64_t offset = 0;
  auto text = records.sparse_map;
  for (bool more = !text.empty(); more; ++values) {
    const auto comma = text.find(',');
    const auto value = number(text.substr(0, comma));
    more = comma != std::string_view::npos;
    if (more) text.remove_prefix(comma + 1);
    if (values % 2 == 0) {
      offset = value;
    } else {
      append(map, {offset, value});
    }
  }
  if (values % 2 != 0 || values / 2 != fragments) fail();
}

void SparseText::restart() {
  digits_.clear();
  announced_ = -1;
  taken_ = 0;
}

bool SparseText::take(TarBlock block) {
  for (const char c : block) {
    if (complete()) break;  // the rest of the last block means nothing
    if (c != '\n') {
      if (digits_.size() == longest_number) fail();
      digits_ += c;
      continue;
    }
    take_number(number(digits_));
    digits_.clear();
  }
  return complete();
}

void SparseText::take_number(std::int64_t value) {
  if (announced_ < 0) {
    if (value < 0) fail();
    if (static_cast<std::uint64_t>(value) > most_sparse_fragments)
      fail("a sparse file of too many fragments");
    announced_ = value;
    return;
  }
  if (taken_++ % 2 == 0) {
    append(map_, {value, 0});
  } else {
    map_.back().length = value;
  }
}

}  // namespace lazypull
