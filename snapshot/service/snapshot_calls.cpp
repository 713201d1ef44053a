#include "snapshot/service/snapshot_calls.hpp"

#include "engine/error.hpp"
#include "engine/labels.hpp"
#include "snapshot/embedded/remote_snapshots.hpp"
#include "snapshot/snapshot_filter.hpp"

#include <algorithm>
#include <optional>

namespace lazypull {

namespace {

namespace api = ::containerd::services::snapshots::v1;

constexpr std::string_view label_path = "labels.";

/// A label that is set to nothing is not set.
template <class Map>
Labels labels_of(const Map& map) {
  Labels labels;
  for (const auto& [key, value] : map) {
    if (!value.empty()) labels.emplace(key, value);
  }
  return labels;
}

template <class Response>
Response with_mounts(const std::vector<Mount>& mounts) {
  Response response;
  for (const auto& mount : mounts) {
    auto& to = *response.add_mounts();
    to.set_type(mount.type);
    to.set_source(mount.source);
    to.set_target(mount.target);
    for (const auto& option : mount.options) to.add_options(option);
  }
  return response;
}

google::protobuf::Timestamp timestamp_of(StoreTime time) {
  constexpr std::int64_t second = 1'000'000'000;
  const auto nanoseconds = nanoseconds_of(time);
  google::protobuf::Timestamp timestamp;
  timestamp.set_seconds(nanoseconds / second);
  timestamp.set_nanos(static_cast<std::int32_t>(nanoseconds % second));
  return timestamp;
}

api::Kind kind_of(SnapshotKind kind) {
  switch (kind) {
    case SnapshotKind::view:
      return api::VIEW;
    case SnapshotKind::active:
      return api::ACTIVE;
    case SnapshotKind::committed:
      return api::COMMITTED;
    case SnapshotKind::unknown:
      break;
  }
  return api::UNKNOWN;
}

Error no_snapshot(const std::string& key) {
  return {Errc::not_found, "snapshot " + key + " does not exist"};
}

/// The labels that the mask names, with their new values ("" is none); nothing where all are to be replaced.
std::optional<Labels> masked_labels(const api::UpdateSnapshotRequest& request) {
  const auto& paths = request.update_mask().paths();
  const auto& labels = request.info().labels();
  Labels changes;
  bool all = paths.empty();
  for (const auto& path : paths) {
    if (path == "labels") {
      all = true;
    } else if (path.starts_with(label_path) && path.size() > label_path.size()) {
      const auto key = path.substr(label_path.size());
      const auto found = labels.find(key);
      changes.insert_or_assign(key, found == labels.end() ? std::string() : found->second);
    } else {
      throw Error(Errc::invalid_argument,
                  "cannot update \"" + path + "\" field on snapshot " + request.info().name());
    }
  }
  if (all) return std::nullopt;
  return changes;
}

}  // namespace

api::Info info_of(const StoredSnapshot& snapshot) {
  api::Info info;
  info.set_name(snapshot.info.name);
  info.set_parent(snapshot.info.parent);
  info.set_kind(kind_of(snapshot.info.kind));
  *info.mutable_created_at() = timestamp_of(snapshot.created);
  *info.mutable_updated_at() = timestamp_of(snapshot.updated);
  for (const auto& [key, value] : snapshot.info.labels) (*info.mutable_labels())[key] = value;
  return info;
}

StoredSnapshot SnapshotCalls::find(const std::string& key) {
  auto found = root_.snapshots().stat(key);
  if (!found) throw no_snapshot(key);
  return std::move(*found);
}

/// Where the directory was made but its record could not be written, as on a full disk, the directory goes.
template <class Make>
auto SnapshotCalls::made_or_nothing(Make make) {
  try {
    return make();
  } catch (const Error& error) {
    if (error.code() == Errc::out_of_space || error.code() == Errc::internal) cleanup();
    throw;
  }
}

api::PrepareSnapshotResponse SnapshotCalls::prepare(const api::PrepareSnapshotRequest& request) {
  const auto labels = labels_of(request.labels());
  const auto outcome =
      made_or_nothing([&] { return root_.snapshots().prepare(request.key(), request.parent(), labels, {}); });
  log_remote(request.key(), labels, outcome.already_exists);
  if (outcome.already_exists) {
    throw Error(Errc::already_exists,
                "target snapshot " + labels.at(std::string(label::snapshot_ref)) + " exists");
  }
  return with_mounts<api::PrepareSnapshotResponse>(outcome.mounts);
}

/// One line for each layer that a client would rather not download.
void SnapshotCalls::log_remote(const std::string& key, const Labels& labels, bool already_exists) {
  const auto asked = remote_request(labels);
  if (!asked || !root_.has_storages()) return;
  bool used = already_exists;
  if (!asked->chain_id) {
    const auto made = root_.snapshots().stat(key);
    used = made && made->remote;
  }
  log_("layer " + asked->layer.str() + " for " + key +
       (used ? ": no download is needed" : ": no storage has it, so it will be downloaded"));
}

api::ViewSnapshotResponse SnapshotCalls::view(const api::ViewSnapshotRequest& request) {
  const auto labels = labels_of(request.labels());
  return with_mounts<api::ViewSnapshotResponse>(
      made_or_nothing([&] { return root_.snapshots().view(request.key(), request.parent(), labels, {}); }));
}

api::MountsResponse SnapshotCalls::mounts(const api::MountsRequest& request) {
  return with_mounts<api::MountsResponse>(root_.snapshots().mounts(request.key()));
}

void SnapshotCalls::commit(const api::CommitSnapshotRequest& request) {
  if (!request.parent().empty() && find(request.key()).info.parent != request.parent()) {
    throw Error(Errc::unsupported, "snapshot " + request.key() + " cannot get another parent");
  }
  const auto outcome = root_.commit(request.name(), request.key(), labels_of(request.labels()));
  if (outcome == CommitOutcome::already_exists) {
    throw Error(Errc::already_exists, "snapshot " + request.name() + " exists already");
  }
}

void SnapshotCalls::remove(const api::RemoveSnapshotRequest& request) {
  try {
    if (!root_.remove(request.key())) throw no_snapshot(request.key());
  } catch (const Error& error) {
    // Once its record has gone, so has the snapshot. Its files are in the trash.
    if (error.code() == Errc::not_found || root_.snapshots().stat(request.key())) throw;
    log_("remove " + request.key() + ": files are left for later: " + error.message());
  }
}

api::StatSnapshotResponse SnapshotCalls::stat(const api::StatSnapshotRequest& request) {
  api::StatSnapshotResponse response;
  *response.mutable_info() = info_of(find(request.key()));
  return response;
}

api::UpdateSnapshotResponse SnapshotCalls::update(const api::UpdateSnapshotRequest& request) {
  const auto& key = request.info().name();
  find(key);
  if (const auto changes = masked_labels(request)) {
    root_.snapshots().update_labels(key, *changes);
  } else {
    root_.snapshots().replace_labels(key, labels_of(request.info().labels()));
  }
  api::UpdateSnapshotResponse response;
  *response.mutable_info() = info_of(find(key));
  return response;
}

std::vector<StoredSnapshot> SnapshotCalls::list(const api::ListSnapshotsRequest& request) {
  const std::vector<std::string> filters(request.filters().begin(), request.filters().end());
  const auto filter = SnapshotFilter::parse(filters);
  auto all = root_.snapshots().list();
  std::erase_if(all, [&](const StoredSnapshot& snapshot) { return !filter.matches(snapshot.info); });
  return all;
}

api::UsageResponse SnapshotCalls::usage(const api::UsageRequest& request) {
  const auto usage = root_.snapshots().usage(request.key());
  api::UsageResponse response;
  response.set_size(static_cast<std::int64_t>(usage.bytes));
  response.set_inodes(static_cast<std::int64_t>(usage.inodes));
  return response;
}

void SnapshotCalls::cleanup() {
  try {
    root_.cleanup();
  } catch (const Error& error) {
    log_("cleanup: " + error.message());
  }
}

}  // namespace lazypull
