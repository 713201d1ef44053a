#include "snapshot/remote/remote_layers.hpp"

#include "engine/error.hpp"
#include "snapshot/embedded/files.hpp"
#include "snapshot/remote/image_mount.hpp"
#include "snapshot/remote/layer_record.hpp"
#include "snapshot/remote/layer_storage.hpp"
#include "snapshot/remote/storage_thread.hpp"
#include "snapshot/unpack/unique_fd.hpp"

#include <sys/mount.h>
#include <sys/stat.h>
#include <system_error>

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <map>
#include <mutex>
#include <unistd.h>
#include <utility>

namespace lazypull {
namespace {

/// One storage, and what was last said about it.
class Storage {
 public:
  Storage(std::filesystem::path root, const RemoteLayersOptions& options)
      : root_(std::move(root)),
        warn_(options.warn),
        thread_(root_.string(), options.patience, options.pause, options.warn) {}

  const std::filesystem::path& root() const noexcept { return root_; }
  StorageThread& thread() noexcept { return thread_; }

  std::optional<RemoteLayer> find(const Digest& layer) {
    using Found = std::optional<RemoteLayer>;
    try {
      auto found = thread_.ask<Found>([root = root_, layer] { return read_layer(root, layer); });
      if (!found) return std::nullopt;
      say({});
      return std::move(*found);
    } catch (const Error& error) {
      say(error.message());
    } catch (const std::exception& error) {
      say(error.what());
    }
    return std::nullopt;
  }

 private:
  /// A storage that is missing altogether is so for every layer.
  void say(const std::string& what) {
    {
      const std::lock_guard lock(mutex_);
      if (std::exchange(said_, what) == what || what.empty()) return;
    }
    if (warn_) warn_(what);
  }

  std::filesystem::path root_;
  std::function<void(const std::string&)> warn_;
  StorageThread thread_;
  std::mutex mutex_;
  std::string said_;
};

void make_mounts_folder(const std::filesystem::path& folder) {
  std::error_code failure;
  if (folder.has_parent_path()) std::filesystem::create_directories(folder.parent_path(), failure);
  // Images bring files that are set-uid, which nobody else is to reach.
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) throw_errno("mkdir " + folder.string());
}

std::string lock_name(const std::filesystem::path& target) {
  return target.string() + ".lock";
}

/// Excludes other threads and processes from one mount point, for as long as this lives. The lock file is
/// removed with the mount point, so it is asked after whether it is still the one of that name.
UniqueFd lock_mount(const std::filesystem::path& target) {
  const auto name = lock_name(target);
  for (;;) {
    auto lock = open_file(name, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    lock_file(lock, true, name);
    struct ::stat ours{};
    if (::fstat(lock.get(), &ours) != 0) throw_errno("stat " + name);
    const auto there = stat_of(name);
    if (there && there->st_ino == ours.st_ino) return lock;
  }
}

bool is_image_mount(const MountedFileSystem& mount) {
  return mount.type == to_string(LayerFormat::erofs) || mount.type == to_string(LayerFormat::squashfs);
}

std::optional<Digest> digest_of_target(const std::filesystem::path& target) {
  constexpr std::size_t sha512_digits = 128;
  const auto hex = target.filename().string();
  return Digest::try_parse((hex.size() == sha512_digits ? "sha512:" : "sha256:") + hex);
}

}  // namespace

struct RemoteLayers::Impl {
  explicit Impl(RemoteLayersOptions given) : options(std::move(given)) {
    for (const auto& root : options.storages) {
      // Mounts name these paths for good, so they depend on no working directory.
      storages.push_back(
          std::make_unique<Storage>(std::filesystem::absolute(root).lexically_normal(), options));
    }
  }

