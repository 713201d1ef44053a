#include "snapshot/embedded/garbage.hpp"

#include "engine/error.hpp"
#include "engine/labels.hpp"
#include "snapshot/embedded/files.hpp"
#include "snapshot/embedded/ingest_file.hpp"
#include "snapshot/embedded/orphans.hpp"
#include "snapshot/embedded/record_json.hpp"
#include "snapshot/embedded/snapshot_directories.hpp"
#include "snapshot/embedded/store_lease.hpp"

#include <sys/stat.h>

#include <deque>
#include <fcntl.h>
#include <map>
#include <set>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

namespace lazypull {

namespace {

constexpr std::string_view gc_root = "containerd.io/gc.root";
constexpr std::string_view gc_content_ref = "containerd.io/gc.ref.content";
constexpr std::string_view gc_snapshot_ref = "containerd.io/gc.ref.snapshot.";

/// A record of content or a snapshot.
struct Node {
  LeaseResource kind;
  std::string name_space;
  std::string key;

  friend auto operator<=>(const Node&, const Node&) = default;
};

/// "<prefix>" itself, or with a name after it that says nothing: "<prefix>.l.0", "<prefix>/front".
bool is_label(std::string_view key, std::string_view prefix) {
  if (!key.starts_with(prefix)) return false;
  key.remove_prefix(prefix.size());
  return key.empty() || key.front() == '.' || key.front() == '/';
}

/// Everything that garbage collection looks at, and what leads to what.
class Graph {
 public:
  explicit Graph(Rows& rows) {
    load_content(rows.database);
    load_snapshots(rows.database);
  }

  void add_root(Node node) { roots_.push_back(std::move(node)); }

  void add_roots_by_label(const std::string& name_space, const Labels& labels) {
    for_each_reference(name_space, labels, [this](Node node) { add_root(std::move(node)); });
  }

  /// The nodes that no root leads to.
  std::vector<Node> unreachable() const {
    std::set<Node> reached;
    std::deque<Node> open(roots_.begin(), roots_.end());
    while (!open.empty()) {
      const Node node = std::move(open.front());
      open.pop_front();
      const auto found = edges_.find(node);
      if (found == edges_.end() || !reached.insert(node).second) continue;
      open.insert(open.end(), found->second.begin(), found->second.end());
    }
    std::vector<Node> rest;
    for (const auto& [node, edges] : edges_) {
      if (!reached.contains(node)) rest.push_back(node);
    }
    return rest;
  }

 private:
  template <class Visit>
  static void for_each_reference(const std::string& name_space, const Labels& labels, Visit visit) {
    const std::string snapshot_ref = std::string(gc_snapshot_ref) + std::string(embedded_snapshotter);
    for (const auto& [key, value] : labels) {
      if (is_label(key, gc_content_ref)) visit(Node{LeaseResource::content, name_space, value});
      if (is_label(key, snapshot_ref)) visit(Node{LeaseResource::snapshot, name_space, value});
    }
  }

  void add(const Node& node, const Labels& labels) {
    auto& edges = edges_[node];
    for_each_reference(node.name_space, labels, [&](Node to) { edges.push_back(std::move(to)); });
    if (labels.contains(std::string(gc_root))) add_root(node);
  }

  void load_content(Database& database) {
    Query query(database, "SELECT namespace, digest, labels FROM content");
    while (query.next()) {
      add(Node{LeaseResource::content, query.text(0), query.text(1)}, labels_of(query.text(2)));
    }
  }

  void load_snapshots(Database& database) {
    Query query(database,
                "SELECT s.namespace, s.name, s.labels, p.name FROM snapshots s "
                "LEFT JOIN snapshots p ON p.id = s.parent");
    while (query.next()) {
      const Node node{LeaseResource::snapshot, query.text(0), query.text(1)};
      add(node, labels_of(query.text(2)));
      if (query.is_null(3)) continue;
      edges_[node].push_back(Node{LeaseResource::snapshot, node.name_space, query.text(3)});
    }
  }

  std::map<Node, std::vector<Node>> edges_;
  std::vector<Node> roots_;
};

class Collector {
 public:
  Collector(const StoreLayout& layout, Metadata& metadata, GarbageOptions options)
      : layout_(layout), metadata_(metadata), options_(options) {}

