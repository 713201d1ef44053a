#include "snapshot/embedded/metadata.hpp"

#include "engine/error.hpp"

#include <array>
#include <exception>
#include <string>

namespace lazypull {

namespace {

/// "LazyPull" cut to the 32 bits that SQLite keeps in a database's header for its owner.
constexpr std::int64_t application_id = 0x4c5a504c;

/// Each brings the database from one version to the next; what has been released is never changed.
///
/// `written` is the generation in which the row's files were written; the disk has all of them up to the
/// counter `durable`.
constexpr std::array migrations{R"(
CREATE TABLE texts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counters (name, value) VALUES ('generation', 1), ('durable', 0);

CREATE TABLE blobs (
  digest TEXT PRIMARY KEY,
  size INTEGER NOT NULL,
  written INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE content (
  namespace TEXT NOT NULL,
  digest TEXT NOT NULL REFERENCES blobs (digest) ON DELETE CASCADE,
  labels TEXT NOT NULL,
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  PRIMARY KEY (namespace, digest)
) WITHOUT ROWID;
CREATE INDEX content_by_digest ON content (digest);

CREATE TABLE snapshots (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  namespace TEXT NOT NULL,
  name TEXT NOT NULL,
  parent INTEGER REFERENCES snapshots (id) DEFERRABLE INITIALLY DEFERRED,
  kind INTEGER NOT NULL,
  labels TEXT NOT NULL,
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  written INTEGER NOT NULL,
  UNIQUE (namespace, name)
);
CREATE INDEX snapshots_by_parent ON snapshots (parent);

CREATE TABLE images (
  namespace TEXT NOT NULL,
  name TEXT NOT NULL,
  target TEXT NOT NULL,
  digest TEXT NOT NULL,
  labels TEXT NOT NULL,
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  PRIMARY KEY (namespace, name)
) WITHOUT ROWID;

CREATE TABLE leases (
  id TEXT PRIMARY KEY,
  namespace TEXT NOT NULL,
  created INTEGER NOT NULL,
  expires INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE lease_resources (
  lease TEXT NOT NULL REFERENCES leases (id) ON DELETE CASCADE,
  kind INTEGER NOT NULL,
  key TEXT NOT NULL,
  PRIMARY KEY (lease, kind, key)
) WITHOUT ROWID;

CREATE TABLE mounts (
  target TEXT PRIMARY KEY,
  namespace TEXT NOT NULL,
  kind TEXT NOT NULL,
  snapshot TEXT NOT NULL,
  created INTEGER NOT NULL
) WITHOUT ROWID;
)",
                                R"(
CREATE TABLE remote_snapshots (
  snapshot INTEGER PRIMARY KEY REFERENCES snapshots (id) ON DELETE CASCADE,
  layer TEXT NOT NULL,
  diff_id TEXT NOT NULL,
  data TEXT NOT NULL,
  record TEXT NOT NULL
);
CREATE INDEX remote_snapshots_by_layer ON remote_snapshots (layer);

ALTER TABLE snapshots ADD COLUMN bytes INTEGER;
ALTER TABLE snapshots ADD COLUMN inodes INTEGER;
)"};

std::int64_t pragma(Database& database, const char* sql) {
  Query query(database, sql);
  query.next();
  return query.integer(0);
}

void migrate(Database& database) {
  const auto version = pragma(database, "PRAGMA user_version");
  const auto owner = pragma(database, "PRAGMA application_id");
  if (version == 0 && owner == 0) {
    // Somebody else's database would have tables.
    if (pragma(database, "SELECT count(*) FROM sqlite_schema") != 0) {
      throw Error(Errc::failed_precondition, "is not a database of lazypull");
    }
  } else if (owner != application_id) {
    throw Error(Errc::failed_precondition, "is not a database of lazypull");
  }
  const auto latest = static_cast<std::int64_t>(migrations.size());
  if (version > latest) {
    throw Error(Errc::failed_precondition, "was written by a later version of lazypull (format " +
                                               std::to_string(version) + ", this one knows " +
                                               std::to_string(latest) + ")");
  }
  for (auto next = version; next < latest; ++next) {
    database.execute(migrations.at(static_cast<std::size_t>(next)));
  }
  if (version == latest) return;
  database.execute(("PRAGMA application_id = " + std::to_string(application_id)).c_str());
  database.execute(("PRAGMA user_version = " + std::to_string(latest)).c_str());
}

}  // namespace

Metadata::Metadata(const std::filesystem::path& file, Flush usual) : database_(file), usual_(usual) {
  try {
    write([](Rows& rows) { migrate(rows.database); });
  } catch (const Error& error) {
    throw error.with_context(file.string());
  }
}

Metadata::Synchronous::Synchronous(Database& database, Flush flush) : database_(database), flush_(flush) {
  if (flush_ == Flush::now) database_.execute("PRAGMA synchronous = FULL");
}

Metadata::Synchronous::~Synchronous() {
  if (flush_ != Flush::now) return;
  try {
    database_.execute("PRAGMA synchronous = NORMAL");
  } catch (const std::exception&) {
    return;  // all that follows is flushed too: slower, but right
  }
}

Metadata::Transaction::Transaction(Database& database, const char* begin) : database_(database) {
  database_.execute(begin);
}

Metadata::Transaction::~Transaction() {
  if (!open_) return;
  try {
    database_.execute("ROLLBACK");
  } catch (const std::exception&) {
    return;  // after some failures, such as a full disk, SQLite has rolled back by itself
  }
}

void Metadata::Transaction::commit() {
  database_.execute("COMMIT");
  open_ = false;
}

}  // namespace lazypull
