#pragma once

#include "engine/ports.hpp"
#include "snapshot/embedded/disk_usage.hpp"
#include "snapshot/embedded/remote_rows.hpp"
#include "snapshot/embedded/sqlite.hpp"
#include "snapshot/embedded/store_time.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// The tables of the embedded store's database. Rows are read and written in a transaction of Metadata only.
namespace lazypull {

struct StoredContent {
  ContentInfo info;
  StoreTime created;
  StoreTime updated;
};

struct StoredSnapshot {
  std::int64_t id = 0;  ///< names its directory
  SnapshotInfo info;
  std::optional<std::int64_t> parent_id;
  StoreTime created;
  StoreTime updated;
  std::optional<Digest> remote;  ///< the layer in shared storage that it consists of
};

struct StoredImage {
  ImageRecord record;
  StoreTime created;
  StoreTime updated;
};

/// Sets the given labels and leaves all others; an empty value removes a label. Throws invalid_argument for
/// one that is longer than containerd allows.
Labels merged_labels(Labels existing, const Labels& changes);
/// Throws Error{invalid_argument} for labels that containerd would refuse.
void check_labels(const Labels& labels);

/// Blobs are shared by all namespaces; content is a blob as one namespace sees it.
class ContentRows {
 public:
  explicit ContentRows(Database& database) : database_(database) {}

  std::optional<StoredContent> find(std::string_view name_space, const Digest& digest);
  std::vector<StoredContent> list(std::string_view name_space);
  /// Of the blob, whoever has it.
  std::optional<std::uint64_t> blob_size(const Digest& digest);
  /// `fresh`: the blob's file has been written just now, so it is not durable yet.
  void add(std::string_view name_space, const ContentInfo& info, bool fresh);
  void set_labels(std::string_view name_space, const Digest& digest, const Labels& labels);
  bool remove(std::string_view name_space, const Digest& digest);
  std::vector<std::string> all_blobs();

 private:
  Database& database_;
};

class SnapshotRows {
 public:
  explicit SnapshotRows(Database& database) : database_(database) {}

  std::optional<StoredSnapshot> find(std::string_view name_space, std::string_view name);
  std::vector<StoredSnapshot> list(std::string_view name_space);
  /// The snapshot's ancestors, its parent first.
  std::vector<std::int64_t> ancestors(std::int64_t id);
  bool has_children(std::int64_t id);
  std::int64_t add(std::string_view name_space, const SnapshotInfo& info, std::optional<std::int64_t> parent);
  /// An active snapshot becomes a committed one of this name.
  void commit(std::int64_t id, std::string_view name, const Labels& labels);
  void set_labels(std::int64_t id, const Labels& labels);
  void remove(std::int64_t id);
  std::vector<std::int64_t> all_ids();
  /// As `set_usage` has kept it; nothing if it has not.
  std::optional<DiskUsage> usage(std::int64_t id);
  /// Of committed snapshots only.
  void set_usage(std::int64_t id, const DiskUsage& usage);

 private:
  Database& database_;
};

enum class LeaseResource { content = 1, snapshot = 2, ingest = 3 };

struct LeaseRow {
  std::string id;
  std::string name_space;
  StoreTime expires;
};

class LeaseRows {
 public:
  explicit LeaseRows(Database& database) : database_(database) {}

  void add(const LeaseRow& lease);
  void remove(std::string_view id);
  std::vector<LeaseRow> list();
  /// Throws Error{failed_precondition} if the lease has expired and is gone. No lease is no error.
  void protect(std::string_view lease, LeaseResource kind, std::string_view key);

 private:
  Database& database_;
};

class ImageRows {
 public:
  explicit ImageRows(Database& database) : database_(database) {}

  std::optional<StoredImage> find(std::string_view name_space, std::string_view name);
  /// Sorted by name.
  std::vector<StoredImage> list(std::string_view name_space);
  void put(std::string_view name_space, const ImageRecord& image);
  bool remove(std::string_view name_space, std::string_view name);
  /// In the order of their names.
  std::vector<std::string> namespaces();

 private:
  Database& database_;
};

/// What `lazypull mount` has made, so that `unmount` undoes nothing else.
struct MountRow {
  std::string target;  ///< absolute path
  std::string name_space;
  std::string kind;      ///< "mount" or "copy"
  std::string snapshot;  ///< that it keeps; empty if none
};

class MountRows {
 public:
  explicit MountRows(Database& database) : database_(database) {}

  std::optional<MountRow> find(std::string_view target);
  std::vector<MountRow> list();
  void put(const MountRow& mount);
  void remove(std::string_view target);

 private:
  Database& database_;
};

/// All tables, as seen by one transaction.
struct Rows {
  explicit Rows(Database& connection)
      : database(connection),
        content(connection),
        snapshots(connection),
        leases(connection),
        images(connection),
        mounts(connection),
        remote(connection) {}

  Database& database;
  ContentRows content;
  SnapshotRows snapshots;
  LeaseRows leases;
  ImageRows images;
  MountRows mounts;
  RemoteRows remote;
};

}  // namespace lazypull
