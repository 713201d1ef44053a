#pragma once

#include "tests/integration/support/containerd.hpp"

#include <cstdint>
#include <iosfwd>
#include <map>
#include <string>
#include <vector>

namespace lazypull::test {

using LabelMap = std::map<std::string, std::string>;

struct ImageState {
  std::string media_type;
  std::string digest;
  std::int64_t size = 0;
  LabelMap labels;
};

struct ContentState {
  std::int64_t size = 0;
  LabelMap labels;
};

struct SnapshotState {
  std::string parent;
  std::string kind;  ///< "committed", "active" or "view"
  LabelMap labels;
};

struct LeaseState {
  LabelMap labels;
  std::vector<std::string> resources;  ///< "content sha256:…", "snapshots/overlayfs sha256:…"
};

struct IngestState {
  std::int64_t offset = 0;
  std::int64_t total = 0;
};

/// All that a containerd namespace holds, each by its name: image, digest, snapshot key, lease id, ingest
/// ref.
struct ContainerdState {
  std::map<std::string, ImageState> images;
  std::map<std::string, ContentState> content;
  std::map<std::string, SnapshotState> snapshots;  ///< of one snapshotter
  std::map<std::string, LeaseState> leases;
  std::map<std::string, IngestState> ingests;
};

ContainerdState read_state(Containerd& containerd, const std::string& snapshotter = "overlayfs",
                           const std::string& space = "default");

/// Readable lines, one a difference; empty if equal. "content sha256:…: label containerd.io/x: "a" !=
/// (none)".
std::vector<std::string> diff(const ContainerdState& left, const ContainerdState& right);

std::ostream& operator<<(std::ostream& out, const ContainerdState& state);

}  // namespace lazypull::test
