#pragma once

#include <string>
#include <vector>

namespace lazypull {

/// Columns as wide as their widest cell, with a blank between them, as ctr prints tables; no blanks at the
/// ends of lines. Cells are made safe for a terminal; an empty one becomes "-".
class Table {
 public:
  explicit Table(std::vector<std::string> headings) { rows_.push_back(std::move(headings)); }

  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace lazypull
