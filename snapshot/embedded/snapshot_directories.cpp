#include "snapshot/embedded/snapshot_directories.hpp"

#include "engine/error.hpp"
#include "engine/labels.hpp"
#include "snapshot/embedded/files.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
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

void make_directory(const std::filesystem::path& directory, ::mode_t mode) {
  if (::mkdir(directory.c_str(), mode) != 0) throw_errno("mkdir " + directory.string());
  // What the image's files may be used for must not depend on our umask.
  if (::chmod(directory.c_str(), mode) != 0) throw_errno("chmod " + directory.string());
}

Mount bind_mount(const std::filesystem::path& source, bool writable) {
  Mount mount;
  mount.type = "bind";
  mount.source = source.string();
  mount.options = {writable ? "rw" : "ro", "rbind"};
  return mount;
}

}  // namespace

SnapshotDirectories::SnapshotDirectories(StoreLayout layout, Metadata& metadata, std::string name_space)
    : layout_(std::move(layout)), metadata_(metadata), name_space_(std::move(name_space)) {}

std::optional<StoredSnapshot> SnapshotDirectories::stat(const std::string& key) const {
  return metadata_.read([&](Rows& rows) { return rows.snapshots.find(name_space_, key); });
}

std::vector<StoredSnapshot> SnapshotDirectories::list() const {
  return metadata_.read([&](Rows& rows) { return rows.snapshots.list(name_space_); });
}

PrepareOutcome SnapshotDirectories::prepare(const std::string& key, const std::string& parent,
                                            const Labels& labels, const std::string& lease) {
  const auto target = labels.find(std::string(label::snapshot_ref));
  return metadata_.write([&](Rows& rows) {
    PrepareOutcome outcome;
    if (target != labels.end()) {
      const auto found = rows.snapshots.find(name_space_, target->second);
      if (found && found->info.kind == SnapshotKind::committed) {
        rows.leases.protect(lease, LeaseResource::snapshot, target->second);
        outcome.already_exists = true;
        return outcome;
      }
    }
    const SnapshotInfo info{.name = key, .parent = parent, .kind = SnapshotKind::active, .labels = labels};
    outcome.mounts = create_in(rows, info, lease);
    return outcome;
  });
}

std::vector<Mount> SnapshotDirectories::view(const std::string& key, const std::string& parent,
                                             const Labels& labels, const std::string& lease) {
  const SnapshotInfo info{.name = key, .parent = parent, .kind = SnapshotKind::view, .labels = labels};
  return metadata_.write([&](Rows& rows) { return create_in(rows, info, lease); });
}

/// In a write transaction, the directories too: garbage collection deletes those without a row.
std::vector<Mount> SnapshotDirectories::create_in(Rows& rows, const SnapshotInfo& info,
                                                  const std::string& lease) {
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
  make_directories(snapshot);
  return mounts_of(snapshot, rows.snapshots.ancestors(snapshot.id));
}

void SnapshotDirectories::make_directories(const StoredSnapshot& snapshot) const {
  const auto directory = layout_.snapshot(snapshot.id);
  // Left by a process that was killed before it had committed the same id.
  if (stat_of(directory)) layout_.discard(directory);
  make_directory(directory, 0711);
  const auto upper = layout_.upper(snapshot.id);
  make_directory(upper, 0755);
  if (snapshot.info.kind == SnapshotKind::active) make_directory(layout_.work(snapshot.id), 0711);
  if (!snapshot.parent_id || ::geteuid() != 0) return;
  const auto below = layout_.upper(*snapshot.parent_id);
  const auto status = stat_of(below);
  if (!status) throw Error(Errc::not_found, below.string() + " is missing: the store is damaged");
  if (::lchown(upper.c_str(), status->st_uid, status->st_gid) != 0) throw_errno("chown " + upper.string());
}

std::vector<Mount> SnapshotDirectories::mounts_of(const StoredSnapshot& snapshot,
                                                  const std::vector<std::int64_t>& ancestors) const {
  const bool active = snapshot.info.kind == SnapshotKind::active;
  if (ancestors.empty()) return {bind_mount(layout_.upper(snapshot.id), active)};
  if (!active && ancestors.size() == 1) return {bind_mount(layout_.upper(ancestors.front()), false)};
  Mount mount;
  mount.type = "overlay";
  mount.source = "overlay";
  if (has_index_option()) mount.options.emplace_back("index=off");
  if (::geteuid() != 0) mount.options.emplace_back("userxattr");
  if (active) {
    mount.options.push_back("workdir=" + layout_.work(snapshot.id).string());
    mount.options.push_back("upperdir=" + layout_.upper(snapshot.id).string());
  }
  std::string lower;
  for (const auto id : ancestors) {
    lower += lower.empty() ? "lowerdir=" : ":";
    lower += layout_.upper(id).string();
  }
  mount.options.push_back(std::move(lower));
  return {mount};
}

std::vector<Mount> SnapshotDirectories::mounts(const std::string& key) const {
  return metadata_.read([&](Rows& rows) {
    const auto found = rows.snapshots.find(name_space_, key);
    if (!found) throw no_snapshot(key);
    if (found->info.kind == SnapshotKind::committed) {
      throw Error(Errc::failed_precondition,
                  "snapshot " + key + " is committed: only a view of it has mounts");
    }
    return mounts_of(*found, rows.snapshots.ancestors(found->id));
  });
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
    rows.snapshots.commit(found->id, name, labels);
    return CommitOutcome::committed;
  });
}

void SnapshotDirectories::remove(const std::string& key) {
  const auto id = metadata_.write([&](Rows& rows) -> std::optional<std::int64_t> {
    const auto found = rows.snapshots.find(name_space_, key);
    if (!found) return std::nullopt;
    if (rows.snapshots.has_children(found->id)) {
      throw Error(Errc::failed_precondition, "snapshot " + key + " has others built upon it");
    }
    rows.snapshots.remove(found->id);
    return found->id;
  });
  if (!id) return;
  // No new snapshot ever gets this id, so this needs no transaction.
  try {
    delete_tree(layout_.discard(layout_.snapshot(*id)));
  } catch (const Error& error) {
    if (error.code() != Errc::not_found) throw;  // garbage collection was faster
  }
}

void SnapshotDirectories::update_labels(const std::string& key, const Labels& labels) {
  metadata_.write([&](Rows& rows) {
    auto found = rows.snapshots.find(name_space_, key);
    if (!found) throw no_snapshot(key);
    rows.snapshots.set_labels(found->id, merged_labels(std::move(found->info.labels), labels));
  });
}

std::vector<std::filesystem::path> SnapshotDirectories::layers(const std::string& name) const {
  return metadata_.read([&](Rows& rows) {
    const auto found = rows.snapshots.find(name_space_, name);
    if (!found) throw no_snapshot(name);
    std::vector<std::filesystem::path> directories;
    if (found->info.kind != SnapshotKind::view) directories.push_back(layout_.upper(found->id));
    for (const auto id : rows.snapshots.ancestors(found->id)) directories.push_back(layout_.upper(id));
    return directories;
  });
}

}  // namespace lazypull
