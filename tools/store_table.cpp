#include "tools/store_table.hpp"

#include "tools/text.hpp"

#include <algorithm>
#include <string_view>

namespace lazypull {

namespace {

/// Characters, not bytes.
std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

std::string cell_text(const std::string& cell) {
  return cell.empty() ? "-" : printable(cell);
}

}  // namespace

std::string Table::text() const {
  std::vector<std::size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(cell_text(row[i])));
  }
  std::string text;
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      const auto cell = cell_text(row[i]);
      text += cell;
      if (i + 1 < row.size()) text.append(widths[i] - width_of(cell) + 1, ' ');
    }
    text += '\n';
  }
  return text;
}

}  // namespace lazypull
