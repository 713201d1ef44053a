#include "tools/store_mount.hpp"

#include "engine/error.hpp"
#include "snapshot/embedded/files.hpp"
#include "snapshot/embedded/merge_layers.hpp"
#include "tools/store_image.hpp"

#include <sys/mount.h>
#include <sys/stat.h>
#include <system_error>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <fcntl.h>
#include <string_view>
#include <unistd.h>
#include <utility>

namespace lazypull {

namespace {

namespace fs = std::filesystem;

/// Absolute and without symbolic links, so that it names the same directory later; made if there is none.
fs::path canonical_directory(const fs::path& directory, bool make) {
  if (make && ::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) {
    throw_errno("mkdir " + directory.string());
  }
  std::error_code failure;
  auto canonical = fs::canonical(directory, failure);
  if (failure) {
    errno = failure.value();
    throw_errno(directory.string());
  }
  if (!fs::is_directory(canonical)) {
    throw Error(Errc::invalid_argument, directory.string() + " is not a directory");
  }
  return canonical;
}

/// The image's topmost snapshot.
std::string top_snapshot(EmbeddedStore& store, const std::string& name,
                         const std::optional<Platform>& platform) {
  const auto image = find_image(store, name).record;
  const auto contents = read_image(store, image.target);
  const auto& part = choose_part(contents, platform, image.name);
  if (part.chain_ids.empty()) throw Error(Errc::not_found, "image " + image.name + " has no layers");
  auto top = part.chain_ids.back().str();
  const auto found = store.snapshots().stat(top);
  if (!found || found->info.kind != SnapshotKind::committed) {
    throw Error(Errc::not_found, "image " + image.name + " is not unpacked for " + part.platform.str());
  }
  return top;
}

/// So that even an image of many layers fits the page that the kernel reads the options from, its directories
/// are named from where all of them are, in which this process then is.
class InDirectory {
 public:
  explicit InDirectory(const fs::path& directory) : before_(open_file(".", O_RDONLY | O_DIRECTORY)) {
    if (::chdir(directory.c_str()) != 0) throw_errno("chdir " + directory.string());
  }
  InDirectory(const InDirectory&) = delete;
  InDirectory& operator=(const InDirectory&) = delete;
  ~InDirectory() {
    if (::fchdir(before_.get()) != 0) return;  // nothing of this process depends on it
  }

