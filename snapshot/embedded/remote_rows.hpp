#pragma once

#include "engine/digest.hpp"
#include "snapshot/embedded/sqlite.hpp"
#include "snapshot/remote/remote_layers.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lazypull {

/// That a snapshot consists of a layer in shared storage.
struct RemoteRow {
  std::int64_t snapshot = 0;
  std::string name;  ///< of the snapshot
  RemoteLayer layer;
};

/// Of all namespaces. A row goes with its snapshot's. To be used in a transaction of Metadata only.
class RemoteRows {
 public:
  explicit RemoteRows(Database& database) : database_(database) {}

  /// Adds it, or replaces what was said of the snapshot.
  void put(std::int64_t snapshot, const RemoteLayer& layer);
  std::optional<RemoteRow> find(std::int64_t snapshot);
  /// Those of a snapshot and its ancestors, the topmost first.
  std::vector<RemoteRow> chain(std::int64_t snapshot);
  /// Names of the namespace's committed snapshots that consist of the layer.
  std::vector<std::string> committed(std::string_view name_space, const Digest& layer);
  /// How many snapshots consist of the layer.
  std::int64_t users(const Digest& layer);

 private:
  Database& database_;
};

}  // namespace lazypull
