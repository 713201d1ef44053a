#include "snapshot/unpack/tar_header.hpp"

#include "engine/error.hpp"
#include "snapshot/unpack/tar_number.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace lazypull {
namespace {

/// Where the fields are: POSIX.1 "ustar Interchange Format", and GNU tar's and star's manuals.
struct Field {
  std::size_t offset;
  std::size_t size;
};
constexpr Field name_field{0, 100};
constexpr Field mode_field{100, 8};
constexpr Field uid_field{108, 8};
constexpr Field gid_field{116, 8};
constexpr Field size_field{124, 12};
constexpr Field mtime_field{136, 12};
constexpr Field checksum_field{148, 8};
constexpr std::size_t type_offset = 156;
constexpr Field link_field{157, 100};
constexpr Field magic_field{257, 6};
constexpr Field version_field{263, 2};
constexpr Field major_field{329, 8};
constexpr Field minor_field{337, 8};
constexpr Field prefix_field{345, 155};
constexpr Field gnu_atime_field{345, 12};
constexpr Field gnu_ctime_field{357, 12};
constexpr Field gnu_sparse_field{386, 96};
constexpr std::size_t gnu_extended_offset = 482;
constexpr Field gnu_real_size_field{483, 12};
constexpr Field extension_sparse_field{0, 504};
constexpr std::size_t extension_extended_offset = 504;
constexpr Field star_prefix_field{345, 131};
constexpr Field star_atime_field{476, 12};
constexpr Field star_ctime_field{488, 12};
constexpr Field star_trailer_field{508, 4};

std::span<const char> in(TarBlock block, Field field) noexcept {
  return std::span<const char>(block).subspan(field.offset, field.size);
}

bool holds(TarBlock block, Field field, const char* text) noexcept {
  return std::memcmp(block.data() + field.offset, text, field.size) == 0;
}

[[noreturn]] void fail(const char* why) {
  throw Error(Errc::invalid_image, why);
}

std::int64_t number(TarBlock block, Field field) {
  const auto value = tar_numeric(in(block, field));
  if (!value) fail("a header with an invalid number");
  return *value;
}

bool checksum_matches(TarBlock block) noexcept {
  const auto expected = tar_octal(in(block, checksum_field));
  if (!expected) return false;
  // The field itself counts as spaces. Old tars added up signed bytes.
  std::int64_t plain = 0;
  std::int64_t negative = 0;
  for (const char c : block) {
    plain += static_cast<unsigned char>(c);
    negative += static_cast<signed char>(c);
  }
  for (const char c : in(block, checksum_field)) {
    plain += ' ' - static_cast<unsigned char>(c);
    negative += ' ' - static_cast<signed char>(c);
  }
  return *expected == plain || *expected == negative;
}

TarFormat format_of(TarBlock block) noexcept {
  if (holds(block, magic_field, "ustar\0")) {
    return holds(block, star_trailer_field, "tar\0") ? TarFormat::star : TarFormat::ustar;
  }
  const bool gnu = holds(block, magic_field, "ustar ") && holds(block, version_field, " \0");
  return gnu ? TarFormat::gnu : TarFormat::v7;
}

void put_before(std::string_view prefix, std::string& name) {
  if (prefix.empty()) return;
  name.insert(0, 1, '/');
  name.insert(0, prefix);
}

bool is_ascii(std::string_view text) noexcept {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

/// GNU's access time. Go before 1.8 wrote a ustar prefix there: what is no time is taken for that.
void parse_gnu_times(TarBlock block, TarEntry& entry) {
  bool valid = true;
  for (const auto field : {gnu_atime_field, gnu_ctime_field}) {
    if (block[field.offset] == '\0') continue;
    const auto seconds = tar_numeric(in(block, field));
    valid = valid && seconds;
    if (seconds && field.offset == gnu_atime_field.offset) entry.accessed = tar_time(*seconds);
  }
  if (valid) return;
  entry.accessed = never;
  const auto prefix = tar_text(in(block, prefix_field));
  if (is_ascii(prefix)) put_before(prefix, entry.name);
}

}  // namespace

bool is_zero(TarBlock block) noexcept {
  return block.front() == '\0' && std::memcmp(block.data(), block.data() + 1, block.size() - 1) == 0;
}

TarFormat parse_tar_header(TarBlock block, TarEntry& entry) {
  if (!checksum_matches(block)) fail("a header with a wrong checksum");
  const auto format = format_of(block);
  entry.type = block[type_offset];
  entry.name = tar_text(in(block, name_field));
  entry.link = tar_text(in(block, link_field));
  entry.size = number(block, size_field);
  entry.mode = number(block, mode_field);
  entry.uid = number(block, uid_field);
  entry.gid = number(block, gid_field);
  entry.modified = tar_time(number(block, mtime_field));
  entry.accessed = never;
  entry.device_major = 0;
  entry.device_minor = 0;
  if (format == TarFormat::v7) return format;
  entry.device_major = number(block, major_field);
  entry.device_minor = number(block, minor_field);
  if (format == TarFormat::ustar) {
    put_before(tar_text(in(block, prefix_field)), entry.name);
  } else if (format == TarFormat::star) {
    put_before(tar_text(in(block, star_prefix_field)), entry.name);
    entry.accessed = tar_time(number(block, star_atime_field));
    number(block, star_ctime_field);
  } else {
    parse_gnu_times(block, entry);
  }
  return format;
}

GnuSparseFields gnu_sparse_in_header(TarBlock block) noexcept {
  return {in(block, gnu_sparse_field), block[gnu_extended_offset] != '\0'};
}

GnuSparseFields gnu_sparse_in_extension(TarBlock block) noexcept {
  return {in(block, extension_sparse_field), block[extension_extended_offset] != '\0'};
}

std::span<const char> gnu_real_size(TarBlock block) noexcept {
  return in(block, gnu_real_size_field);
}

}  // namespace lazypull
