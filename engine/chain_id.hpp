#pragma once

#include "engine/digest.hpp"

#include <span>
#include <vector>

namespace lazypull {

/// The ChainID of every prefix of the DiffIDs, lowest layer first (image-spec, config.md, "Layer ChainID"):
/// the first is the DiffID itself, each further one the SHA-256 of "parent diffid".
std::vector<Digest> chain_ids(std::span<const Digest> diff_ids);

}  // namespace lazypull
