#pragma once

#include "engine/descriptor.hpp"
#include "engine/labels.hpp"
#include "engine/platform.hpp"
#include "engine/retry_budget.hpp"
#include "engine/trace.hpp"

#include <chrono>
#include <cstddef>
#include <memory>
#include <set>
#include <vector>

namespace lazypull {

/// How the snapshotter is asked whether it can provide a layer without its content.
enum class RemoteProtocol {
  today,  ///< Prepare with `containerd.io/snapshot.ref` answers AlreadyExists
  v2019,  ///< the prepared key carries `containerd.io/snapshot/remote_snapshot` (`--remote-snapshot`)
};

/// When layers above the first missing one are downloaded, under today's protocol.
enum class FetchPolicy {
  automatic,  ///< ahead where no remote answer is to be expected, else only after the snapshotter has
              ///< declined
  sparse,     ///< each layer only after the snapshotter has declined it
  eager,      ///< all at once, as containerd does; a download that turns out to be needless is stopped
};

struct PullOptions {
  std::vector<Platform> platforms;  ///< each is wanted, by its best match; empty is the host's
  bool all_platforms = false;
  bool all_metadata = false;  ///< manifests and configs of the other platforms too
  bool unpack = true;         ///< false: content only, as `ctr content fetch`
  /// Layers that are unpacked while they arrive are not stored, and the manifest keeps none alive, as the
  /// option of that name of containerd's CRI plugin has it.
  bool discard_unpacked_layers = false;
  RemoteProtocol protocol = RemoteProtocol::today;
  std::set<LabelDialect> dialects = {LabelDialect::containerd};
  FetchPolicy fetch_policy = FetchPolicy::automatic;
  /// The snapshotter is a local one of containerd's own, which never provides a layer by itself.
  bool local_snapshotter = false;
  std::size_t max_concurrent_downloads = 3;  ///< manifests, configs and layers of this pull; 0 is unlimited
  Labels image_labels;
  std::shared_ptr<RetryBudget> retries;  ///< shared with the ports of this pull; null is one of its own
  TracePoint trace;                      ///< what the pull's span belongs to
  std::chrono::seconds lease_lifetime{std::chrono::hours{24}};
  /// What a clean-up after a failure may take, so that Ctrl-C ends within a second.
  std::chrono::milliseconds cleanup_timeout{800};
};

}  // namespace lazypull
