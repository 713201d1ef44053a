#include "snapshot/remote/layer_storage.hpp"

#include "engine/error.hpp"
#include "snapshot/embedded/files.hpp"
#include "snapshot/remote/image_mount.hpp"
#include "snapshot/remote/layer_record.hpp"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <fcntl.h>
#include <linux/openat2.h>
#include <span>
#include <unistd.h>

namespace lazypull {
namespace {

/// Invalid, with errno set, if it cannot be opened.
UniqueFd open_beneath(int folder, const std::string& name, int flags) {
  ::open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return UniqueFd(static_cast<int>(::syscall(SYS_openat2, folder, name.c_str(), &how, sizeof how)));
}

UniqueFd open_storage(const std::filesystem::path& storage) {
  UniqueFd folder(::open(storage.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder) {
    if (errno == ENOENT || errno == ENOTDIR) {
      throw Error(Errc::not_found, "storage " + storage.string() + " is not there");
    }
    throw_errno("open storage " + storage.string());
  }
  return folder;
}

/// Nothing if the storage has no such folder.
UniqueFd open_layer(const UniqueFd& storage, const Digest& layer, const std::filesystem::path& name) {
  const auto below = std::string(layer.algorithm()) + "/" + std::string(layer.hex());
  UniqueFd folder = open_beneath(storage.get(), below, O_PATH | O_DIRECTORY);
  if (!folder && errno != ENOENT) {
    if (errno == ELOOP || errno == ENOTDIR) {
      throw Error(Errc::invalid_image, name.string() + " is no directory of the storage");
    }
    throw_errno("open " + name.string());
  }
  return folder;
}

struct ::stat status_of(const UniqueFd& file, const std::filesystem::path& name) {
  struct ::stat status{};
  if (::fstat(file.get(), &status) != 0) throw_errno("stat " + name.string());
  return status;
}

/// Never waits for a writer of a FIFO, and never opens a device.
UniqueFd open_regular(const UniqueFd& folder, const std::string& name, const std::filesystem::path& path,
                      struct ::stat& status) {
  const UniqueFd found = open_beneath(folder.get(), name, O_PATH | O_NOFOLLOW);
  if (!found) {
    if (errno == ENOENT) throw Error(Errc::not_found, path.string() + " is missing");
    throw_errno("open " + path.string());
  }
  if (!S_ISREG(status_of(found, path).st_mode)) {
    throw Error(Errc::invalid_image, path.string() + " is no regular file");
  }
  UniqueFd file = open_beneath(folder.get(), name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!file) throw_errno("open " + path.string());
  status = status_of(file, path);
  if (!S_ISREG(status.st_mode)) throw Error(Errc::invalid_image, path.string() + " is no regular file");
  return file;
}

LayerRecord read_record(const UniqueFd& folder, const Digest& layer, const std::filesystem::path& path) {
  struct ::stat status{};
  const auto file = open_regular(folder, layer_record_name, path, status);
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > max_layer_record_bytes) {
    throw Error(Errc::invalid_image, path.string() + ": it is longer than a record can be");
  }
  std::string text(static_cast<std::size_t>(size), '\0');
  text.resize(read_at(file, std::as_writable_bytes(std::span(text)), 0, path));
  return parse_layer_record(text, layer, path.string());
}

UniqueFd open_directory_data(const UniqueFd& folder, const std::filesystem::path& path) {
  UniqueFd data = open_beneath(folder.get(), layer_data_name(LayerFormat::directory), O_PATH | O_NOFOLLOW);
  if (!data) {
    if (errno == ENOENT) throw Error(Errc::not_found, path.string() + " is missing");
    throw_errno("open " + path.string());
  }
  if (!S_ISDIR(status_of(data, path).st_mode)) {
    throw Error(Errc::invalid_image, path.string() + " is no directory");
  }
  return data;
}

/// Descriptors that only name a path have no fgetxattr.
void check_attributes(const UniqueFd& data, const LayerRecord& record, const std::filesystem::path& path) {
  for (const auto& attribute : record.attributes) {
    const UniqueFd file = open_beneath(data.get(), attribute.path, O_PATH | O_NOFOLLOW);
    if (!file) throw Error(Errc::invalid_image, (path / attribute.path).string() + " is missing");
    const auto name = "/proc/self/fd/" + std::to_string(file.get());
    if (::getxattr(name.c_str(), attribute.name.c_str(), nullptr, 0) >= 0) continue;
    throw Error(Errc::failed_precondition,
                path.string() + ": the file system does not give the attribute " + attribute.name + " of " +
                    attribute.path + " (network file systems often do not); publish the layer as erofs");
  }
}

UniqueFd open_image_data(const UniqueFd& folder, const LayerRecord& record,
                         const std::filesystem::path& path) {
  struct ::stat status{};
  auto image = open_regular(folder, layer_data_name(record.format), path, status);
  if (static_cast<std::uint64_t>(status.st_size) != record.image_size) {
    throw Error(Errc::size_mismatch, path.string() + " has " + std::to_string(status.st_size) +
                                         " bytes where its record says " + std::to_string(record.image_size));
  }
  return image;
}

UniqueFd open_data(const UniqueFd& folder, const LayerRecord& record, const std::filesystem::path& path) {
  if (record.format != LayerFormat::directory) return open_image_data(folder, record, path);
  auto data = open_directory_data(folder, path);
  check_attributes(data, record, path);
  return data;
}

}  // namespace

std::filesystem::path layer_folder(const std::filesystem::path& storage, const Digest& layer) {
  return storage / layer.algorithm() / layer.hex();
}

std::string layer_data_name(LayerFormat format) {
  if (format == LayerFormat::directory) return "fs";
  return "layer." + std::string(to_string(format));
}

std::optional<RemoteLayer> read_layer(const std::filesystem::path& storage, const Digest& layer) {
  const auto path = layer_folder(storage, layer);
  const auto folder = open_layer(open_storage(storage), layer, path);
  if (!folder) return std::nullopt;
  RemoteLayer found;
  found.record = read_record(folder, layer, path / layer_record_name);
  found.data = path / layer_data_name(found.record.format);
  open_data(folder, found.record, found.data);
  return found;
}

UniqueFd open_layer_data(const std::filesystem::path& storage, const RemoteLayer& layer) {
  const auto path = layer_folder(storage, layer.record.digest);
  const auto folder = open_layer(open_storage(storage), layer.record.digest, path);
  if (!folder) throw Error(Errc::not_found, path.string() + " is missing");
  try {
    auto data = open_data(folder, layer.record, layer.data);
    if (layer.record.format != LayerFormat::directory) {
      check_superblock(data, layer.record.format, layer.record.image_size, layer.data);
    }
    return data;
  } catch (const Error& error) {
    if (error.code() != Errc::size_mismatch && error.code() != Errc::invalid_image) throw;
    throw Error(Errc::failed_precondition, error.message());
  }
}

std::vector<Digest> list_layers(const std::filesystem::path& storage) {
  open_storage(storage);
  std::vector<Digest> layers;
  for (const std::string algorithm : {"sha256", "sha512"}) {
    for (const auto& name : names_in(storage / algorithm)) {
      if (auto digest = Digest::try_parse(std::string(algorithm).append(":").append(name))) {
        layers.push_back(std::move(*digest));
      }
    }
  }
  return layers;
}

}  // namespace lazypull
