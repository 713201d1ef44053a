#pragma once

#include "engine/prewarm.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace lazypull {

/// Reads a list of images as YAML 1.2, or JSON, which is part of it:
///
///     defaults: {platforms: [linux/amd64], priority: 0}
///     images:
///       - reference: registry.example.com/app:1
///         platforms: [linux/arm64, linux/amd64]
///         priority: 10
///       - registry.example.com/db:7
///
/// What an image says goes before the defaults. Nothing else is understood: other keys, keys that are there
/// twice, tags, anchors and aliases (so that a small file cannot become a large list), a second document, and
/// more than 100,000 images are mistakes. Throws Error{invalid_argument} that names `name` and the line.
std::vector<PrewarmItem> parse_prewarm_yaml(std::string_view text, const std::string& name);

}  // namespace lazypull
