#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace lazypull {

/// Where decompressed bytes go: gives room, and is told how much of it was filled.
class ByteOutput {
 public:
  virtual ~ByteOutput() = default;
  /// Never empty. Large rooms (512 KiB or more) make for fewer calls.
  virtual std::span<std::byte> room() = 0;
  /// The first `bytes` of the last room are filled.
  virtual void produced(std::size_t bytes) = 0;
};

struct InflateLimits {
  std::uint64_t output_bytes = std::uint64_t{1} << 40U;  ///< of the whole stream
  int zstd_window_log = 27;                              ///< 128 MiB of memory at most
};

/// Decompresses a layer that arrives in pieces of any size. What it is compressed with is seen from its first
/// bytes, whatever its media type says, as containerd does: gzip (RFC 1952, also of several members),
/// Zstandard (RFC 8878, also of several and of skippable frames), or else nothing. Used by one thread at a
/// time. Errors are Error{invalid_image}; after one the object must not be used again.
class Inflater {
 public:
  /// `output` must outlive this.
  explicit Inflater(ByteOutput& output, InflateLimits limits = {});
  ~Inflater();
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  void write(std::span<const std::byte> compressed);
  /// The stream has ended. Throws where it is cut short.
  void finish();

  /// A format. Public only for the implementation.
  class Decoder;

 private:
  void decide();

  ByteOutput& output_;
  InflateLimits limits_;
  std::byte head_[8];  ///< what came before the format was known
  std::size_t head_bytes_ = 0;
  std::unique_ptr<Decoder> decoder_;
};

}  // namespace lazypull