 private:
  UniqueFd before_;
};

std::string without_prefix(std::string text, const std::string& prefix) {
  for (auto at = text.find(prefix); at != std::string::npos; at = text.find(prefix, at)) {
    text.erase(at, prefix.size());
  }
  return text;
}

void set_option(const UniqueFd& context, const std::string& key, const std::string& value) {
  if (::fsconfig(context.get(), FSCONFIG_SET_STRING, key.c_str(), value.c_str(), 0) == 0) return;
  if (errno == EINVAL && key == "lowerdir+") {
    throw Error(Errc::unsupported, "the image has too many layers for one mount with this kernel");
  }
  throw_errno("set " + key + "=" + value + " of overlay");
}

void set_option(const UniqueFd& context, const std::string& option) {
  constexpr std::string_view lower = "lowerdir=";
  const auto equals = option.find('=');
  if (option.starts_with(lower)) {
    for (std::size_t start = lower.size(), end = 0; start < option.size(); start = end + 1) {
      end = std::min(option.find(':', start), option.size());
      set_option(context, "lowerdir+", option.substr(start, end - start));
    }
  } else if (equals != std::string::npos) {
    set_option(context, option.substr(0, equals), option.substr(equals + 1));
  } else if (::fsconfig(context.get(), FSCONFIG_SET_FLAG, option.c_str(), nullptr, 0) != 0) {
    throw_errno("set " + option + " of overlay");
  }
}

/// With one call for each option, since all of them do not fit a page. Directories can be given like that
/// since Linux 6.8.
void mount_by_parts(const std::vector<std::string>& options, const fs::path& target, bool writable) {
  const UniqueFd context(::fsopen("overlay", FSOPEN_CLOEXEC));
  if (!context) throw_errno("open overlay");
  for (const auto& option : options) set_option(context, option);
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    throw_errno("mount overlay on " + target.string());
  }
  const unsigned attributes = writable ? 0 : MOUNT_ATTR_RDONLY;
  const UniqueFd mounted(::fsmount(context.get(), FSMOUNT_CLOEXEC, attributes));
  if (!mounted || ::move_mount(mounted.get(), "", AT_FDCWD, target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    throw_errno("mount overlay on " + target.string());
  }
}

void mount_overlay(const Mount& mount, const StoreLayout& layout, const fs::path& target, bool writable) {
  const InDirectory here(layout.snapshots());
  const auto prefix = layout.snapshots().string() + "/";
  std::vector<std::string> options;
  std::string data;
  for (const auto& option : mount.options) {
    options.push_back(without_prefix(option, prefix));
    data += data.empty() ? "" : ",";
    data += options.back();
  }
  if (data.size() >= static_cast<std::size_t>(::sysconf(_SC_PAGESIZE))) {
    mount_by_parts(options, target, writable);
    return;
  }
  const unsigned long flags = writable ? 0 : MS_RDONLY;
  if (::mount("overlay", target.c_str(), "overlay", flags, data.c_str()) != 0) {
    throw_errno("mount overlay on " + target.string());
  }
}

void mount_bind(const Mount& mount, const fs::path& target, bool writable) {
  if (::mount(mount.source.c_str(), target.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0) {
    throw_errno("bind " + mount.source + " to " + target.string());
  }
  if (writable) return;
  constexpr unsigned long flags = MS_BIND | MS_REMOUNT | MS_RDONLY;
  if (::mount(nullptr, target.c_str(), nullptr, flags, nullptr) == 0) return;
  const int number = errno;
  ::umount2(target.c_str(), 0);
  errno = number;
  throw_errno("make " + target.string() + " read-only");
}

void record(EmbeddedStore& store, const MountRow& row) {
  store.metadata().write([&](Rows& rows) {
    if (rows.mounts.find(row.target)) {
      throw Error(Errc::failed_precondition, row.target + " is in use already: unmount it first");
    }
    rows.mounts.put(row);
  });
}

/// The snapshot is made and recorded before it is used, so that `unmount` finds all of it whenever this
/// process is killed.
std::vector<Mount> make_snapshot(EmbeddedStore& store, const MountRow& row, const std::string& top,
                                 bool writable) {
  const Labels labels{{"containerd.io/gc.root", rfc3339(std::chrono::system_clock::now())}};
  if (!writable) return store.snapshots().view(row.snapshot, top, labels, {});
  return store.snapshots().prepare(row.snapshot, top, labels, {}).mounts;
}

void forget(EmbeddedStore& store, const MountRow& row) {
  SnapshotDirectories(store.layout(), store.metadata(), row.name_space).remove(row.snapshot);
  store.metadata().write([&](Rows& rows) { rows.mounts.remove(row.target); });
}

void undo(EmbeddedStore& store, const MountRow& row) {
  if (row.kind == "mount") {
    // EINVAL: it is not mounted (any more), for example since the host was booted.
    if (::umount2(row.target.c_str(), UMOUNT_NOFOLLOW) != 0 && errno != EINVAL && errno != ENOENT) {
      if (errno == EBUSY) throw Error(Errc::failed_precondition, row.target + " is busy");
      throw_errno("unmount " + row.target);
    }
  } else {
    for (const auto& name : names_in(row.target)) delete_tree(fs::path(row.target) / name);
  }
  forget(store, row);
}

void carry_out(EmbeddedStore& store, const MountRow& row, const std::string& top, bool writable) {
  if (row.kind == "copy") {
    // The view keeps the layers from garbage collection, but only while they are copied.
    make_snapshot(store, row, top, false);
    merge_layers(store.snapshots().layers(row.snapshot), row.target);
    store.snapshots().remove(row.snapshot);
    return;
  }
  const auto mounts = make_snapshot(store, row, top, writable);
  const auto& mount = mounts.front();
  if (mount.type == "bind") {
    mount_bind(mount, row.target, writable);
  } else {
    mount_overlay(mount, store.layout(), row.target, writable);
  }
}

}  // namespace

MountRow mount_image(EmbeddedStore& store, const std::string& image, const fs::path& directory,
                     const MountOptions& options) {
  const auto top = top_snapshot(store, image, options.platform);
  const bool copy = options.copy || ::geteuid() != 0;
  const auto target = canonical_directory(directory, true);
  MountRow row;
  row.target = target.string();
  row.name_space = store.name_space();
  row.kind = copy ? "copy" : "mount";
  row.snapshot = "mount-" + random_name() + " " + top;
  record(store, row);
  if (copy && !names_in(target).empty()) {
    forget(store, row);  // and nothing is deleted: these files are not ours
    throw Error(Errc::failed_precondition, target.string() + " is not empty");
  }
  std::exception_ptr failure;
  try {
    carry_out(store, row, top, options.writable);
  } catch (...) {
    failure = std::current_exception();
  }
  if (!failure) return row;
  undo(store, row);
  std::rethrow_exception(failure);
}

MountRow unmount_image(EmbeddedStore& store, const fs::path& directory) {
  const auto target = canonical_directory(directory, false);
  const auto row = store.metadata().read([&](Rows& rows) { return rows.mounts.find(target.string()); });
  if (!row) throw Error(Errc::not_found, target.string() + " is nothing that lazypull has mounted");
  undo(store, *row);
  return *row;
}

}  // namespace lazypull
