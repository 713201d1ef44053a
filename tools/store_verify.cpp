#include "tools/store_verify.hpp"

#include "engine/error.hpp"
#include "engine/labels.hpp"
#include "snapshot/embedded/files.hpp"
#include "tools/text.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <sys/stat.h>

#include <algorithm>
#include <fcntl.h>
#include <map>
#include <set>
#include <span>
#include <utility>

namespace lazypull {
namespace {

namespace json = boost::json;

constexpr std::string_view layer_label = "containerd.io/gc.ref.content.l.";
constexpr std::string_view config_label = "containerd.io/gc.ref.content.config";

/// What the database says of one namespace.
struct Records {
  std::vector<StoredImage> images;
  std::map<std::string, Labels> content;  // by digest
  std::map<std::string, StoredSnapshot> snapshots;
};

/// One state of the database.
struct State {
  std::map<std::string, Records> namespaces;
  std::vector<std::string> blobs;
  std::vector<LeaseRow> leases;
  std::set<std::pair<std::string, std::string>> mounted_snapshots;
};

std::vector<std::string> namespaces_of(Database& database) {
  std::vector<std::string> names;
  Query query(database,
              "SELECT namespace FROM content UNION SELECT namespace FROM snapshots UNION SELECT namespace "
              "FROM images");
  while (query.next()) names.push_back(query.text(0));
  return names;
}

State read_state(Rows& rows) {
  State state;
  for (const auto& name : namespaces_of(rows.database)) {
    auto& records = state.namespaces[name];
    records.images = rows.images.list(name);
    for (auto& content : rows.content.list(name)) {
      records.content.emplace(content.info.digest.str(), std::move(content.info.labels));
    }
    for (auto& snapshot : rows.snapshots.list(name)) {
      auto key = snapshot.info.name;
      records.snapshots.emplace(std::move(key), std::move(snapshot));
    }
  }
  state.blobs = rows.content.all_blobs();
  state.leases = rows.leases.list();
  for (const auto& mount : rows.mounts.list())
    state.mounted_snapshots.emplace(mount.name_space, mount.snapshot);
  return state;
}

class Verification {
 public:
  explicit Verification(EmbeddedStore& store) : store_(store), layout_(store.layout()) {}

  StoreVerdict run() {
    state_ = store_.metadata().read([](Rows& rows) { return read_state(rows); });
    for (const auto& digest : state_.blobs) verify_blob(digest);
    for (const auto& [name, records] : state_.namespaces) verify_namespace(name, records);
    find_dead_leases();
    find_unfinished_snapshots();
    find_files_without_record();
    verdict_.partial = store_.content().ingests();
    return std::move(verdict_);
  }

 private:
  void damaged(std::string what) { verdict_.damage.push_back(std::move(what)); }
  void left_over(std::string what) { verdict_.leftovers.push_back(std::move(what)); }

  void verify_blob(const std::string& text) {
    const auto digest = Digest::parse(text);
    try {
      const auto [actual, size] = digest_file(digest);
      const auto wanted = store_.metadata().read([&](Rows& rows) { return rows.content.blob_size(digest); });
      if (!wanted) return;  // removed by now
      if (size != *wanted) {
        damaged("blob " + text + " has " + std::to_string(size) + " bytes instead of " +
                std::to_string(*wanted));
      } else if (actual != digest) {
        damaged("blob " + text + " has the bytes of " + actual.str());
      } else {
        ++verdict_.blobs;
        verdict_.bytes += size;
      }
    } catch (const Error& error) {
      const auto still = store_.metadata().read([&](Rows& rows) { return rows.content.blob_size(digest); });
      if (still) damaged("blob " + text + ": " + error.message());
    }
  }

  std::pair<Digest, std::uint64_t> digest_file(const Digest& digest) {
    const auto name = layout_.blob(digest);
    const auto file = open_file(name, O_RDONLY | O_NOFOLLOW);
    Hasher hasher(digest.algorithm());
    std::uint64_t size = 0;
    for (;;) {
      const auto got = read_at(file, buffer_, size, name);
      if (got == 0) break;
      hasher.update(std::span(buffer_).first(got));
      size += got;
    }
    return {hasher.finish(), size};
  }

