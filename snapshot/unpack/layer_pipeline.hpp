#pragma once

#include "engine/awaitable.hpp"
#include "engine/digest.hpp"
#include "engine/ports.hpp"
#include "snapshot/unpack/extractor.hpp"

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>

namespace lazypull {

/// Starts a job on a thread of its own; it may block.
using StartThread = std::function<void(std::function<void()>)>;

struct ExtractedLayer {
  AppliedLayer applied;
  ExtractResult result;
};

/// One layer on its way from compressed bytes to files, in one pass and with nothing read back: a thread that
/// digests the blob and inflates it, one that digests the tar (DiffID), one that writes the files. Between
/// them are fixed rings of buffers, about 5 MiB in all, whatever the layer.
///
/// Written to from the home thread. Destroying it makes the threads stop at their next buffer, without
/// waiting for them: whoever gave them knows when they have ended, which must be before the home thread's
/// context ends.
class LayerPipeline {
 public:
  /// Files are made below `root`, a directory whose descriptor is duplicated. The blob must be as long as
  /// `blob` says, and with `verify` have its digest.
  LayerPipeline(asio::any_io_executor home, const StartThread& start_thread, int root, const Descriptor& blob,
                bool verify, ExtractOptions options);
  LayerPipeline(const LayerPipeline&) = delete;
  LayerPipeline& operator=(const LayerPipeline&) = delete;
  ~LayerPipeline();

  /// Returns once there is room for more; throws what has gone wrong so far.
  Awaitable<> write(std::span<const std::byte> bytes);
  /// After the last byte: waits for the files to be there. Throws digest_mismatch, size_mismatch, and what is
  /// wrong with the archive or the disk.
  Awaitable<ExtractedLayer> finish();

  struct State;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace lazypull
