#pragma once

#include "engine/ports.hpp"
#include "snapshot/embedded/store.hpp"

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace lazypull {

/// A pull's place to put things where there is no containerd: a namespace of an embedded store. Layers are
/// always extracted as they arrive. Must outlive its leases.
class EmbeddedBackend final : public LeaseManager {
 public:
  /// Opens or makes the store; blocks, and throws as EmbeddedStore::open does.
  EmbeddedBackend(const std::filesystem::path& directory, const std::string& name_space);

  /// Layers that these storages have are used from there (RemoteLayersOptions). Before the first lease.
  void use_storages(std::vector<std::filesystem::path> storages,
                    std::function<void(const std::string&)> warn);

  Awaitable<std::unique_ptr<Lease>> acquire(std::chrono::seconds lifetime) override;

  EmbeddedStore& store() noexcept { return *store_; }

 private:
  std::shared_ptr<EmbeddedStore> store_;
};

}  // namespace lazypull
