#pragma once

#include "engine/awaitable.hpp"
#include "snapshot/remote/remote_layers.hpp"
#include "snapshot/remote/tree_survey.hpp"

#include <filesystem>

namespace lazypull {

/// Makes an EROFS or squashfs image of a layer's unpacked files with mkfs.erofs or mksquashfs; the same image
/// each time from the same files. `inherit`: as run_program has it. Throws failed_precondition if the program
/// is not installed, unsupported for what the format cannot hold, out_of_space, else internal.
Awaitable<> make_layer_image(LayerFormat format, std::filesystem::path tree, std::filesystem::path image,
                             Digest layer, TreeSurvey survey, int inherit);

}  // namespace lazypull
