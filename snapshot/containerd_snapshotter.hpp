#pragma once

#include "engine/ports.hpp"
#include "transport/containerd/client.hpp"

#include <memory>
#include <string>
#include <vector>

namespace lazypull {

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

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lazypull
