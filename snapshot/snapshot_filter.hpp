#pragma once

#include "engine/ports.hpp"

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace lazypull {

/// Chooses snapshots as containerd's filters do (its package `filters`). A filter is a list of selectors with
/// commas between, all of which must hold; several filters are alternatives; none at all, and an empty one,
/// match everything.
///
///     selectors := selector ("," selector)*
///     selector  := fieldpath [operator value]        without an operator: the field is there
///     fieldpath := field ("." field)*                kind, name, parent, labels.KEY
///     field     := [A-Za-z0-9_]+ | quoted
///     operator  := "==" | "!=" | "~="
///     value     := what has neither blanks nor commas | quoted
///     quoted    := a Go string in "…"; after ~= in /…/ or |…| too, with the same escapes
///
/// Regular expressions are Go's (RE2: time linear in the text), matched anywhere in the value; one that RE2
/// refuses, or that would need more than a megabyte, matches nothing, as in containerd.
class SnapshotFilter {
 public:
  /// Throws Error{invalid_argument} for what does not follow the grammar, and where there is too much of it:
  /// more than 256 filters, 64 KiB in one, 1024 selectors or 64 regular expressions.
  static SnapshotFilter parse(std::span<const std::string> filters);

  bool matches(const SnapshotInfo& snapshot) const;

 private:
  struct Selector;
  struct Filters;
  explicit SnapshotFilter(std::shared_ptr<const Filters> filters) : filters_(std::move(filters)) {}

  std::shared_ptr<const Filters> filters_;
};

}  // namespace lazypull
