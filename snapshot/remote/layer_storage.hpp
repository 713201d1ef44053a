#pragma once

#include "snapshot/remote/remote_layers.hpp"
#include "snapshot/unpack/unique_fd.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

/// The files of a storage: DIR/ALGORITHM/HEX/{layer.json, fs/ | layer.erofs | layer.squashfs}. Blocking, and
/// for ever where the storage hangs. Below the storage's own directory no symbolic link is ever followed.
namespace lazypull {

std::filesystem::path layer_folder(const std::filesystem::path& storage, const Digest& layer);
/// "fs", "layer.erofs", "layer.squashfs".
std::string layer_data_name(LayerFormat format);
inline constexpr const char* layer_record_name = "layer.json";

/// The layer, with its record read and its data looked at: a directory, or a file of the right size. Nothing
/// if the storage has no such layer. Throws Error: not_found if there is no storage, or the data is missing;
/// what parse_layer_record throws; size_mismatch for a truncated image; invalid_image for data of another
/// kind; failed_precondition where the storage's file system does not show the layer's attributes.
std::optional<RemoteLayer> read_layer(const std::filesystem::path& storage, const Digest& layer);

/// The data, opened: the directory, or the image for reading after its first blocks were looked at. Throws
/// not_found if it has gone, failed_precondition if it is not whole.
UniqueFd open_layer_data(const std::filesystem::path& storage, const RemoteLayer& layer);

/// Throws not_found if there is no storage.
std::vector<Digest> list_layers(const std::filesystem::path& storage);

}  // namespace lazypull