  /// What the storage of a layer says; an error if it says nothing.
  template <class Result>
  Result ask(const RemoteLayer& layer, std::function<Result(const std::filesystem::path&)> job) {
    const auto root = layer.data.parent_path().parent_path().parent_path();
    const auto found = std::ranges::find_if(storages, [&](const auto& one) { return one->root() == root; });
    if (found == storages.end()) {
      throw Error(Errc::not_found, "layer " + layer.record.digest.str() + ": storage " + root.string() +
                                       " is none of those that are used here");
    }
    auto answer = (*found)->thread().template ask<Result>([job = std::move(job), root] { return job(root); });
    if (answer) return std::move(*answer);
    throw Error(Errc::unavailable,
                "layer " + layer.record.digest.str() + ": storage " + root.string() + " does not answer");
  }

  std::shared_ptr<UniqueFd> open(const RemoteLayer& layer) {
    using Opened = std::shared_ptr<UniqueFd>;
    return ask<Opened>(layer, [layer](const std::filesystem::path& root) {
      return std::make_shared<UniqueFd>(open_layer_data(root, layer));
    });
  }

  /// Free of links, as the kernel lists it; empty if there is no such folder.
  std::filesystem::path mounts_folder() const {
    std::error_code failure;
    return std::filesystem::canonical(options.mounts, failure);
  }

  static bool is_mounted(const std::filesystem::path& target) {
    return std::ranges::any_of(mounts_in(target.parent_path()), [&](const MountedFileSystem& one) {
      return one.target == target && is_image_mount(one);
    });
  }

  std::filesystem::path mount(const RemoteLayer& layer) {
    auto target = mounts_folder() / layer.record.digest.hex();
    const auto lock = lock_mount(target);
    if (is_mounted(target)) return target;
    try {
      const auto image = open(layer);
      if (::mkdir(target.c_str(), 0700) != 0 && errno != EEXIST) throw_errno("mkdir " + target.string());
      mount_image_file(*image, layer.record.format, layer.data, target);
    } catch (...) {
      // No mount point is left behind that nothing is mounted on.
      ::rmdir(target.c_str());
      ::unlink(lock_name(target).c_str());
      throw;
    }
    return target;
  }

  RemoteLayersOptions options;
  std::vector<std::unique_ptr<Storage>> storages;
};

RemoteLayers::RemoteLayers(RemoteLayersOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}

RemoteLayers::~RemoteLayers() = default;

std::optional<RemoteLayer> RemoteLayers::find(const Digest& layer) {
  if (layer.empty()) return std::nullopt;
  for (const auto& storage : impl_->storages) {
    if (auto found = storage->find(layer)) return found;
  }
  return std::nullopt;
}

std::filesystem::path RemoteLayers::attach(const RemoteLayer& layer) {
  const auto context = "layer " + layer.record.digest.str();
  try {
    if (layer.record.format == LayerFormat::directory) {
      impl_->open(layer);
      return layer.data;
    }
    make_mounts_folder(impl_->options.mounts);
    return impl_->mount(layer);
  } catch (const Error& error) {
    if (error.message().starts_with(context)) throw;
    throw error.with_context(context);
  }
}

void RemoteLayers::detach(const Digest& layer) {
  const auto folder = impl_->mounts_folder();
  if (folder.empty()) return;
  const auto target = folder / layer.hex();
  if (!stat_of(target)) return;
  const auto lock = lock_mount(target);
  while (::umount2(target.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
  }
  if (errno != EINVAL && errno != ENOENT) throw_errno("unmount " + target.string());
  if (::rmdir(target.c_str()) != 0 && errno != ENOENT) throw_errno("rmdir " + target.string());
  ::unlink(lock_name(target).c_str());
}

std::vector<Digest> RemoteLayers::attached() const {
  std::vector<Digest> layers;
  for (const auto& mount : mounts_in(impl_->mounts_folder())) {
    auto digest = digest_of_target(mount.target);
    if (digest && is_image_mount(mount)) layers.push_back(std::move(*digest));
  }
  return layers;
}

}  // namespace lazypull
