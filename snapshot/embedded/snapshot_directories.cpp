#include "snapshot/embedded/snapshot_directories.hpp"

#include "engine/error.hpp"
#include "engine/labels.hpp"
#include "snapshot/embedded/files.hpp"
#include "snapshot/embedded/orphans.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <set>
#include <unistd.h>
#include <utility>

namespace lazypull {

namespace {

Error no_snapshot(const std::string& key) {
  return {Errc::not_found, "snapshot " + key + " does not exist"};
}

/// Whether the kernel's overlayfs knows the option.
bool has_index_option() {
  static const bool known = ::access("/sys/module/overlay/parameters/index", F_OK) == 0;
  return known;
}

Mount bind_mount(const std::filesystem::path& source, bool writable) {
  Mount mount;
  mount.type = "bind";
  mount.source = source.string();
  mount.options = {writable ? "rw" : "ro", "rbind"};
  return mount;
}

/// Without what is there twice: overlayfs refuses that, and it would change nothing.
std::vector<std::int64_t> without_repetitions(const std::vector<std::int64_t>& ids,
                                              const std::vector<RemoteRow>& remote) {
  std::map<std::int64_t, const Digest*> layers;
  for (const auto& row : remote) layers.emplace(row.snapshot, &row.layer.record.digest);
  std::set<Digest> seen;
  std::vector<std::int64_t> kept;
  for (const auto id : ids) {
    const auto found = layers.find(id);
    if (found == layers.end() || seen.insert(*found->second).second) kept.push_back(id);
  }
  return kept;
}

bool is_in(const std::vector<RemoteRow>& rows, const RemoteRow& row) {
  return std::ranges::any_of(rows, [&](const RemoteRow& other) { return other.snapshot == row.snapshot; });
}

bool are_in(const std::vector<RemoteRow>& rows, const std::vector<RemoteRow>& some) {
  return std::ranges::all_of(some, [&](const RemoteRow& row) { return is_in(rows, row); });
}

}  // namespace

SnapshotDirectories::SnapshotDirectories(StoreLayout layout, Metadata& metadata, std::string name_space)
    : layout_(std::move(layout)),
      metadata_(metadata),
      name_space_(std::move(name_space)),
      attachments_(layout_.layer_mounts()) {}

void SnapshotDirectories::use_remote_layers(std::shared_ptr<RemoteLayers> layers) {
  attachments_.use(layer_source(std::move(layers)));
}

void SnapshotDirectories::use_layer_source(std::shared_ptr<LayerSource> source) {
  attachments_.use(std::move(source));
}

std::optional<StoredSnapshot> SnapshotDirectories::stat(const std::string& key) const {
  return metadata_.read([&](Rows& rows) { return rows.snapshots.find(name_space_, key); });
}

std::vector<StoredSnapshot> SnapshotDirectories::list() const {
  return metadata_.read([&](Rows& rows) { return rows.snapshots.list(name_space_); });
}

PrepareOutcome SnapshotDirectories::prepare(const std::string& key, const std::string& parent,
                                            const Labels& labels, const std::string& lease) {
  SnapshotInfo info{.name = key, .parent = parent, .kind = SnapshotKind::active, .labels = labels};
  if (const auto request = remote_request(labels); request && attachments_.can_find()) {
    if (auto outcome = prepare_remote(info, *request, lease)) return std::move(*outcome);
  }
  info.labels = not_marked_remote(labels);
  return create(info, lease);
}

std::vector<Mount> SnapshotDirectories::view(const std::string& key, const std::string& parent,
                                             const Labels& labels, const std::string& lease) {
  const SnapshotInfo info{
      .name = key, .parent = parent, .kind = SnapshotKind::view, .labels = not_marked_remote(labels)};
  return create(info, lease).mounts;
}

/// Remote layers below are attached outside of the transaction, which then looks whether they still are the
/// same ones.
PrepareOutcome SnapshotDirectories::create(const SnapshotInfo& info, const std::string& lease) {
  std::vector<RemoteRow> attached;
  for (int tries = 0; tries < max_tries; ++tries) {
    std::vector<RemoteRow> needed;
    auto outcome = metadata_.write([&](Rows& rows) -> std::optional<PrepareOutcome> {
      PrepareOutcome made;
      if (info.kind == SnapshotKind::active) {
        if (const auto target = existing_target(rows, info)) {
          rows.leases.protect(lease, LeaseResource::snapshot, *target);
          made.already_exists = true;
          return made;
        }
      }
      if (const auto parent = rows.snapshots.find(name_space_, info.parent)) {
        needed = rows.remote.chain(parent->id);
      }
      if (!are_in(attached, needed) || !attachments_.are_attached(needed)) return std::nullopt;
      const auto snapshot = add_row(rows, info, lease);
      make_directories(snapshot);
      made.mounts = mounts_of(snapshot, stack_of(rows, snapshot));
      return made;
    });
    if (outcome) return std::move(*outcome);
    attach(needed, info.name);
    attached = std::move(needed);
  }
  throw Error(Errc::unavailable,
              "snapshot " + info.name + ": the layers of snapshot " + info.parent + " come and go");
}

/// Checks all that can be refused. In a write transaction, as are the directories: garbage collection deletes
/// those without a row.
StoredSnapshot SnapshotDirectories::add_row(Rows& rows, const SnapshotInfo& info,
                                            const std::string& lease) const {
  if (info.name.empty()) throw Error(Errc::invalid_argument, "a snapshot needs a name");
  if (rows.snapshots.find(name_space_, info.name)) {
    throw Error(Errc::already_exists, "snapshot " + info.name + " exists already");
  }
  StoredSnapshot snapshot;
  snapshot.info = info;
  if (!info.parent.empty()) {
    const auto parent = rows.snapshots.find(name_space_, info.parent);
    if (!parent) throw Error(Errc::not_found, "parent snapshot " + info.parent + " does not exist");
    if (parent->info.kind != SnapshotKind::committed) {
      throw Error(Errc::invalid_argument, "parent snapshot " + info.parent + " is not committed");
    }
    snapshot.parent_id = parent->id;
  }
  rows.leases.protect(lease, LeaseResource::snapshot, info.name);
  snapshot.id = rows.snapshots.add(name_space_, info, snapshot.parent_id);
  const auto below = rows.snapshots.ancestors(snapshot.id).size();
  if (below > max_lower_layers) {
    throw Error(Errc::failed_precondition, "snapshot " + info.name + " would lie upon " +
                                               std::to_string(below) + " layers, and overlayfs takes " +
                                               std::to_string(max_lower_layers) + " at most");
  }
  return snapshot;
}

void SnapshotDirectories::make_directories(const StoredSnapshot& snapshot) const {
  const auto directory = layout_.snapshot(snapshot.id);
  // Left by a process that was killed before it had committed the same id.
  if (stat_of(directory)) layout_.discard(directory);
  make_directory_with_mode(directory, 0711);
  const auto upper = layout_.upper(snapshot.id);
  make_directory_with_mode(upper, 0755);
  if (snapshot.info.kind == SnapshotKind::active) make_directory_with_mode(layout_.work(snapshot.id), 0711);
  if (!snapshot.parent_id || ::geteuid() != 0) return;
  const auto below = layout_.upper(*snapshot.parent_id);
  const auto status = stat_of(below);
  if (!status) throw Error(Errc::not_found, below.string() + " is missing: the store is damaged");
  if (::lchown(upper.c_str(), status->st_uid, status->st_gid) != 0) throw_errno("chown " + upper.string());
}

SnapshotDirectories::Stack SnapshotDirectories::stack_of(Rows& rows, const StoredSnapshot& snapshot) const {
  Stack stack{.ids = rows.snapshots.ancestors(snapshot.id), .remote = rows.remote.chain(snapshot.id)};
  const bool remote = !stack.remote.empty() && stack.remote.front().snapshot == snapshot.id;
  if (remote) stack.ids.insert(stack.ids.begin(), snapshot.id);
  return stack;
}

std::vector<Mount> SnapshotDirectories::mounts_of(const StoredSnapshot& snapshot, const Stack& stack) const {
  const auto lower = without_repetitions(stack.ids, stack.remote);
  const bool remote = !lower.empty() && lower.front() == snapshot.id;
  const bool writable = snapshot.info.kind == SnapshotKind::active && !remote;
  if (lower.empty()) return {bind_mount(layout_.upper(snapshot.id), writable)};
  if (!writable && lower.size() == 1) return {bind_mount(layout_.upper(lower.front()), false)};
  Mount mount;
  mount.type = "overlay";
  mount.source = "overlay";
  if (has_index_option()) mount.options.emplace_back("index=off");
  if (::geteuid() != 0) mount.options.emplace_back("userxattr");
  // By this clients know that nothing is left to be filled.
  if (remote) mount.options.emplace_back("ro");
  if (writable) {
    mount.options.push_back("workdir=" + layout_.work(snapshot.id).string());
    mount.options.push_back("upperdir=" + layout_.upper(snapshot.id).string());
  }
  std::string option;
  for (const auto id : lower) {
    option += option.empty() ? "lowerdir=" : ":";
    option += layout_.upper(id).string();
  }
  mount.options.push_back(std::move(option));
  return {mount};
}

std::vector<Mount> SnapshotDirectories::mounts(const std::string& key) {
  Stack stack;
  const auto snapshot = metadata_.read([&](Rows& rows) {
    const auto found = rows.snapshots.find(name_space_, key);
    if (!found) throw no_snapshot(key);
    if (found->info.kind == SnapshotKind::committed) {
      throw Error(Errc::failed_precondition,
                  "snapshot " + key + " is committed: only a view of it has mounts");
    }
    stack = stack_of(rows, *found);
    return *found;
  });
  attach(stack.remote, key);
  return mounts_of(snapshot, stack);
}

CommitOutcome SnapshotDirectories::commit(const std::string& name, const std::string& key,
                                          const Labels& labels, const std::string& lease) {
  if (name.empty()) throw Error(Errc::invalid_argument, "a snapshot needs a name");
  return metadata_.write([&](Rows& rows) {
    const auto found = rows.snapshots.find(name_space_, key);
    if (!found) throw no_snapshot(key);
    if (found->info.kind != SnapshotKind::active) {
      throw Error(Errc::failed_precondition, "snapshot " + key + " is not active");
    }
    rows.leases.protect(lease, LeaseResource::snapshot, name);
    if (rows.snapshots.find(name_space_, name)) return CommitOutcome::already_exists;
    const auto remote = rows.remote.find(found->id);
    const auto chain_id = chain_id_in(name);
    if (remote && chain_id && !makes_chain_id(remote->layer.record, found->info.parent, *chain_id)) {
      throw Error(Errc::failed_precondition, "snapshot " + key + " cannot be " + name + ": remote layer " +
                                                 remote->layer.record.digest.str() + " has the diff_id " +
                                                 remote->layer.record.diff_id.str());
    }
    rows.snapshots.commit(found->id, name, remote ? marked_remote(labels) : not_marked_remote(labels));
    return CommitOutcome::committed;
  });
}

bool SnapshotDirectories::remove(const std::string& key) {
  const auto removed = metadata_.write([&](Rows& rows) {
    const auto found = rows.snapshots.find(name_space_, key);
    if (!found) return found;
    if (rows.snapshots.has_children(found->id)) {
      throw Error(Errc::failed_precondition, "snapshot " + key + " has others built upon it");
    }
    rows.snapshots.remove(found->id);
    return found;
  });
  if (!removed) return false;
  if (removed->remote) detach_if_unused(*removed->remote);
  // No new snapshot ever gets this id, so this needs no transaction.
  try {
    delete_tree(layout_.discard(layout_.snapshot(removed->id)));
  } catch (const Error& error) {
    if (error.code() != Errc::not_found) throw;  // garbage collection was faster
  }
  return true;
}

std::size_t SnapshotDirectories::cleanup() {
  const auto trash = metadata_.write([&](Rows& rows) { return discard_directories(layout_, rows); });
  const auto detached = detach_unused();
  empty_trash(layout_, trash);
  return trash.size() + detached;
}

void SnapshotDirectories::update_labels(const std::string& key, const Labels& labels) {
  metadata_.write([&](Rows& rows) {
    auto found = rows.snapshots.find(name_space_, key);
    if (!found) throw no_snapshot(key);
    rows.snapshots.set_labels(found->id, merged_labels(std::move(found->info.labels), labels));
  });
}

void SnapshotDirectories::replace_labels(const std::string& key, const Labels& labels) {
  check_labels(labels);
  metadata_.write([&](Rows& rows) {
    const auto found = rows.snapshots.find(name_space_, key);
    if (!found) throw no_snapshot(key);
    rows.snapshots.set_labels(found->id, labels);
  });
}

DiskUsage SnapshotDirectories::usage(const std::string& key) {
  std::optional<DiskUsage> kept;
  const auto snapshot = metadata_.read([&](Rows& rows) {
    const auto found = rows.snapshots.find(name_space_, key);
    if (!found) throw no_snapshot(key);
    kept = rows.snapshots.usage(found->id);
    return *found;
  });
  if (kept) return *kept;
  if (snapshot.info.kind == SnapshotKind::view || snapshot.remote) return {};
  const auto counted = disk_usage(layout_.upper(snapshot.id));
  if (snapshot.info.kind == SnapshotKind::committed) {
    metadata_.write([&](Rows& rows) { rows.snapshots.set_usage(snapshot.id, counted); });
  }
  return counted;
}

std::vector<std::filesystem::path> SnapshotDirectories::layers(const std::string& name) {
  Stack stack;
  metadata_.read([&](Rows& rows) {
    const auto found = rows.snapshots.find(name_space_, name);
    if (!found) throw no_snapshot(name);
    stack = stack_of(rows, *found);
    if (found->info.kind != SnapshotKind::view && !found->remote) {
      stack.ids.insert(stack.ids.begin(), found->id);
    }
  });
  const auto places = attach(stack.remote, name);
  std::vector<std::filesystem::path> directories;
  for (const auto id : without_repetitions(stack.ids, stack.remote)) {
    const auto place = places.find(id);
    directories.push_back(place != places.end() ? place->second : layout_.upper(id));
  }
  return directories;
}

}  // namespace lazypull
