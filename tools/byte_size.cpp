#include "tools/byte_size.hpp"

#include <charconv>
#include <limits>

namespace lazypull {

namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

}  // namespace

std::optional<std::uint64_t> parse_byte_size(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  unsigned shift = 0;
  if (!text.empty()) {
    const auto unit = std::string_view("kmgt").find(lower(text.front()));
    if (unit != std::string_view::npos) {
      shift = 10 * (static_cast<unsigned>(unit) + 1);
      text.remove_prefix(1);
      if (text.size() == 2 && lower(text.front()) == 'i') text.remove_prefix(1);
    }
  }
  if (text.size() == 1 && lower(text.front()) == 'b') text.remove_prefix(1);
  constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
  if (!text.empty() || number > most >> shift) return std::nullopt;
  return number << shift;
}

}  // namespace lazypull
