#include "transport/registry_server_range.hpp"

#include "transport/http_message.hpp"

#include <algorithm>
#include <limits>
#include <optional>

namespace lazypull {

namespace {

// A number that is too large for 64 bits is as good as the largest that is not.
std::optional<std::uint64_t> position(std::string_view digits) noexcept {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (digits.empty() || !std::all_of(digits.begin(), digits.end(), is_digit)) return std::nullopt;
  return parse_decimal(digits).value_or(std::numeric_limits<std::uint64_t>::max());
}

ServedRange part(std::uint64_t first, std::uint64_t last) noexcept {
  return {ServedRange::Kind::part, first, last - first + 1};
}

}  // namespace

ServedRange parse_range(std::string_view field, std::uint64_t size) noexcept {
  const ServedRange whole{ServedRange::Kind::whole, 0, size};
  const ServedRange unsatisfiable{ServedRange::Kind::unsatisfiable, 0, 0};
  const auto equals = field.find('=');
  if (equals == std::string_view::npos || !iequals(field.substr(0, equals), "bytes")) return whole;
  const auto range = trim(field.substr(equals + 1));
  const auto dash = range.find('-');
  if (dash == std::string_view::npos) return whole;
  const auto first = position(range.substr(0, dash));
  const auto last = position(range.substr(dash + 1));
  if (!first && dash > 0) return whole;
  if (!last && dash + 1 < range.size()) return whole;
  if (!first) {
    if (!last) return whole;
    return *last == 0 || size == 0 ? unsatisfiable : part(size - std::min(*last, size), size - 1);
  }
  if (last && *last < *first) return whole;
  if (*first >= size) return unsatisfiable;
  return part(*first, std::min(last.value_or(size - 1), size - 1));
}

}  // namespace lazypull
