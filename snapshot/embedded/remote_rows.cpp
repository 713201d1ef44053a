#include "snapshot/embedded/remote_rows.hpp"

#include "engine/error.hpp"
#include "engine/ports.hpp"
#include "snapshot/remote/layer_record.hpp"

namespace lazypull {

namespace {

constexpr const char* select_row =
    "SELECT r.snapshot, s.name, r.layer, r.data, r.record FROM remote_snapshots r "
    "JOIN snapshots s ON s.id = r.snapshot";

RemoteRow row_at(const Query& query) {
  RemoteRow row;
  row.snapshot = query.integer(0);
  row.name = query.text(1);
  row.layer.data = query.text(3);
  const auto layer = Digest::parse(query.text(2));
  try {
    row.layer.record = parse_layer_record(query.text(4), layer, "the record of layer " + layer.str());
  } catch (const Error& error) {
    throw Error(Errc::failed_precondition, "the database is damaged: " + error.message());
  }
  return row;
}

}  // namespace

void RemoteRows::put(std::int64_t snapshot, const RemoteLayer& layer) {
  Query(database_,
        "INSERT OR REPLACE INTO remote_snapshots (snapshot, layer, diff_id, data, record) "
        "VALUES (?, ?, ?, ?, ?)")
      .bind(snapshot, layer.record.digest, layer.record.diff_id, layer.data.native(),
            layer_record_text(layer.record))
      .run();
}

std::optional<RemoteRow> RemoteRows::find(std::int64_t snapshot) {
  Query query(database_, std::string(select_row) + " WHERE r.snapshot = ?");
  query.bind(snapshot);
  if (!query.next()) return std::nullopt;
  return row_at(query);
}

std::vector<RemoteRow> RemoteRows::chain(std::int64_t snapshot) {
  Query query(database_,
              std::string("WITH RECURSIVE chain (id, depth) AS (SELECT ?, 0 UNION ALL "
                          "SELECT p.parent, c.depth + 1 FROM snapshots p JOIN chain c ON p.id = c.id "
                          "WHERE p.parent IS NOT NULL) ") +
                  select_row + " JOIN chain c ON c.id = r.snapshot ORDER BY c.depth");
  query.bind(snapshot);
  std::vector<RemoteRow> rows;
  while (query.next()) rows.push_back(row_at(query));
  return rows;
}

std::vector<std::string> RemoteRows::committed(std::string_view name_space, const Digest& layer) {
  Query query(database_,
              "SELECT s.name FROM remote_snapshots r JOIN snapshots s ON s.id = r.snapshot "
              "WHERE r.layer = ? AND s.namespace = ? AND s.kind = ? ORDER BY s.id");
  query.bind(layer, name_space, static_cast<int>(SnapshotKind::committed));
  std::vector<std::string> names;
  while (query.next()) names.push_back(query.text(0));
  return names;
}

std::int64_t RemoteRows::users(const Digest& layer) {
  Query query(database_, "SELECT count(*) FROM remote_snapshots WHERE layer = ?");
  query.bind(layer);
  query.next();
  return query.integer(0);
}

}  // namespace lazypull
