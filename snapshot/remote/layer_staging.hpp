#pragma once

#include "engine/digest.hpp"
#include "snapshot/remote/remote_layers.hpp"

#include <cstdint>
#include <filesystem>

/// The last steps of putting a layer into a storage, and of taking one out. Blocking; all throw Error with
/// the path in its message.
namespace lazypull {

/// Makes the storage's directories. Throws permission_denied, out_of_space, …
void make_storage(const std::filesystem::path& storage);

/// Where publishers work, inside the storage.
std::filesystem::path publishing_folder(const std::filesystem::path& storage);

struct FileFacts {
  std::uint64_t size = 0;
  Digest digest;
};
/// Reads the whole file.
FileFacts facts_of_file(const std::filesystem::path& file);

/// Writes the record beside the data in `folder`, flushes both to the disk, and renames the folder to where
/// the storage keeps the layer. What is there and not sound is replaced, and moved to `discarded`. False, and
/// nothing done, if the storage has the layer by now.
bool place_published(const std::filesystem::path& storage, const LayerRecord& record,
                     const std::filesystem::path& folder, const std::filesystem::path& discarded);

/// Moves the layer to `discarded`. False if the storage has none.
bool take_out_layer(const std::filesystem::path& storage, const Digest& layer,
                    const std::filesystem::path& discarded);

/// The layer, or nothing where it is not there, or so unsound that it is to be made anew. Throws where the
/// storage itself is at fault, and for records of a later version.
std::optional<RemoteLayer> sound_layer(const std::filesystem::path& storage, const Digest& layer,
                                       const Digest& diff_id);

}  // namespace lazypull
