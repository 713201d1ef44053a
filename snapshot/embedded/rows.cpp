#include "snapshot/embedded/rows.hpp"

#include "engine/error.hpp"
#include "engine/labels.hpp"
#include "snapshot/embedded/record_json.hpp"

namespace lazypull {

namespace {

std::int64_t now() {
  return nanoseconds_of(std::chrono::system_clock::now());
}

StoredContent content_at(const Query& query) {
  StoredContent content;
  content.info.digest = Digest::parse(query.text(0));
  content.info.size = static_cast<std::uint64_t>(query.integer(1));
  content.info.labels = labels_of(query.text(2));
  content.created = time_of(query.integer(3));
  content.updated = time_of(query.integer(4));
  return content;
}

StoredSnapshot snapshot_at(const Query& query) {
  StoredSnapshot snapshot;
  snapshot.id = query.integer(0);
  snapshot.info.name = query.text(1);
  if (!query.is_null(2)) snapshot.parent_id = query.integer(2);
  snapshot.info.parent = query.text(3);
  snapshot.info.kind = static_cast<SnapshotKind>(query.integer(4));
  snapshot.info.labels = labels_of(query.text(5));
  snapshot.created = time_of(query.integer(6));
  snapshot.updated = time_of(query.integer(7));
  if (!query.is_null(8)) snapshot.remote = Digest::parse(query.text(8));
  return snapshot;
}

StoredImage image_at(const Query& query) {
  StoredImage image;
  image.record.name = query.text(0);
  image.record.target = descriptor_of(query.text(1));
  image.record.labels = labels_of(query.text(2));
  image.created = time_of(query.integer(3));
  image.updated = time_of(query.integer(4));
  return image;
}

MountRow mount_at(const Query& query) {
  return {
      .target = query.text(0), .name_space = query.text(1), .kind = query.text(2), .snapshot = query.text(3)};
}

constexpr const char* select_content =
    "SELECT c.digest, b.size, c.labels, c.created, c.updated FROM content c JOIN blobs b USING (digest) "
    "WHERE c.namespace = ?";
constexpr const char* select_snapshot =
    "SELECT s.id, s.name, s.parent, p.name, s.kind, s.labels, s.created, s.updated, r.layer "
    "FROM snapshots s LEFT JOIN snapshots p ON p.id = s.parent "
    "LEFT JOIN remote_snapshots r ON r.snapshot = s.id WHERE s.namespace = ?";
constexpr const char* select_image =
    "SELECT name, target, labels, created, updated FROM images WHERE namespace = ?";
constexpr const char* select_mount = "SELECT target, namespace, kind, snapshot FROM mounts";

constexpr const char* this_generation = "(SELECT value FROM counters WHERE name = 'generation')";

}  // namespace

void check_labels(const Labels& labels) {
  for (const auto& [key, value] : labels) {
    if (key.size() + value.size() > max_label_bytes) {
      throw Error(Errc::invalid_argument, "label " + key.substr(0, 64) + ": key and value are longer than " +
                                              std::to_string(max_label_bytes) + " bytes");
    }
  }
}

Labels merged_labels(Labels existing, const Labels& changes) {
  check_labels(changes);
  for (const auto& [key, value] : changes) {
    if (value.empty()) {
      existing.erase(key);
    } else {
      existing.insert_or_assign(key, value);
    }
  }
  return existing;
}

std::optional<StoredContent> ContentRows::find(std::string_view name_space, const Digest& digest) {
  Query query(database_, std::string(select_content) + " AND c.digest = ?");
  query.bind(name_space, digest);
  if (!query.next()) return std::nullopt;
  return content_at(query);
}

std::vector<StoredContent> ContentRows::list(std::string_view name_space) {
  Query query(database_, std::string(select_content) + " ORDER BY c.digest");
  query.bind(name_space);
  std::vector<StoredContent> all;
  while (query.next()) all.push_back(content_at(query));
  return all;
}

std::optional<std::uint64_t> ContentRows::blob_size(const Digest& digest) {
  Query query(database_, "SELECT size FROM blobs WHERE digest = ?");
  query.bind(digest);
  if (!query.next()) return std::nullopt;
  return static_cast<std::uint64_t>(query.integer(0));
}

void ContentRows::add(std::string_view name_space, const ContentInfo& info, bool fresh) {
  check_labels(info.labels);
  std::string blob =
      std::string("INSERT INTO blobs (digest, size, written) VALUES (?, ?, ") + this_generation;
  blob += fresh ? ") ON CONFLICT (digest) DO UPDATE SET size = excluded.size, written = excluded.written"
                : ") ON CONFLICT (digest) DO NOTHING";
  Query(database_, std::move(blob)).bind(info.digest, info.size).run();
  Query(database_,
        "INSERT INTO content (namespace, digest, labels, created, updated) VALUES (?1, ?2, ?3, ?4, ?4) "
        "ON CONFLICT (namespace, digest) DO UPDATE SET labels = excluded.labels, updated = excluded.updated")
      .bind(name_space, info.digest, text_of(info.labels), now())
      .run();
}

void ContentRows::set_labels(std::string_view name_space, const Digest& digest, const Labels& labels) {
  Query(database_, "UPDATE content SET labels = ?, updated = ? WHERE namespace = ? AND digest = ?")
      .bind(text_of(labels), now(), name_space, digest)
      .run();
}

bool ContentRows::remove(std::string_view name_space, const Digest& digest) {
  Query query(database_, "DELETE FROM content WHERE namespace = ? AND digest = ?");
  return query.bind(name_space, digest).run() > 0;
}

std::vector<std::string> ContentRows::all_blobs() {
  Query query(database_, "SELECT digest FROM blobs");
  std::vector<std::string> all;
  while (query.next()) all.push_back(query.text(0));
  return all;
}

std::optional<StoredSnapshot> SnapshotRows::find(std::string_view name_space, std::string_view name) {
  Query query(database_, std::string(select_snapshot) + " AND s.name = ?");
  query.bind(name_space, name);
  if (!query.next()) return std::nullopt;
  return snapshot_at(query);
}

std::vector<StoredSnapshot> SnapshotRows::list(std::string_view name_space) {
  Query query(database_, std::string(select_snapshot) + " ORDER BY s.name");
  query.bind(name_space);
  std::vector<StoredSnapshot> all;
  while (query.next()) all.push_back(snapshot_at(query));
  return all;
}

std::vector<std::int64_t> SnapshotRows::ancestors(std::int64_t id) {
  Query query(database_,
              "WITH RECURSIVE chain (id, depth) AS ("
              "SELECT parent, 1 FROM snapshots WHERE id = ? AND parent IS NOT NULL UNION ALL "
              "SELECT s.parent, c.depth + 1 FROM snapshots s JOIN chain c ON s.id = c.id "
              "WHERE s.parent IS NOT NULL) SELECT id FROM chain ORDER BY depth");
  query.bind(id);
  std::vector<std::int64_t> all;
  while (query.next()) all.push_back(query.integer(0));
  return all;
}

bool SnapshotRows::has_children(std::int64_t id) {
  Query query(database_, "SELECT 1 FROM snapshots WHERE parent = ? LIMIT 1");
  query.bind(id);
  return query.next();
}

std::int64_t SnapshotRows::add(std::string_view name_space, const SnapshotInfo& info,
                               std::optional<std::int64_t> parent) {
  check_labels(info.labels);
  Query(
      database_,
      std::string("INSERT INTO snapshots (namespace, name, parent, kind, labels, created, updated, written) "
                  "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ") +
          this_generation + ")")
      .bind(name_space, info.name, parent, static_cast<int>(info.kind), text_of(info.labels), now())
      .run();
  return database_.last_id();
}

void SnapshotRows::commit(std::int64_t id, std::string_view name, const Labels& labels) {
  check_labels(labels);
  Query(database_,
        std::string("UPDATE snapshots SET name = ?1, kind = ?2, labels = ?3, created = ?4, updated = ?4, "
                    "written = ") +
            this_generation + " WHERE id = ?5")
      .bind(name, static_cast<int>(SnapshotKind::committed), text_of(labels), now(), id)
      .run();
}

void SnapshotRows::set_labels(std::int64_t id, const Labels& labels) {
  Query(database_, "UPDATE snapshots SET labels = ?, updated = ? WHERE id = ?")
      .bind(text_of(labels), now(), id)
      .run();
}

void SnapshotRows::remove(std::int64_t id) {
  Query(database_, "DELETE FROM snapshots WHERE id = ?").bind(id).run();
}

std::vector<std::int64_t> SnapshotRows::all_ids() {
  Query query(database_, "SELECT id FROM snapshots");
  std::vector<std::int64_t> all;
  while (query.next()) all.push_back(query.integer(0));
  return all;
}

std::optional<DiskUsage> SnapshotRows::usage(std::int64_t id) {
  Query query(database_, "SELECT bytes, inodes FROM snapshots WHERE id = ? AND bytes IS NOT NULL");
  query.bind(id);
  if (!query.next()) return std::nullopt;
  return DiskUsage{.bytes = static_cast<std::uint64_t>(query.integer(0)),
                   .inodes = static_cast<std::uint64_t>(query.integer(1))};
}

void SnapshotRows::set_usage(std::int64_t id, const DiskUsage& usage) {
  Query(database_, "UPDATE snapshots SET bytes = ?, inodes = ? WHERE id = ? AND kind = ?")
      .bind(usage.bytes, usage.inodes, id, static_cast<int>(SnapshotKind::committed))
      .run();
}

void LeaseRows::add(const LeaseRow& lease) {
  Query(database_, "INSERT INTO leases (id, namespace, created, expires) VALUES (?, ?, ?, ?)")
      .bind(lease.id, lease.name_space, now(), nanoseconds_of(lease.expires))
      .run();
}

void LeaseRows::remove(std::string_view id) {
  Query(database_, "DELETE FROM leases WHERE id = ?").bind(id).run();
}

std::vector<LeaseRow> LeaseRows::list() {
  Query query(database_, "SELECT id, namespace, expires FROM leases ORDER BY id");
  std::vector<LeaseRow> all;
  while (query.next()) {
    all.push_back({.id = query.text(0), .name_space = query.text(1), .expires = time_of(query.integer(2))});
  }
  return all;
}

void LeaseRows::protect(std::string_view lease, LeaseResource kind, std::string_view key) {
  if (lease.empty()) return;
  Query known(database_, "SELECT 1 FROM leases WHERE id = ?");
  if (!known.bind(lease).next()) {
    throw Error(Errc::failed_precondition, "lease " + std::string(lease) + " has expired");
  }
  Query(database_, "INSERT OR IGNORE INTO lease_resources (lease, kind, key) VALUES (?, ?, ?)")
      .bind(lease, static_cast<int>(kind), key)
      .run();
}

std::optional<StoredImage> ImageRows::find(std::string_view name_space, std::string_view name) {
  Query query(database_, std::string(select_image) + " AND name = ?");
  query.bind(name_space, name);
  if (!query.next()) return std::nullopt;
  return image_at(query);
}

std::vector<StoredImage> ImageRows::list(std::string_view name_space) {
  Query query(database_, std::string(select_image) + " ORDER BY name");
  query.bind(name_space);
  std::vector<StoredImage> all;
  while (query.next()) all.push_back(image_at(query));
  return all;
}

void ImageRows::put(std::string_view name_space, const ImageRecord& image) {
  check_labels(image.labels);
  const auto target = text_of(image.target);
  text_of(Labels{{image.name, {}}});  // index.json names it too
  Query(database_,
        "INSERT INTO images (namespace, name, target, digest, labels, created, updated) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6) ON CONFLICT (namespace, name) DO UPDATE SET "
        "target = excluded.target, digest = excluded.digest, labels = excluded.labels, "
        "updated = excluded.updated")
      .bind(name_space, image.name, target, image.target.digest, text_of(image.labels), now())
      .run();
}

bool ImageRows::remove(std::string_view name_space, std::string_view name) {
  Query query(database_, "DELETE FROM images WHERE namespace = ? AND name = ?");
  return query.bind(name_space, name).run() > 0;
}

std::vector<std::string> ImageRows::namespaces() {
  Query query(database_, "SELECT DISTINCT namespace FROM images ORDER BY namespace");
  std::vector<std::string> all;
  while (query.next()) all.push_back(query.text(0));
  return all;
}

std::optional<MountRow> MountRows::find(std::string_view target) {
  Query query(database_, std::string(select_mount) + " WHERE target = ?");
  query.bind(target);
  if (!query.next()) return std::nullopt;
  return mount_at(query);
}

std::vector<MountRow> MountRows::list() {
  Query query(database_, std::string(select_mount) + " ORDER BY target");
  std::vector<MountRow> all;
  while (query.next()) all.push_back(mount_at(query));
  return all;
}

void MountRows::put(const MountRow& mount) {
  Query(database_,
        "INSERT OR REPLACE INTO mounts (target, namespace, kind, snapshot, created) VALUES (?, ?, ?, ?, ?)")
      .bind(mount.target, mount.name_space, mount.kind, mount.snapshot, now())
      .run();
}

void MountRows::remove(std::string_view target) {
  Query(database_, "DELETE FROM mounts WHERE target = ?").bind(target).run();
}

}  // namespace lazypull