  void verify_namespace(const std::string& name, const Records& records) {
    const auto before = verdict_.damage.size();
    for (const auto& [key, snapshot] : records.snapshots) verify_snapshot(name, key, snapshot, records);
    for (const auto& image : records.images) verify_image(name, image, records);
    if (verdict_.damage.size() == before) verdict_.images += records.images.size();
  }

  void verify_snapshot(const std::string& name_space, const std::string& key, const StoredSnapshot& snapshot,
                       const Records& records) {
    const auto what = "snapshot " + key;
    const auto& parent = snapshot.info.parent;
    const auto found = records.snapshots.find(parent);
    if (!parent.empty() &&
        (found == records.snapshots.end() || found->second.info.kind != SnapshotKind::committed)) {
      damaged(what + ": its parent " + parent + " is not there");
      return;
    }
    struct ::stat status{};
    if (::lstat(layout_.upper(snapshot.id).c_str(), &status) != 0 && is_still_there(name_space, key)) {
      damaged(what + " has no directory");
      return;
    }
    ++verdict_.snapshots;
  }

  bool is_still_there(const std::string& name_space, const std::string& key) {
    return store_.metadata().read(
        [&](Rows& rows) { return rows.snapshots.find(name_space, key).has_value(); });
  }

  void verify_image(const std::string& name_space, const StoredImage& image, const Records& records) {
    const auto& name = image.record.name;
    const auto target = image.record.target.digest.str();
    if (!records.content.contains(target)) {
      damaged("image " + name + " in " + name_space + ": its target " + target + " is not there");
      return;
    }
    verify_manifest(name, target, records);
    for (const auto& [key, child] : records.content.at(target)) {
      const bool names_manifest =
          key.starts_with(label::gc_content) && key != config_label && !key.starts_with(layer_label);
      // Those of other platforms are not there.
      if (names_manifest && records.content.contains(child)) verify_manifest(name, child, records);
    }
  }

  /// A manifest's config must be there, and of each layer the blob, unless its files are all that is kept.
  void verify_manifest(const std::string& image, const std::string& digest, const Records& records) {
    const auto& labels = records.content.at(digest);
    const auto config = labels.find(std::string(config_label));
    if (config == labels.end()) return;
    const auto found = records.content.find(config->second);
    if (found == records.content.end()) {
      damaged("image " + image + ": config " + config->second + " is not there");
      return;
    }
    const bool unpacked = verify_top_snapshot(image, found->second, records);
    for (const auto& [key, layer] : labels) {
      if (!key.starts_with(layer_label) || records.content.contains(layer) || unpacked) continue;
      damaged(std::string("image ").append(image).append(": layer ").append(layer).append(" is not there"));
    }
  }

  /// True if the config says which snapshot is the image's.
  bool verify_top_snapshot(const std::string& image, const Labels& config, const Records& records) {
    const auto top = config.find(std::string(label::gc_snapshot) + std::string(embedded_snapshotter));
    if (top == config.end()) return false;
    if (!records.snapshots.contains(top->second)) {
      damaged("image " + image + ": snapshot " + top->second + " is not there");
    }
    return true;
  }

  void find_dead_leases() {
    const auto now = std::chrono::system_clock::now();
    std::set<std::string> known;
    for (const auto& lease : state_.leases) {
      known.insert(layout_.lease_lock(lease.id).filename());
      if (!is_alive(layout_, lease, now)) {
        left_over("lease " + lease.id);
      } else {
        someone_pulls_ = true;
      }
    }
    for (const auto& name : names_in(layout_.leases())) {
      if (!known.contains(name) && !is_locked(layout_.leases() / name)) left_over("lease file " + name);
    }
  }

  void find_unfinished_snapshots() {
    if (someone_pulls_) return;  // they may be theirs
    for (const auto& [name_space, records] : state_.namespaces) {
      for (const auto& [key, snapshot] : records.snapshots) {
        if (snapshot.info.kind == SnapshotKind::committed) continue;
        if (!state_.mounted_snapshots.contains({name_space, key})) left_over("unfinished snapshot " + key);
      }
    }
  }

