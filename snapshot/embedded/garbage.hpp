#pragma once

#include "snapshot/embedded/layout.hpp"
#include "snapshot/embedded/metadata.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace lazypull {

struct GarbageOptions {
  /// Partial ingests that nobody writes and that are older are dropped.
  std::chrono::seconds ingest_age = std::chrono::hours(24);
};

/// What garbage collection has removed.
struct GarbageReport {
  std::size_t contents = 0;   ///< records of content, in all namespaces
  std::size_t blobs = 0;      ///< files
  std::size_t snapshots = 0;  ///< records
  std::size_t directories = 0;
  std::size_t leases = 0;
  std::size_t ingests = 0;
  std::uint64_t bytes = 0;  ///< of disk space, where the file system tells

  friend bool operator==(const GarbageReport&, const GarbageReport&) = default;
};

/// Removes, in all namespaces, what no image and no live lease leads to. As in containerd, images lead to
/// their target; leases to their resources; content and snapshots to what their labels
/// `containerd.io/gc.ref.content…` and `containerd.io/gc.ref.snapshot.<snapshotter>` name; snapshots to their
/// parents; and what is labelled `containerd.io/gc.root` needs nobody. Blocking; safe while other processes
/// pull, since what they do not hold by a lease is not theirs to rely on.
GarbageReport collect_garbage(const StoreLayout& layout, Metadata& metadata, GarbageOptions options = {});

}  // namespace lazypull
