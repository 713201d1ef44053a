#pragma once

#include "engine/digest.hpp"
#include "engine/sha256_state.hpp"
#include "snapshot/unpack/unique_fd.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace lazypull {

/// The SHA-256 of a partial blob, kept beside its file, so that whoever goes on from there need not read and
/// digest it again. Blocking; to be used by one thread at a time.
///
/// It is of use only while the file is as it was left: the record holds for the same file (device, inode), of
/// the same size and time of change, in the same boot, for the same expected digest, and it ends with a
/// digest of itself. Anything else, and a record of another version, is as if there were none. Written after
/// each piece, without flushing: it is to survive the process, not the kernel.
class IngestCheckpoint {
 public:
  /// Smaller ones are digested faster than a record is kept.
  static constexpr std::uint64_t min_bytes = 1U << 20U;

  /// Beside `data`. `boot_id` is that of the running kernel.
  IngestCheckpoint(const std::filesystem::path& data, Digest expected, std::string boot_id);
  IngestCheckpoint(const std::filesystem::path& data, Digest expected);

  /// The state that is good for the file as it is, whose size is `offset`.
  std::optional<Sha256State> load(const UniqueFd& data, std::uint64_t offset) const;
  /// To be called right after the file has been written. What fails is only that there is no record then.
  void save(const UniqueFd& data, std::uint64_t offset, const Sha256State& state) noexcept;
  void remove() noexcept;

 private:
  std::string text_of(const UniqueFd& data, std::uint64_t offset, const Sha256State& state) const;

  std::filesystem::path record_;
  Digest expected_;
  std::string boot_id_;
  UniqueFd file_;
};

}  // namespace lazypull
