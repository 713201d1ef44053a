#include "snapshot/unpack/tar_number.hpp"

#include <algorithm>
#include <charconv>
#include <limits>

namespace lazypull {
namespace {

constexpr std::int64_t nanoseconds_per_second = 1'000'000'000;

std::optional<std::int64_t> base_256(std::span<const char> field) noexcept {
  // Negative numbers are the complement of what their inverted bytes say.
  const auto first = static_cast<unsigned char>(field.front());
  const unsigned inverted = (first & 0x40U) != 0 ? 0xffU : 0U;
  std::uint64_t value = 0;
  bool leading = true;
  for (const char c : field) {
    unsigned byte = static_cast<unsigned char>(c) ^ inverted;
    if (leading) byte &= 0x7fU;
    leading = false;
    if (value >> 56U != 0) return std::nullopt;
    value = value << 8U | byte;
  }
  if (value >> 63U != 0) return std::nullopt;
  const auto magnitude = static_cast<std::int64_t>(value);
  return inverted != 0 ? ~magnitude : magnitude;
}

bool is_padding(char c) noexcept {
  return c == ' ' || c == '\0';
}

}  // namespace

std::string_view tar_text(std::span<const char> field) noexcept {
  const auto end = std::ranges::find(field, '\0');
  return {field.data(), static_cast<std::size_t>(end - field.begin())};
}

std::optional<std::int64_t> tar_octal(std::span<const char> field) noexcept {
  while (!field.empty() && is_padding(field.front())) field = field.subspan(1);
  while (!field.empty() && is_padding(field.back())) field = field.first(field.size() - 1);
  if (field.empty()) return 0;
  std::uint64_t value = 0;
  for (const char c : tar_text(field)) {
    if (c < '0' || c > '7' || value >> 61U != 0) return std::nullopt;
    value = value << 3U | static_cast<std::uint64_t>(c - '0');
  }
  return static_cast<std::int64_t>(value);
}

std::optional<std::int64_t> tar_numeric(std::span<const char> field) noexcept {
  if (!field.empty() && (static_cast<unsigned char>(field.front()) & 0x80U) != 0) return base_256(field);
  return tar_octal(field);
}

std::optional<std::int64_t> decimal(std::string_view text) noexcept {
  if (text.starts_with('+')) {
    text.remove_prefix(1);
    if (text.starts_with('-')) return std::nullopt;
  }
  std::int64_t value = 0;
  const char* begin = text.data();
  const char* end = begin + text.size();
  const auto [stopped, error] = std::from_chars(begin, end, value);
  if (error != std::errc{} || stopped != end) return std::nullopt;
  return value;
}

TarTime tar_time(std::int64_t seconds) noexcept {
  // Go counts seconds from year 1, so the largest wrap around and become the smallest.
  constexpr std::int64_t from_year_1 = 62'135'596'800;
  if (seconds > std::numeric_limits<std::int64_t>::max() - from_year_1) return never;
  return {seconds, 0};
}

std::optional<TarTime> pax_time(std::string_view text) noexcept {
  const auto point = text.find('.');
  const auto whole = text.substr(0, point);
  const auto seconds = decimal(whole);
  if (!seconds) return std::nullopt;
  auto time = tar_time(*seconds);
  const auto fraction = point == std::string_view::npos ? std::string_view{} : text.substr(point + 1);
  std::int64_t nanoseconds = 0;
  std::int64_t unit = nanoseconds_per_second / 10;
  for (const char c : fraction) {
    if (c < '0' || c > '9') return std::nullopt;
    nanoseconds += (c - '0') * unit;
    unit /= 10;
  }
  if (nanoseconds == 0 || time == never) return time;
  if (whole.starts_with('-')) {
    if (time.seconds == std::numeric_limits<std::int64_t>::min()) return never;
    --time.seconds;
    nanoseconds = nanoseconds_per_second - nanoseconds;
  }
  time.nanoseconds = static_cast<std::uint32_t>(nanoseconds);
  return time;
}

}  // namespace lazypull
