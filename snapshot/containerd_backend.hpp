#pragma once

#include "engine/ports.hpp"
#include "snapshot/containerd_applier.hpp"
#include "snapshot/containerd_snapshotter.hpp"
#include "snapshot/local_content.hpp"
#include "snapshot/unpack_mode.hpp"
#include "transport/containerd/client.hpp"
#include "transport/containerd/content.hpp"
#include "transport/containerd/images.hpp"
#include "transport/containerd/leases.hpp"
#include "transport/containerd/server_info.hpp"

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace lazypull {

/// A pull's place to put things: one namespace of one containerd with one of its snapshotters. Its leases are
/// what writes; the stores of the backend itself are under no lease, for those who only look.
class ContainerdBackend final : public LeaseManager {
 public:
  /// Connects and asks for the snapshotters. Throws Error{unavailable} or Error{permission_denied} that name
  /// the socket, and what find_snapshotter does.
  static Awaitable<std::unique_ptr<ContainerdBackend>> connect(ContainerdOptions options,
                                                               std::string snapshotter,
                                                               UnpackMode unpack = UnpackMode::automatic);

  /// The lease must not outlive the backend.
  Awaitable<std::unique_ptr<Lease>> acquire(std::chrono::seconds lifetime) override;

  ContentStore& content() noexcept { return content_; }
  Snapshotter& snapshotter() noexcept { return snapshotter_; }
  ImageStore& images() noexcept { return images_; }

  const ContainerdClient& client() const noexcept { return client_; }
  /// The snapshotter in use, as it was when this connected.
  const SnapshotterInfo& snapshotter_info() const noexcept { return info_; }

  Awaitable<std::vector<std::string>> namespaces() { return list_namespaces(client_); }
  Awaitable<ServerVersion> version() { return server_version(client_); }

 private:
  ContainerdBackend(asio::any_io_executor home, ContainerdClient client, SnapshotterInfo info,
                    const std::string& content_root, UnpackMode unpack);
  bool unpacks_directly() const;

  asio::any_io_executor home_;
  ContainerdClient client_;
  SnapshotterInfo info_;
  UnpackMode unpack_;
  ContainerdContent content_;
  ContainerdSnapshotter snapshotter_;
  ContainerdImages images_;
  ContainerdLeases leases_;
  std::optional<LocalContent> local_content_;
};

}  // namespace lazypull
