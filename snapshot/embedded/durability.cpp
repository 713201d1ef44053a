#include "snapshot/embedded/durability.hpp"

#include "engine/error.hpp"
#include "snapshot/embedded/files.hpp"
#include "snapshot/embedded/orphans.hpp"

#include <sys/stat.h>

#include <fcntl.h>
#include <optional>
#include <unistd.h>
#include <utility>
#include <vector>

namespace lazypull {

namespace {

/// What is written from now on belongs to the next generation. Returns the one that has ended.
std::int64_t next_generation(Rows& rows) {
  Query query(rows.database, "SELECT value FROM counters WHERE name = 'generation'");
  query.next();
  const auto ended = query.integer(0);
  Query(rows.database, "UPDATE counters SET value = ? WHERE name = 'generation'").bind(ended + 1).run();
  return ended;
}

void flush_file_system(const StoreLayout& layout) {
  const auto directory = open_file(layout.root, O_RDONLY | O_DIRECTORY);
  if (::syncfs(directory.get()) != 0) throw_errno("syncfs " + layout.root.string());
}

std::optional<std::string> recorded_boot(Rows& rows) {
  Query query(rows.database, "SELECT value FROM texts WHERE name = 'boot_id'");
  if (!query.next()) return std::nullopt;
  return query.text(0);
}

bool is_file_of(const std::filesystem::path& file, std::int64_t size) {
  const auto status = stat_of(file);
  return status && S_ISREG(status->st_mode) && status->st_size == size;
}

/// Also those whose deletion reached the disk while the deletion of their rows did not.
void forget_lost_blobs(const StoreLayout& layout, Rows& rows) {
  std::vector<std::string> lost;
  {
    Query query(rows.database,
                "SELECT digest, size, written > (SELECT value FROM counters WHERE name = 'durable') "
                "FROM blobs");
    while (query.next()) {
      const auto digest = query.text(0);
      const bool flushed = query.integer(2) == 0;
      if (!flushed || !is_file_of(layout.blob(Digest::parse(digest)), query.integer(1)))
        lost.push_back(digest);
    }
  }
  for (const auto& digest : lost)
    Query(rows.database, "DELETE FROM blobs WHERE digest = ?").bind(digest).run();
}

void forget_lost_snapshots(const StoreLayout& layout, Rows& rows) {
  std::vector<std::int64_t> lost;
  {
    Query query(rows.database,
                "SELECT id, written > (SELECT value FROM counters WHERE name = 'durable') FROM snapshots");
    while (query.next()) {
      const bool flushed = query.integer(1) == 0;
      if (!flushed || !stat_of(layout.upper(query.integer(0)))) lost.push_back(query.integer(0));
    }
  }
  for (const auto id : lost) {
    Query(rows.database,
          "WITH RECURSIVE above (id) AS (SELECT ? UNION SELECT s.id FROM snapshots s JOIN above a "
          "ON s.parent = a.id) DELETE FROM snapshots WHERE id IN above")
        .bind(id)
        .run();
  }
}

void forget_lost(const StoreLayout& layout, Rows& rows) {
  rows.database.execute("DELETE FROM leases");
  forget_lost_blobs(layout, rows);
  forget_lost_snapshots(layout, rows);
  rows.database.execute(
      "DELETE FROM images WHERE NOT EXISTS (SELECT 1 FROM content c "
      "WHERE c.namespace = images.namespace AND c.digest = images.digest)");
}

}  // namespace

std::string current_boot_id() {
  // The kernel gives such files the size 0.
  const auto file = open_file("/proc/sys/kernel/random/boot_id", O_RDONLY);
  std::string text(64, '\0');
  text.resize(read_at(file, std::as_writable_bytes(std::span(text)), 0, "/proc/sys/kernel/random/boot_id"));
  return text.substr(0, text.find('\n'));
}

void make_durable(const StoreLayout& layout, Metadata& metadata, const std::function<void(Rows&)>& also) {
  const auto generation = metadata.write([](Rows& rows) { return next_generation(rows); });
  flush_file_system(layout);
  metadata.write(
      [&](Rows& rows) {
        Query(rows.database, "UPDATE counters SET value = max(value, ?) WHERE name = 'durable'")
            .bind(generation)
            .run();
        if (also) also(rows);
      },
      Flush::now);
}

bool recover_from_reboot(const StoreLayout& layout, Metadata& metadata, const std::string& boot_id) {
  const auto last = metadata.read([](Rows& rows) { return recorded_boot(rows); });
  if (last == boot_id) return false;
  const bool rebooted = last.has_value();
  if (rebooted) metadata.write([&](Rows& rows) { forget_lost(layout, rows); }, Flush::now);
  // Only now, so that a file is never gone before its row is. Killed here, it all happens again.
  const auto trash = metadata.write(
      [&](Rows& rows) {
        if (rebooted) {
          discard_orphans(layout, rows);
          for (const auto& name : names_in(layout.ingests())) layout.discard(layout.ingests() / name);
          for (const auto& name : names_in(layout.leases())) layout.discard(layout.leases() / name);
        }
        Query(rows.database, "INSERT OR REPLACE INTO texts (name, value) VALUES ('boot_id', ?)")
            .bind(boot_id)
            .run();
        return rebooted ? trash_of(layout) : std::vector<std::string>();
      },
      Flush::now);
  empty_trash(layout, trash);
  return rebooted;
}

}  // namespace lazypull
