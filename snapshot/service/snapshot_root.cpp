#include "snapshot/service/snapshot_root.hpp"

#include "engine/error.hpp"
#include "snapshot/embedded/files.hpp"
#include "snapshot/embedded/layer_source.hpp"
#include "snapshot/embedded/orphans.hpp"
#include "snapshot/remote/remote_layers.hpp"

#include <sys/stat.h>
#include <system_error>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <fcntl.h>
#include <memory>
#include <optional>
#include <unistd.h>
#include <utility>

namespace lazypull {

namespace {

constexpr const char* database_name = "snapshotter.db";
constexpr const char* lock_name = "snapshotter.lock";
constexpr const char* reserve_name = "reserve";
constexpr ::off_t reserve_bytes = ::off_t{1} << 20U;

StoreLayout layout_in(const std::filesystem::path& directory) {
  std::error_code failure;
  std::filesystem::create_directories(directory, failure);
  StoreLayout layout;
  if (!failure) layout.root = std::filesystem::canonical(directory, failure);
  if (failure) {
    errno = failure.value();
    throw_errno("snapshotter's root " + directory.string());
  }
  return layout;
}

/// What is not known in it gets deleted, so it must be new or ours: not, for example, an embedded store.
void check_owner(const StoreLayout& layout) {
  const auto names = names_in(layout.root);
  const auto known = [](const std::string& name) { return name == database_name || name == lock_name; };
  const bool fresh = std::ranges::all_of(names, [](const auto& name) { return name == "lost+found"; });
  if (fresh || std::ranges::any_of(names, known)) return;
  throw Error(Errc::failed_precondition,
              layout.root.string() + " is neither empty nor the root of a lazypull snapshotter");
}

UniqueFd lock_root(const StoreLayout& layout) {
  check_owner(layout);
  const auto file = layout.root / lock_name;
  auto lock = open_file(file, O_RDWR | O_CREAT, 0600);
  if (!lock_file(lock, false, file)) {
    throw Error(Errc::failed_precondition,
                "another snapshotter is running with the root " + layout.root.string());
  }
  // Images bring files that are set-uid, which nobody else is to reach. containerd mounts as root.
  for (const auto& directory : {layout.snapshots(), layout.trash()}) {
    if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) throw_errno("mkdir " + directory.string());
  }
  return lock;
}

/// If it is not there. Best effort: the disk may be full, and then there is space when something has gone.
void make_reserve(const StoreLayout& layout) {
  const UniqueFd file(
      ::open((layout.root / reserve_name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  struct ::stat status{};
  if (!file || ::fstat(file.get(), &status) != 0 || status.st_size >= reserve_bytes) return;
  if (::posix_fallocate(file.get(), 0, reserve_bytes) != 0) {
    [[maybe_unused]] const auto emptied = ::ftruncate(file.get(), 0);
  }
}

/// Says why a layer that a storage has is not used.
class LoggedLayers final : public LayerSource {
 public:
  LoggedLayers(std::shared_ptr<LayerSource> source, std::function<void(const std::string&)> log)
      : source_(std::move(source)), log_(std::move(log)) {}

  std::optional<RemoteLayer> find(const Digest& layer) override { return source_->find(layer); }
  std::filesystem::path attach(const RemoteLayer& layer) override {
    try {
      return source_->attach(layer);
    } catch (const Error& error) {
      log_("layer " + layer.record.digest.str() + " of " + layer.data.string() +
           " cannot be used: " + error.message());
      throw;
    }
  }
  void detach(const Digest& layer) override { source_->detach(layer); }
  std::vector<Digest> attached() const override { return source_->attached(); }

 private:
  std::shared_ptr<LayerSource> source_;
  std::function<void(const std::string&)> log_;
};

}  // namespace

SnapshotRoot::SnapshotRoot(const std::filesystem::path& directory)
    : layout_(layout_in(directory)),
      lock_(lock_root(layout_)),
      metadata_(layout_.root / database_name, Flush::now),
      snapshots_(layout_, metadata_, "default") {
  make_reserve(layout_);
}

void SnapshotRoot::use_storages(std::vector<std::filesystem::path> storages,
                                const std::function<void(const std::string&)>& log) {
  RemoteLayersOptions options;
  options.storages = std::move(storages);
  options.mounts = layout_.layer_mounts();
  options.warn = log;
  auto layers = layer_source(std::make_shared<RemoteLayers>(std::move(options)));
  snapshots_.use_layer_source(std::make_shared<LoggedLayers>(std::move(layers), log));
  has_storages_ = true;
}

CommitOutcome SnapshotRoot::commit(const std::string& name, const std::string& key, const Labels& labels) {
  const auto found = snapshots_.stat(key);
  const bool local = found && found->info.kind == SnapshotKind::active && [&] {
    const auto status = stat_of(layout_.upper(found->id));
    return status && S_ISDIR(status->st_mode);
  }();
  if (local) {
    const auto root = open_file(layout_.root, O_RDONLY | O_DIRECTORY);
    if (::syncfs(root.get()) != 0) throw_errno("syncfs " + layout_.root.string());
  }
  return snapshots_.commit(name, key, labels, {});
}

bool SnapshotRoot::remove(const std::string& key) {
  bool removed = false;
  bool full = false;
  try {
    removed = snapshots_.remove(key);
  } catch (const Error& error) {
    // A record that is deleted takes space first.
    full = error.code() == Errc::out_of_space && snapshots_.stat(key);
    if (!full) throw;
  }
  const std::lock_guard lock(reserve_);
  if (full) {
    ::unlink((layout_.root / reserve_name).c_str());
    removed = snapshots_.remove(key);
  }
  make_reserve(layout_);
  return removed;
}

std::size_t SnapshotRoot::cleanup() {
  const auto trash = trash_of(layout_);
  std::exception_ptr failure;
  std::size_t removed = trash.size();
  try {
    removed += snapshots_.cleanup();
  } catch (const Error&) {
    failure = std::current_exception();
  }
  // Deleted by others at the same time, perhaps, who then count it too.
  empty_trash(layout_, trash);
  if (failure) std::rethrow_exception(failure);
  return removed;
}

void SnapshotRoot::attach_layers(const std::stop_token& stop,
                                 const std::function<void(const std::string&)>& failed) {
  for (const auto& snapshot : snapshots_.list()) {
    if (stop.stop_requested()) return;
    if (snapshot.info.kind == SnapshotKind::committed) continue;
    try {
      snapshots_.mounts(snapshot.info.name);
    } catch (const Error& error) {
      if (error.code() != Errc::not_found) failed(error.message());  // it has been removed meanwhile
    }
  }
}

}  // namespace lazypull