  GarbageReport run() {
    metadata_.write([this](Rows& rows) { delete_rows(rows); }, Flush::now);
    // Files only after their rows are gone for good; and in a transaction, so that nobody adds a row for a
    // file just now.
    const auto trash = metadata_.write([this](Rows& rows) {
      const auto orphans = discard_orphans(layout_, rows);
      report_.blobs = orphans.blobs;
      report_.directories = orphans.directories;
      discard_ingests(rows);
      delete_lease_files(rows);
      delete_unfinished_indexes();
      return trash_of(layout_);
    });
    report_.bytes = empty_trash(layout_, trash);
    return report_;
  }

 private:
  void delete_rows(Rows& rows) {
    delete_dead_leases(rows);
    Graph graph(rows);
    add_lease_roots(rows.database, graph);
    for (const auto& name_space : rows.images.namespaces()) {
      for (const auto& image : rows.images.list(name_space)) {
        graph.add_root(Node{LeaseResource::content, name_space, image.record.target.digest.str()});
        graph.add_roots_by_label(name_space, image.record.labels);
      }
    }
    for (const auto& node : graph.unreachable()) remove(rows, node);
    // What another namespace's lease is about to adopt stays.
    const auto kind = std::to_string(static_cast<int>(LeaseResource::content));
    rows.database.execute(
        ("DELETE FROM blobs WHERE digest NOT IN (SELECT digest FROM content) AND digest NOT "
         "IN (SELECT key FROM lease_resources WHERE kind = " +
         kind + ")")
            .c_str());
  }

  void delete_dead_leases(Rows& rows) {
    const auto now = std::chrono::system_clock::now();
    for (const auto& lease : rows.leases.list()) {
      if (is_alive(layout_, lease, now)) continue;
      rows.leases.remove(lease.id);
      ++report_.leases;
    }
  }

  static void add_lease_roots(Database& database, Graph& graph) {
    Query query(database,
                "SELECT l.namespace, r.kind, r.key FROM lease_resources r JOIN leases l ON l.id = r.lease");
    while (query.next()) {
      graph.add_root(Node{static_cast<LeaseResource>(query.integer(1)), query.text(0), query.text(2)});
    }
  }

  void remove(Rows& rows, const Node& node) {
    if (node.kind == LeaseResource::content) {
      rows.content.remove(node.name_space, Digest::parse(node.key));
      ++report_.contents;
    } else if (const auto found = rows.snapshots.find(node.name_space, node.key)) {
      rows.snapshots.remove(found->id);
      ++report_.snapshots;
    }
  }

  void discard_ingests(Rows& rows) {
    const auto oldest = std::chrono::system_clock::now() - options_.ingest_age;
    std::set<std::string> leased;
    Query query(rows.database,
                "SELECT l.namespace, r.key FROM lease_resources r JOIN leases l ON l.id = r.lease "
                "WHERE r.kind = ?");
    query.bind(static_cast<int>(LeaseResource::ingest));
    while (query.next()) leased.insert(layout_.ingest(query.text(0), query.text(1)).filename());
    for (const auto& name : names_in(layout_.ingests())) {
      if (!leased.contains(name)) discard_ingest(layout_.ingests() / name, oldest);
    }
  }

  void discard_ingest(const std::filesystem::path& directory, StoreTime oldest) {
    const auto data = directory / "data";
    const UniqueFd file(::open(data.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    const auto status = stat_of(file ? data : directory);
    if (!status || modified(*status) > oldest) return;
    if (file && !lock_file(file, false, data)) return;  // somebody is at it
    layout_.discard(directory);
    ++report_.ingests;
  }

  void delete_lease_files(Rows& rows) {
    std::set<std::string> known;
    for (const auto& lease : rows.leases.list()) known.insert(layout_.lease_lock(lease.id).filename());
    for (const auto& name : names_in(layout_.leases())) {
      if (!known.contains(name)) ::unlink((layout_.leases() / name).c_str());
    }
  }

  /// Of processes that were killed while they wrote index.json, which is only done in a write transaction.
  void delete_unfinished_indexes() const {
    const auto beginning = layout_.index_file().filename().string() + ".";
    for (const auto& name : names_in(layout_.root)) {
      if (name.starts_with(beginning)) ::unlink((layout_.root / name).c_str());
    }
  }

  const StoreLayout& layout_;
  Metadata& metadata_;
  GarbageOptions options_;
  GarbageReport report_;
};

}  // namespace

GarbageReport collect_garbage(const StoreLayout& layout, Metadata& metadata, GarbageOptions options) {
  return Collector(layout, metadata, options).run();
}

}  // namespace lazypull
