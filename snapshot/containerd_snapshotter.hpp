#pragma once

#include "engine/ports.hpp"
#include "transport/containerd/client.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace lazypull {

/// What a snapshot itself takes of the disk, without those below it.
struct SnapshotUsage {
  std::uint64_t bytes = 0;
  std::uint64_t inodes = 0;
};

/// One of containerd's snapshotters, through containerd's Snapshots service.
class ContainerdSnapshotter final : public Snapshotter {
 public:
  ContainerdSnapshotter(ContainerdClient client, std::string name);
  ~ContainerdSnapshotter() override;

  const std::string& name() const noexcept override;
  Awaitable<std::optional<SnapshotInfo>> stat(const std::string& key) override;
  Awaitable<PrepareOutcome> prepare(const std::string& key, const std::string& parent,
                                    const Labels& labels) override;
  Awaitable<CommitOutcome> commit(const std::string& name, const std::string& key,
                                  const Labels& labels) override;
  Awaitable<void> remove(const std::string& key) override;

  /// Everything that matches one of the filters ("parent==sha256:…"), or everything.
  Awaitable<std::vector<SnapshotInfo>> list(const std::vector<std::string>& filters);
  /// Nothing if there is no such snapshot. That of an active one is counted anew each time.
  Awaitable<std::optional<SnapshotUsage>> usage(const std::string& key);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lazypull
