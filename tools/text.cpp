#include "tools/text.hpp"

#include <array>
#include <cstdio>

namespace lazypull {
namespace {

template <class... Values>
std::string format(const char* pattern, Values... values) {
  std::array<char, 64> buffer{};
  const int length = std::snprintf(buffer.data(), buffer.size(), pattern, values...);
  return length < 0 ? std::string() : std::string(buffer.data());
}

bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U;
}

/// Bytes of the valid UTF-8 sequence at the start, 0 if there is none. Rejects overlong forms and surrogates.
std::size_t utf8_length(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80U) return 1;
  std::size_t length = 0;
  if (first >= 0xC2U && first <= 0xDFU) length = 2;
  if (first >= 0xE0U && first <= 0xEFU) length = 3;
  if (first >= 0xF0U && first <= 0xF4U) length = 4;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if (!is_continuation(text[i])) return 0;
  }
  const auto second = static_cast<unsigned char>(text[1]);
  const bool overlong = (first == 0xE0U && second < 0xA0U) || (first == 0xF0U && second < 0x90U);
  const bool out_of_range = (first == 0xEDU && second >= 0xA0U) || (first == 0xF4U && second >= 0x90U);
  return overlong || out_of_range ? 0 : length;
}

bool is_control(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return first < 0x20U || first == 0x7FU;
  // U+0080 to U+009F: some terminals take them for escape sequences too.
  return character.size() == 2 && first == 0xC2U && static_cast<unsigned char>(character[1]) < 0xA0U;
}

}  // namespace

std::string format_bytes(std::uint64_t bytes) {
  if (bytes < 1024) return format("%llu B", static_cast<unsigned long long>(bytes));
  static constexpr std::array<const char*, 6> units{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  // 1023.95 would be shown as 1024.0.
  while (value >= 1023.95 && unit + 1 < units.size()) {
    value /= 1024;
    ++unit;
  }
  return format("%.1f %s", value, units[unit]);
}

std::string format_duration(std::chrono::nanoseconds duration) {
  const auto nanoseconds = duration.count();
  if (nanoseconds < 1'000'000) return format("%.1f ms", static_cast<double>(nanoseconds) / 1e6);
  if (nanoseconds < 999'500'000) return format("%.0f ms", static_cast<double>(nanoseconds) / 1e6);
  if (nanoseconds < 59'950'000'000) return format("%.1f s", static_cast<double>(nanoseconds) / 1e9);
  const auto seconds = static_cast<long long>((nanoseconds + 500'000'000) / 1'000'000'000);
  if (seconds < 3600) return format("%lld m %02lld s", seconds / 60, seconds % 60);
  return format("%lld h %02lld m", seconds / 3600, seconds % 3600 / 60);
}

std::string format_count(std::uint64_t count, std::string_view noun) {
  std::string text = std::to_string(count) + " " + std::string(noun);
  if (count != 1) text += 's';
  return text;
}

std::string short_digest(const Digest& digest) {
  return std::string(digest.hex().substr(0, 12));
}

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    if (length == 0) {
      out += '?';
      text.remove_prefix(1);
      continue;
    }
    const auto character = text.substr(0, length);
    if (is_control(character)) {
      out += ' ';
    } else {
      out += character;
    }
    text.remove_prefix(length);
  }
  return out;
}

}  // namespace lazypull
