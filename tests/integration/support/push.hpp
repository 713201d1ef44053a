#pragma once

#include "tests/integration/support/image.hpp"
#include "tests/integration/support/registry.hpp"

#include <string>
#include <string_view>

namespace lazypull::test {

enum class ManifestFormat { oci, docker };

/// Pushes with skopeo as a client does, with the registry's credentials and certificates; an index with all
/// of its images. `docker` converts to Docker's schema 2. `name` is "repository:tag". Returns the full
/// reference.
std::string push(const Image& image, Registry& registry, std::string_view name,
                 ManifestFormat format = ManifestFormat::oci);

/// The same image with all layers converted to eStargz by ctr-remote; they carry the TOC digest as an
/// annotation. Mix its layers with others through ImageBuilder for a partly lazy image.
Image to_estargz(const Image& image);

}  // namespace lazypull::test
