#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace lazypull {

/// Remembers the paths of a layer's entries in eight bytes each, because most layers never ask. That two
/// paths are taken for one is improbable, and costs no more than a file that a layer meant to hide from
/// itself.
class UnpackedPaths {
 public:
  void add(std::string_view path) {
    const auto hash = std::hash<std::string_view>{}(path);
    if (asked_) {
      set_.insert(hash);
    } else {
      list_.push_back(hash);
    }
  }
  void begin_questions() {
    asked_ = true;
    set_.insert(list_.begin(), list_.end());
    list_.clear();
  }
  bool contains(std::string_view path) const { return set_.contains(std::hash<std::string_view>{}(path)); }

 private:
  bool asked_ = false;
  std::vector<std::uint64_t> list_;
  std::unordered_set<std::uint64_t> set_;
};

}  // namespace lazypull
