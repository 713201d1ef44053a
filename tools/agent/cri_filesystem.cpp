#include "tools/agent/cri_filesystem.hpp"

#include <functional>
#include <optional>
#include <utility>

namespace lazypull {

CriFilesystemUsage::CriFilesystemUsage(const ContainerdClient& client, const std::string& snapshotter,
                                       std::string mountpoint)
    : snapshotter_(client, snapshotter) {
  last_.mountpoint = std::move(mountpoint);
}

Awaitable<CriFilesystem> CriFilesystemUsage::usage() {
  if (std::chrono::steady_clock::now() >= until_) {
    std::function<Awaitable<>()> work = [this] { return measure(); };
    co_await measuring_.run(0, std::move(work));
  }
  co_return last_;
}

Awaitable<> CriFilesystemUsage::measure() {
  const auto snapshots = co_await snapshotter_.list({});
  CriFilesystem sum;
  sum.mountpoint = last_.mountpoint;
  sum.time = std::chrono::system_clock::now();
  std::map<std::string, SnapshotUsage> committed;
  for (const auto& snapshot : snapshots) {
    std::optional<SnapshotUsage> usage;
    const auto known = committed_.find(snapshot.name);
    if (known != committed_.end() && snapshot.kind == SnapshotKind::committed) {
      usage = known->second;
    } else {
      usage = co_await snapshotter_.usage(snapshot.name);
    }
    if (!usage) continue;
    sum.used_bytes += usage->bytes;
    sum.inodes_used += usage->inodes;
    if (snapshot.kind == SnapshotKind::committed) committed.insert_or_assign(snapshot.name, *usage);
  }
  committed_ = std::move(committed);
  last_ = std::move(sum);
  until_ = std::chrono::steady_clock::now() + max_age;
}

}  // namespace lazypull
