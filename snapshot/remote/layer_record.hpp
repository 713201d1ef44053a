#pragma once

#include "snapshot/remote/remote_layers.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lazypull {

inline constexpr std::uint64_t max_layer_record_bytes = 64U << 10U;
inline constexpr std::size_t max_layer_attributes = 16;

/// "dir", "erofs", "squashfs".
std::string_view to_string(LayerFormat format) noexcept;
std::optional<LayerFormat> parse_layer_format(std::string_view word) noexcept;

/// The text of layer.json (docs/remote-layers.md).
std::string layer_record_text(const LayerRecord& record);

/// Throws Error{bad_response} or {invalid_image} for a record that is not sound, {digest_mismatch} for one of
/// another layer than `expected`, {unsupported} for a later version. `name` is for messages.
LayerRecord parse_layer_record(std::string_view text, const Digest& expected, const std::string& name);

}  // namespace lazypull
