#pragma once

#include "engine/prewarm.hpp"
#include "tools/prewarm_command.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace lazypull {

/// Reads a list of images, one a line: a reference, then `platform=OS/ARCH[,…]` and `priority=N` (from -1000
/// to 1000) in any order. Blank lines do not count, nor does what comes after a `#` that begins a word.
/// Throws Error{invalid_argument} that names `name` and the line.
std::vector<PrewarmItem> parse_prewarm_list(std::string_view text, const std::string& name);

/// From -1000 to 1000. Throws Error{invalid_argument}.
int parse_prewarm_priority(std::string_view text);

/// The files one after another, `-` being standard input, and then the single images. Those that were named
/// more than once for the same platforms are there once, at their first place and with their highest
/// priority. Blocks. Throws Error{invalid_argument}: a file that cannot be read or is larger than 16 MiB (of
/// YAML: 4 MiB), a bad line, or no image at all.
std::vector<PrewarmItem> read_prewarm_lists(const std::vector<std::string>& files,
                                            const std::vector<std::string>& images,
                                            PrewarmFormat format = PrewarmFormat::automatic);

}  // namespace lazypull
