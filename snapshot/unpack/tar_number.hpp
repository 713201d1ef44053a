#pragma once

#include "snapshot/unpack/tar_entry.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

/// Numbers as tar archives hold them. Nothing is returned where the text is no number or does not fit.
namespace lazypull {

/// The part before the first NUL, or all.
std::string_view tar_text(std::span<const char> field) noexcept;

/// Octal digits with NULs and spaces around them; nothing but those is 0.
std::optional<std::int64_t> tar_octal(std::span<const char> field) noexcept;

/// Octal, or GNU's base-256 (big-endian two's complement) where the first bit is set.
std::optional<std::int64_t> tar_numeric(std::span<const char> field) noexcept;

/// Decimal digits after an optional sign.
std::optional<std::int64_t> decimal(std::string_view text) noexcept;

/// "[-]SECONDS[.FRACTION]" of POSIX pax. Digits beyond nanoseconds are dropped.
std::optional<TarTime> pax_time(std::string_view text) noexcept;

/// Whole seconds. Those that no clock can hold are `never`.
TarTime tar_time(std::int64_t seconds) noexcept;

}  // namespace lazypull
