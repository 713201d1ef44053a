#pragma once

#include "engine/platform.hpp"
#include "snapshot/embedded/store.hpp"
#include "tools/tar_writer.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace lazypull {

struct ExportOptions {
  std::vector<Platform> platforms;  ///< whatever is there if empty
  bool all_platforms = false;
};

/// Writes an image as an OCI archive: a tar of an OCI layout (image-spec, image-layout.md) that has only this
/// image, the same bytes whenever it is written. An index is written as it is, though perhaps with manifests
/// missing, as `ctr images export` does. Throws Error{not_found} for content that is not in the store and
/// Error{digest_mismatch} where the store is damaged.
void export_image(EmbeddedStore& store, const std::string& name, const ExportOptions& options,
                  const TarWriter::Sink& sink);

}  // namespace lazypull
