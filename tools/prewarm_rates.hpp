#pragma once

#include "engine/permit_queue.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace lazypull {

/// Bytes a second of each class of pulls that is named; 0 is no limit, as for those that are not named.
using ClassRates = std::map<PullClass, std::uint64_t>;

/// Adds "prewarm=20M" or "serving=0". Throws Error{invalid_argument} that begins with `name`.
void add_class_rate(ClassRates& rates, std::string_view text, const std::string& name);

/// One CLASS=RATE a line; blank lines do not count, nor does what comes after a `#`. A class that is named
/// twice is a mistake. Throws Error{invalid_argument} that names `name` and the line.
ClassRates parse_class_rates(std::string_view text, const std::string& name);

/// Reads a file of at most 64 KiB. Blocks. Throws as parse_class_rates, and where it cannot be read.
ClassRates read_class_rates(const std::string& file);

}  // namespace lazypull
