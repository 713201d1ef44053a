// The part of SnapshotDirectories that has to do with remote layers.

#include "engine/error.hpp"
#include "engine/labels.hpp"
#include "snapshot/embedded/files.hpp"
#include "snapshot/embedded/snapshot_directories.hpp"

#include <sys/stat.h>
#include <system_error>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <unistd.h>
#include <utility>

namespace lazypull {

/// The committed snapshot that `containerd.io/snapshot.ref` asks for: of that name, or, as another namespace
/// of containerd may have been given it, of another name but of the same remote layer.
std::optional<std::string> SnapshotDirectories::existing_target(Rows& rows, const SnapshotInfo& info) const {
  const auto target = info.labels.find(std::string(label::snapshot_ref));
  if (target == info.labels.end()) return std::nullopt;
  const auto serves = [&](const std::optional<StoredSnapshot>& found) {
    return found && found->info.kind == SnapshotKind::committed && found->info.parent == info.parent;
  };
  if (serves(rows.snapshots.find(name_space_, target->second))) return target->second;
  const auto request = remote_request(info.labels);
  if (!request) return std::nullopt;
  for (auto& name : rows.remote.committed(name_space_, request->layer)) {
    const auto found = rows.snapshots.find(name_space_, name);
    if (!serves(found)) continue;
    const auto reference = found->info.labels.find(target->first);
    if (reference != found->info.labels.end() && reference->second == target->second) return std::move(name);
  }
  return std::nullopt;
}

std::optional<PrepareOutcome> SnapshotDirectories::prepare_remote(const SnapshotInfo& info,
                                                                  const RemoteRequest& request,
                                                                  const std::string& lease) {
  if (!is_wanted(info, request)) return std::nullopt;
  const auto layer = attachments_.find(request.layer);
  if (!layer) return std::nullopt;
  const bool fits = request.chain_id ? makes_chain_id(layer->record, info.parent, *request.chain_id)
                                     : may_lie_upon(layer->record, info.parent);
  if (!fits) return std::nullopt;
  std::optional<PrepareOutcome> outcome;
  std::exception_ptr failure;
  try {
    for (int tries = 0; tries < max_tries && !outcome; ++tries) {
      const auto attached = attachments_.try_attach(*layer);
      if (!attached) break;
      outcome = record_remote(info, request, *attached, lease);
    }
  } catch (...) {
    failure = std::current_exception();
  }
  if (!outcome || outcome->already_exists) detach_if_unused(request.layer);
  if (failure) std::rethrow_exception(failure);
  return outcome;
}

/// Otherwise it is refused, or is there, whatever the storages have.
bool SnapshotDirectories::is_wanted(const SnapshotInfo& info, const RemoteRequest& request) const {
  return metadata_.read([&](Rows& rows) {
    if (request.chain_id && existing_target(rows, info)) return false;
    if (info.name.empty() || rows.snapshots.find(name_space_, info.name)) return false;
    if (info.parent.empty()) return true;
    const auto parent = rows.snapshots.find(name_space_, info.parent);
    return parent && parent->info.kind == SnapshotKind::committed;
  });
}

/// Nothing if the layer is no longer attached: the last snapshot that used it has just gone.
std::optional<PrepareOutcome> SnapshotDirectories::record_remote(const SnapshotInfo& info,
                                                                 const RemoteRequest& request,
                                                                 const AttachedLayer& attached,
                                                                 const std::string& lease) {
  struct ::stat status{};
  if (::stat(attached.directory.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) return std::nullopt;
  const LinkTarget target{.directory = attached.directory, .uid = status.st_uid, .gid = status.st_gid};
  return metadata_.write([&](Rows& rows) -> std::optional<PrepareOutcome> {
    PrepareOutcome made;
    if (request.chain_id) {
      made.already_exists = true;
      if (const auto there = existing_target(rows, info)) {
        rows.leases.protect(lease, LeaseResource::snapshot, *there);
        return made;
      }
    }
    if (!attachments_.is_attached(attached.layer)) return std::nullopt;
    auto remote = info;
    remote.labels = marked_remote(info.labels);
    if (request.chain_id) {
      remote.kind = SnapshotKind::committed;
      remote.name = request.chain_id->str();
      // Taken by one on a parent of another name, which is another namespace of containerd's.
      if (rows.snapshots.find(name_space_, remote.name)) {
        remote.name = "remote/" + random_name() + "/" + remote.name;
      }
    }
    const auto snapshot = add_row(rows, remote, lease);
    rows.remote.put(snapshot.id, attached.layer);
    make_link(snapshot.id, target);
    if (!request.chain_id) made.mounts = mounts_of(snapshot, stack_of(rows, snapshot));
    return made;
  });
}

/// The link has the owner of what it points to, so that nobody has to ask the storage for it.
void SnapshotDirectories::make_link(std::int64_t id, const LinkTarget& target) const {
  const auto directory = layout_.snapshot(id);
  if (stat_of(directory)) layout_.discard(directory);
  make_directory_with_mode(directory, 0711);
  const auto link = layout_.upper(id);
  if (::symlink(target.directory.c_str(), link.c_str()) != 0) throw_errno("symlink " + link.string());
  if (::geteuid() != 0) return;
  if (::lchown(link.c_str(), target.uid, target.gid) != 0) throw_errno("chown " + link.string());
}

std::map<std::int64_t, std::filesystem::path> SnapshotDirectories::attach(const std::vector<RemoteRow>& rows,
                                                                          const std::string& key) {
  std::map<std::int64_t, std::filesystem::path> places;
  for (const auto& row : rows) {
    auto attached = attachments_.attach(row, key);
    relink(row, attached);
    places.emplace(row.snapshot, std::move(attached.directory));
  }
  return places;
}

/// Where the storage, or the store itself, has moved since.
void SnapshotDirectories::relink(const RemoteRow& row, const AttachedLayer& attached) {
  const auto link = layout_.upper(row.snapshot);
  std::error_code failure;
  const bool same = std::filesystem::read_symlink(link, failure) == attached.directory;
  if (same && attached.layer.data == row.layer.data) return;
  metadata_.write([&](Rows& rows) {
    if (!rows.remote.find(row.snapshot)) return;
    rows.remote.put(row.snapshot, attached.layer);
    const auto status = stat_of(link);
    const auto beside = layout_.snapshot(row.snapshot) / random_name();
    if (::symlink(attached.directory.c_str(), beside.c_str()) != 0) throw_errno("symlink " + beside.string());
    const bool owned =
        ::geteuid() != 0 || !status || ::lchown(beside.c_str(), status->st_uid, status->st_gid) == 0;
    if (!owned || ::rename(beside.c_str(), link.c_str()) != 0) throw_errno("replace " + link.string());
  });
}

/// In a write transaction, so that nobody records a snapshot of the layer just now; a layer that somebody is
/// attaching just now is left to him. What cannot be detached is left to `cleanup`.
void SnapshotDirectories::detach_if_unused(const Digest& layer) noexcept {
  try {
    if (metadata_.read([&](Rows& rows) { return rows.remote.users(layer); }) > 0) return;
    metadata_.write([&](Rows& rows) {
      if (rows.remote.users(layer) > 0 || std::ranges::count(attachments_.attached(), layer) == 0) return;
      attachments_.detach(layer);
    });
  } catch (const std::exception&) {
    return;
  }
}

std::size_t SnapshotDirectories::detach_unused() {
  return metadata_.write([&](Rows& rows) {
    std::size_t detached = 0;
    for (const auto& layer : attachments_.attached()) {
      if (rows.remote.users(layer) > 0) continue;
      attachments_.detach(layer);
      ++detached;
    }
    return detached;
  });
}

}  // namespace lazypull
