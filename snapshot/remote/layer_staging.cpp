#include "snapshot/remote/layer_staging.hpp"

#include "engine/error.hpp"
#include "snapshot/embedded/files.hpp"
#include "snapshot/remote/layer_record.hpp"
#include "snapshot/remote/layer_storage.hpp"

#include <sys/stat.h>
#include <system_error>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <fcntl.h>
#include <span>
#include <unistd.h>
#include <vector>

namespace lazypull {
namespace {

void make_directory(const std::filesystem::path& folder, ::mode_t mode) {
  if (::mkdir(folder.c_str(), mode) == 0) {
    if (::chmod(folder.c_str(), mode) != 0) throw_errno("chmod " + folder.string());
  } else if (errno != EEXIST) {
    throw_errno("mkdir " + folder.string());
  }
}

void flush(const std::filesystem::path& file) {
  const auto opened = open_file(file, O_RDONLY);
  if (::fsync(opened.get()) != 0) throw_errno("flush " + file.string());
}

/// A directory's files have no list of their own, so the file system is flushed.
void flush_all(const std::filesystem::path& folder) {
  const auto opened = open_file(folder, O_RDONLY | O_DIRECTORY);
  if (::syncfs(opened.get()) != 0) throw_errno("flush " + folder.string());
}

void write_record(const LayerRecord& record, const std::filesystem::path& file) {
  const auto text = layer_record_text(record);
  const auto opened = open_file(file, O_WRONLY | O_CREAT | O_EXCL, 0644);
  write_at(opened, std::as_bytes(std::span(text)), 0, file);
  if (::fchmod(opened.get(), 0644) != 0) throw_errno("chmod " + file.string());
}

/// Among all publishers, so that none moves away what another has just put into place.
UniqueFd lock_storage(const std::filesystem::path& storage) {
  const auto name = publishing_folder(storage) / "storage-lock";
  auto lock = open_file(name, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
  lock_file(lock, true, name);
  return lock;
}

void move(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    throw_errno("rename " + from.string() + " to " + to.string());
  }
}

}  // namespace

std::filesystem::path publishing_folder(const std::filesystem::path& storage) {
  return storage / "publishing";
}

void make_storage(const std::filesystem::path& storage) {
  std::error_code failure;
  std::filesystem::create_directories(storage, failure);
  if (failure) {
    errno = failure.value();
    throw_errno("make storage " + storage.string());
  }
  make_directory(storage / "sha256", 0755);
  make_directory(storage / "sha512", 0755);
  make_directory(publishing_folder(storage), 0700);
}

FileFacts facts_of_file(const std::filesystem::path& file) {
  const auto opened = open_file(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  FileFacts facts;
  Hasher hasher;
  std::vector<std::byte> buffer(1U << 20U);
  for (;;) {
    const auto got = read_at(opened, buffer, facts.size, file);
    hasher.update(std::span(buffer).first(got));
    facts.size += got;
    if (got < buffer.size()) break;
  }
  facts.digest = hasher.finish();
  return facts;
}

std::optional<RemoteLayer> sound_layer(const std::filesystem::path& storage, const Digest& layer,
                                       const Digest& diff_id) {
  try {
    auto found = read_layer(storage, layer);
    if (found && found->record.diff_id != diff_id) return std::nullopt;
    return found;
  } catch (const Error& error) {
    switch (error.code()) {
      case Errc::not_found:
      case Errc::bad_response:
      case Errc::invalid_image:
      case Errc::digest_mismatch:
      case Errc::size_mismatch:
        return std::nullopt;
      default:
        throw;
    }
  }
}

bool place_published(const std::filesystem::path& storage, const LayerRecord& record,
                     const std::filesystem::path& folder, const std::filesystem::path& discarded) {
  write_record(record, folder / layer_record_name);
  const bool directory = record.format == LayerFormat::directory;
  // Unpacked files are set-uid, and secret to others, as the image's author meant them to be inside it.
  if (::chmod(folder.c_str(), directory ? 0700 : 0755) != 0) throw_errno("chmod " + folder.string());
  if (directory) {
    flush_all(folder);
  } else {
    flush(folder / layer_data_name(record.format));
    flush(folder / layer_record_name);
    flush(folder);
  }
  const auto target = layer_folder(storage, record.digest);
  const auto lock = lock_storage(storage);
  if (sound_layer(storage, record.digest, record.diff_id)) return false;
  if (stat_of(target)) move(target, discarded);
  move(folder, target);
  flush(target.parent_path());
  return true;
}

bool take_out_layer(const std::filesystem::path& storage, const Digest& layer,
                    const std::filesystem::path& discarded) {
  const auto target = layer_folder(storage, layer);
  const auto lock = lock_storage(storage);
  if (!stat_of(target)) return false;
  move(target, discarded);
  flush(target.parent_path());
  return true;
}

}  // namespace lazypull
