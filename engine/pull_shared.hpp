#pragma once

#include "engine/awaitable.hpp"
#include "engine/bandwidth.hpp"
#include "engine/chain_claims.hpp"
#include "engine/digest.hpp"
#include "engine/permit_gate.hpp"
#include "engine/semaphore.hpp"
#include "engine/single_flight.hpp"
#include "engine/trace.hpp"

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <set>
#include <string>

namespace lazypull {

/// What all pulls together may do at once; 0 is no limit.
struct PullLimits {
  PermitLimits downloads;   ///< of manifests, configs and layers
  std::size_t unpacks = 0;  ///< layers that are being extracted
};

class BlobWish;

/// What pulls of one home thread share, so that each blob is fetched once and each ChainID is made once
/// however many images have it and however they interleave. Must outlive the pulls.
///
/// Other processes: a blob that another process downloads is waited for, by the lock of its ingest, and then
/// its ChainID is waited for a while before it is made here as well. So two processes that begin at the same
/// time hardly fetch or unpack anything twice. It is not guaranteed that nothing is unpacked twice, since a
/// snapshotter has no lock that outlives the death of its holder. Whoever commits second is told so, and
/// takes what is there.
class PullShared {
 public:
  explicit PullShared(const PullLimits& limits);
  PullShared(const PullShared&) = delete;
  PullShared& operator=(const PullShared&) = delete;

  PermitGate& downloads() noexcept { return downloads_; }
  PermitGate& unpacks() noexcept { return unpacks_; }
  Bandwidth& bandwidth() noexcept { return bandwidth_; }
  ChainClaims& chains() noexcept { return chains_; }
  /// Held while labels are read, added to and written, so that no pull undoes what another has written.
  Semaphore& label_updates() noexcept { return label_updates_; }

  /// Fetches the wished blob, or waits for who does. True if `work` was done, and this was the caller. What
  /// another has failed with for the sake of its repository is tried again by one with another repository;
  /// else its failure is thrown here too.
  Awaitable<bool> fetch_once(BlobWish& wish, const std::string& repository,
                             std::function<Awaitable<>()> work);

 private:
  friend class BlobWish;
  struct Wished {
    std::size_t wishes = 0;
    PullRank rank;       ///< of the most urgent
    std::string leader;  ///< the repository it was last fetched from
    std::set<PermitQueue::Ticket> downloads;
    std::set<PermitQueue::Ticket> unpacks;
  };

  PermitGate downloads_;
  PermitGate unpacks_;
  Bandwidth bandwidth_;
  SingleFlight<Digest> blobs_;
  ChainClaims chains_;
  Semaphore label_updates_{1};
  std::map<Digest, Wished> wished_;
};

/// That a pull needs a blob. As long as somebody more urgent needs it too, whoever gets it is as urgent.
class BlobWish {
 public:
  BlobWish(PullShared& shared, const Digest& digest, PullRank rank);
  BlobWish(const BlobWish&) = delete;
  BlobWish& operator=(const BlobWish&) = delete;
  ~BlobWish();

  const Digest& digest() const noexcept { return digest_; }
  PullRank rank() const noexcept { return wished().rank; }
  /// Gets in line for this blob's sake.
  GatePermit join_downloads(const std::string& registry, std::uint64_t bytes);
  GatePermit join_unpacks();

  TracePoint trace;  ///< where what is done for it belongs

 private:
  friend class PullShared;
  PullShared::Wished& wished() const noexcept { return *wished_; }

  PullShared& shared_;
  Digest digest_;
  PullShared::Wished* wished_;
};

/// Whether what failed for one repository may succeed for another.
bool depends_on_repository(const std::exception_ptr& failure);

}  // namespace lazypull