  void find_files_without_record() {
    const std::set<std::string> blobs(state_.blobs.begin(), state_.blobs.end());
    for (const std::string algorithm : {"sha256", "sha512"}) {
      for (const auto& name : names_in(layout_.blobs() / algorithm)) {
        auto digest = algorithm;
        digest.append(":").append(name);
        if (!blobs.contains(digest) && !is_recorded(digest)) {
          left_over(std::string("blob ").append(digest).append(" without a record"));
        }
      }
    }
    const auto ids = store_.metadata().read([](Rows& rows) { return rows.snapshots.all_ids(); });
    std::set<std::string> directories;
    for (const auto id : ids) directories.insert(std::to_string(id));
    if (!someone_pulls_) {
      for (const auto& name : names_in(layout_.snapshots())) {
        if (!directories.contains(name)) left_over("directory of snapshot " + name + " without a record");
      }
    }
    for (const auto& name : names_in(layout_.trash())) left_over("trash " + name);
    for (const auto& name : names_in(layout_.root)) {
      if (name.starts_with("index.json.") || name.starts_with("oci-layout.")) left_over("file " + name);
    }
  }

  bool is_recorded(const std::string& text) {
    const auto digest = Digest::try_parse(text);
    return digest &&
           store_.metadata().read([&](Rows& rows) { return rows.content.blob_size(*digest).has_value(); });
  }

  EmbeddedStore& store_;
  const StoreLayout& layout_;
  State state_;
  StoreVerdict verdict_;
  std::vector<std::byte> buffer_ = std::vector<std::byte>(1U << 20U);
  bool someone_pulls_ = false;
};

std::string damage_text(const std::vector<std::string>& damage) {
  constexpr std::size_t shown = 5;
  std::string text = format_count(damage.size(), "fault");
  for (std::size_t i = 0; i < std::min(shown, damage.size()); ++i) text += (i == 0 ? ": " : "; ") + damage[i];
  if (damage.size() > shown) text += "; …";
  return text;
}

json::array to_array(const std::vector<std::string>& texts) {
  json::array array;
  for (const auto& text : texts) array.emplace_back(printable(text));
  return array;
}

json::array to_array(const std::vector<IngestStatus>& ingests) {
  json::array array;
  for (const auto& ingest : ingests) {
    json::object object{{"ref", printable(ingest.ref)}, {"offset", ingest.offset}};
    if (ingest.total) object["total"] = *ingest.total;
    array.push_back(std::move(object));
  }
  return array;
}

std::string summary(const StoreVerdict& verdict) {
  auto text = format_count(verdict.blobs, "blob") + " (" + format_bytes(verdict.bytes) + "), " +
              format_count(verdict.images, "image") + " and " + format_count(verdict.snapshots, "snapshot") +
              " verified\n";
  for (const auto& ingest : verdict.partial) {
    text += "partial: " + printable(ingest.ref) + ", " + format_bytes(ingest.offset) + "\n";
  }
  for (const auto& leftover : verdict.leftovers) text += "left over: " + printable(leftover) + "\n";
  if (!verdict.leftovers.empty()) text += "'lazypull gc' removes what is left over\n";
  return text;
}

}  // namespace

StoreVerdict verify_store(EmbeddedStore& store) {
  return Verification(store).run();
}

std::string verify_text(EmbeddedStore& store, bool quiet, bool as_json) {
  const auto verdict = verify_store(store);
  if (!verdict.damage.empty()) {
    throw Error(Errc::digest_mismatch,
                "store " + store.layout().root.string() + ": " + damage_text(verdict.damage));
  }
  if (!as_json) return quiet ? std::string() : summary(verdict);
  json::object object;
  object["blobs"] = verdict.blobs;
  object["bytes"] = verdict.bytes;
  object["images"] = verdict.images;
  object["snapshots"] = verdict.snapshots;
  object["leftovers"] = to_array(verdict.leftovers);
  object["partial"] = to_array(verdict.partial);
  return json::serialize(object) + "\n";
}

}  // namespace lazypull
