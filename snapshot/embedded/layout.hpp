#pragma once

#include "engine/digest.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace lazypull {

/// Where things are in the embedded store's directory, which is an OCI image layout (image-spec,
/// image-layout.md) with more beside it. No name of an image or of a snapshot is ever part of a path: paths
/// are made of parsed digests, digests of names, and ids of our own.
struct StoreLayout {
  std::filesystem::path root;

  std::filesystem::path layout_file() const { return root / "oci-layout"; }
  std::filesystem::path index_file() const { return root / "index.json"; }
  std::filesystem::path database() const { return root / "lazypull.db"; }
  std::filesystem::path setup_lock() const { return root / "lazypull.lock"; }

  std::filesystem::path blobs() const { return root / "blobs"; }
  std::filesystem::path blob(const Digest& digest) const;
  std::filesystem::path ingests() const { return root / "ingest"; }
  std::filesystem::path ingest(std::string_view name_space, std::string_view ref) const;
  std::filesystem::path snapshots() const { return root / "snapshots"; }
  std::filesystem::path snapshot(std::int64_t id) const { return snapshots() / std::to_string(id); }
  std::filesystem::path upper(std::int64_t id) const { return snapshot(id) / "fs"; }
  std::filesystem::path work(std::int64_t id) const { return snapshot(id) / "work"; }
  /// Where the images of remote layers are mounted; made when there is one.
  std::filesystem::path layer_mounts() const { return root / "layers"; }
  std::filesystem::path leases() const { return root / "leases"; }
  std::filesystem::path lease_lock(std::string_view id) const;
  /// What is to be deleted is moved here first, so that it is gone at once and deleting may take its time.
  std::filesystem::path trash() const { return root / "trash"; }

  /// Makes what is missing of the directories.
  void create() const;
  /// Moves a file or directory to the trash and returns where it is now.
  std::filesystem::path discard(const std::filesystem::path& victim) const;
};

}  // namespace lazypull
