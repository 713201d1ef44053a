#pragma once

#include "engine/awaitable.hpp"
#include "engine/single_flight.hpp"
#include "snapshot/containerd_snapshotter.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

namespace lazypull {

/// What snapshots take of the disk, all of a snapshotter's together, as ImageFsInfo says it.
struct CriFilesystem {
  std::chrono::system_clock::time_point time;
  std::string mountpoint;
  std::uint64_t used_bytes = 0;
  std::uint64_t inodes_used = 0;
};

/// Adds up what containerd says about each snapshot. That of a committed one does not change, and is asked
/// for once; those of active ones at most every few seconds, since each has its files counted. Of the home
/// thread.
class CriFilesystemUsage {
 public:
  static constexpr std::chrono::seconds max_age{10};

  CriFilesystemUsage(const ContainerdClient& client, const std::string& snapshotter, std::string mountpoint);

  Awaitable<CriFilesystem> usage();

 private:
  Awaitable<> measure();

  ContainerdSnapshotter snapshotter_;
  CriFilesystem last_;
  std::chrono::steady_clock::time_point until_{};
  std::map<std::string, SnapshotUsage> committed_;
  SingleFlight<int> measuring_;
};

}  // namespace lazypull
