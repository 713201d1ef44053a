#include "transport/duration.hpp"

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

namespace lazypull {
namespace {

constexpr std::uint64_t longest = std::numeric_limits<std::int64_t>::max();

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// Takes the digits from the front; nothing on overflow.
std::optional<std::uint64_t> take_integer(std::string_view& text) {
  std::uint64_t value = 0;
  while (!text.empty() && is_digit(text.front())) {
    const auto digit = static_cast<std::uint64_t>(text.front() - '0');
    if (value > (longest - digit) / 10) return std::nullopt;
    value = value * 10 + digit;
    text.remove_prefix(1);
  }
  return value;
}

/// Takes the digits of ".25" as 0.25; more digits than a double holds make no difference.
double take_fraction(std::string_view& text) {
  double value = 0;
  double weight = 0.1;
  while (!text.empty() && is_digit(text.front())) {
    value += weight * (text.front() - '0');
    weight /= 10;
    text.remove_prefix(1);
  }
  return value;
}

std::optional<std::uint64_t> take_unit(std::string_view& text) {
  // The longer names first: "m" is a prefix of "ms".
  static constexpr std::array<std::pair<std::string_view, std::uint64_t>, 8> units{
      {{"ns", 1},
       {"us", 1'000},
       {"\xC2\xB5s", 1'000},
       {"\xCE\xBCs", 1'000},
       {"ms", 1'000'000},
       {"s", 1'000'000'000},
       {"m", 60'000'000'000},
       {"h", 3'600'000'000'000}}};
  for (const auto& [name, nanoseconds] : units) {
    if (text.starts_with(name)) {
      text.remove_prefix(name.size());
      return nanoseconds;
    }
  }
  return std::nullopt;
}

/// One number with its unit.
std::optional<std::uint64_t> take_term(std::string_view& text) {
  const std::size_t before = text.size();
  const auto whole = take_integer(text);
  if (!whole) return std::nullopt;
  std::size_t digits = before - text.size();
  double fraction = 0;
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    const std::size_t start = text.size();
    fraction = take_fraction(text);
    digits += start - text.size();
  }
  if (digits == 0) return std::nullopt;
  const auto unit = take_unit(text);
  if (!unit || *whole > longest / *unit) return std::nullopt;
  const auto part = static_cast<std::uint64_t>(std::llround(fraction * static_cast<double>(*unit)));
  if (part > longest - *whole * *unit) return std::nullopt;
  return *whole * *unit + part;
}

}  // namespace

std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  if (text.empty()) return std::nullopt;
  if (text == "0") return std::chrono::nanoseconds(0);
  std::uint64_t sum = 0;
  while (!text.empty()) {
    const auto term = take_term(text);
    if (!term || *term > longest - sum) return std::nullopt;
    sum += *term;
  }
  return std::chrono::nanoseconds(static_cast<std::int64_t>(sum));
}

}  // namespace lazypull
