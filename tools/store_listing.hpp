#pragma once

#include "snapshot/embedded/store.hpp"

#include <string>

/// What the store has, as tables with ctr's columns, as bare names, or as one JSON object.
namespace lazypull {

std::string list_images(EmbeddedStore& store, bool quiet, bool as_json);
std::string list_content(EmbeddedStore& store, bool quiet, bool as_json);
std::string list_snapshots(EmbeddedStore& store, bool quiet, bool as_json);

/// What an image is made of and what of it is there. Throws Error{not_found}.
std::string inspect_image(EmbeddedStore& store, const std::string& name, bool as_json);

/// The commands that would mount a snapshot. Throws Error{not_found}; {failed_precondition} if it is
/// committed.
std::string mount_commands(EmbeddedStore& store, const std::string& key, const std::string& target,
                           bool as_json);

}  // namespace lazypull
