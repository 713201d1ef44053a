#pragma once

#include "engine/ports.hpp"
#include "transport/containerd/client.hpp"

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

namespace lazypull {

/// A moment as containerd reads it in labels: "2026-01-02T03:04:05Z" (RFC 3339, UTC, whole seconds).
std::string rfc3339_seconds(std::chrono::system_clock::time_point time);

/// What a lease can hold.
struct LeasedResource {
  std::string id;
  std::string type;

  static LeasedResource content(const Digest& digest) { return {digest.str(), "content"}; }
  static LeasedResource snapshot(std::string_view snapshotter, std::string name) {
    return {std::move(name), "snapshots/" + std::string(snapshotter)};
  }
};

/// containerd's leases, by id. The clients of other services hold one through `ContainerdClient::with_lease`.
class ContainerdLeases {
 public:
  explicit ContainerdLeases(ContainerdClient client);
  ~ContainerdLeases();

  /// Makes a lease with a random id, which is returned, that ends by itself after `lifetime`. Those that
  /// could not be removed before, such as while containerd was away, are removed first.
  Awaitable<std::string> create(std::chrono::seconds lifetime);
  Awaitable<void> add(const std::string& lease, const LeasedResource& resource);
  /// `synchronous` waits for the garbage collection that follows. No error if the lease has ended already.
  Awaitable<void> remove(const std::string& lease, bool synchronous);
  Awaitable<std::vector<std::string>> list();

 private:
  Awaitable<> remove_left_over();
  void keep_for_later(const std::string& lease, std::chrono::milliseconds pause);

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lazypull
