#pragma once

#include "engine/pull_context.hpp"

#include <cstdint>
#include <exception>
#include <memory>
#include <span>

namespace lazypull {

/// Where the bytes of a layer go: into the store, into the extraction, or into both.
struct LayerSinks {
  std::unique_ptr<Ingest> ingest;
  std::unique_ptr<LayerUnpack> unpack;

  std::uint64_t offset() const noexcept { return ingest ? ingest->offset() : 0; }
};

/// A layer's bytes on their way, over as many connections as it takes. Refers to all that it is given.
class LayerStream {
 public:
  LayerStream(PullContext& context, const Descriptor& descriptor, LayerSinks& sinks, LayerReport& layer,
              BlobWish& wish, GatePermit& permit);

  /// Throws what the sinks say, what ended the last connection where trying again is of no use, and
  /// digest_mismatch.
  Awaitable<> run();

  /// What a mirror's bytes have done to the extraction, which was given up for it. To be thrown once the
  /// store has found that they are what they should be.
  const std::exception_ptr& unpack_failure() const noexcept { return unpack_failure_; }
  /// After a digest_mismatch: whether another try, from the first byte, may do better, since it was a
  /// mirror's fault, or may have been: the bytes did not all come in one go from the registry itself.
  bool worth_another_try() const noexcept { return at_fault_ || unproven_ || connections_ > 1 || resumed_; }
  bool mirror_at_fault() const noexcept { return at_fault_; }

 private:
  Awaitable<std::exception_ptr> one_connection();
  Awaitable<> receive(std::unique_ptr<BlobReader> reader, std::exception_ptr& broken);
  Awaitable<> hand_on(std::span<const std::byte> piece);
  Awaitable<> pause();

  PullContext& context_;
  const Descriptor& descriptor_;
  LayerSinks& sinks_;
  LayerReport& layer_;
  BlobWish& wish_;
  GatePermit& permit_;
  DownloadRetry retry_;
  Hasher hasher_;
  bool hashes_;   ///< nobody else looks at the digest before the store's own commit does
  bool resumed_;  ///< the first bytes are of an earlier try
  std::uint64_t offset_;
  int connections_ = 0;
  bool unproven_ = false;  ///< a mirror has contributed
  bool at_fault_ = false;  ///< a host was found to have served something else
  std::exception_ptr unpack_failure_;
};

}  // namespace lazypull
