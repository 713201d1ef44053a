#pragma once

#include "engine/awaitable.hpp"
#include "engine/offload.hpp"
#include "engine/ports.hpp"
#include "engine/semaphore.hpp"
#include "engine/single_flight.hpp"
#include "snapshot/unpack/stage_threads.hpp"

#include <cstddef>
#include <memory>
#include <string>

namespace lazypull {

struct StreamingOptions {
  /// What is to happen where the snapshotter's folders cannot be written to from here.
  bool required = false;  ///< throw, instead of leaving it to the other applier
  bool privileged = true;
  std::size_t layers_at_once = 4;
};

/// Extracts layers as they arrive, many at a time, into folders of a scratch snapshot, and renames what came
/// of each into the upperdir of its snapshot once the layers below are committed. The scratch snapshot is
/// prepared without a parent, under the lease: so it is on the snapshotter's file system and in its books,
/// and collected if this process dies.
///
/// For snapshotters whose mounts are overlayfs's, on the same host. Lives as long as its lease.
class StreamingApplier final : public Applier {
 public:
  /// `other` applies from the content store what cannot be put in place directly; null if there is none.
  StreamingApplier(asio::any_io_executor home, Snapshotter& snapshotter, Applier* other,
                   StreamingOptions options);
  ~StreamingApplier() override;

  Awaitable<AppliedLayer> apply(const Descriptor& layer, const std::vector<Mount>& mounts) override;
  Awaitable<std::unique_ptr<LayerUnpack>> start(const Descriptor& layer, UnpackTraits traits) override;

  /// Waits for what is still running and removes the scratch snapshot. Nothing may be started any more.
  Awaitable<> close();

 private:
  class Unpack;

  Awaitable<> open_scratch();
  Awaitable<> prepare_scratch();

  asio::any_io_executor home_;
  Snapshotter& snapshotter_;
  Applier* other_;
  StreamingOptions options_;
  Semaphore layers_;
  SingleFlight<int> opening_;

  std::string scratch_key_;     ///< empty until it is prepared
  std::string scratch_folder_;  ///< empty if it cannot be used
  bool opened_ = false;
  std::size_t next_folder_ = 0;

  // Made when the first layer needs them.
  std::unique_ptr<StageThreads> threads_;
  std::unique_ptr<BlockingPool> files_;
};

}  // namespace lazypull
