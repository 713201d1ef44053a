#include "snapshot/unpack/extractor.hpp"

#include "snapshot/unpack/confined_path.hpp"
#include "snapshot/unpack/directory_times.hpp"
#include "snapshot/unpack/file_attributes.hpp"
#include "snapshot/unpack/file_error.hpp"
#include "snapshot/unpack/folders.hpp"
#include "snapshot/unpack/remove_tree.hpp"
#include "snapshot/unpack/tar_reader.hpp"
#include "snapshot/unpack/unpacked_paths.hpp"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include <cerrno>
#include <fcntl.h>
#include <optional>
#include <string_view>
#include <unistd.h>

namespace lazypull {
namespace {

constexpr std::string_view whiteout_prefix = ".wh.";
constexpr std::string_view opaque_marker = ".wh..wh..opq";
constexpr mode_t permission_bits = 0777;
constexpr mode_t owner_access = 0700;
constexpr auto unchanged = static_cast<std::uint32_t>(-1);  // to chown

/// As the kernel does with the numbers that Go gives it.
std::uint32_t id(std::int64_t value) noexcept {
  return static_cast<std::uint32_t>(value);
}

mode_t mode_of(const TarEntry& entry) noexcept {
  return static_cast<mode_t>(entry.mode) & all_mode_bits;
}

/// The kernel's encoding of device numbers. glibc's mknod refuses what is out of range; containerd cuts it
/// off.
unsigned device_of(const TarEntry& entry) noexcept {
  const auto major = static_cast<std::uint32_t>(entry.device_major);
  const auto minor = static_cast<std::uint32_t>(entry.device_minor);
  return (minor & 0xffU) | (major & 0xfffU) << 8U | (minor & ~0xffU) << 12U;
}

mode_t node_type(char type) noexcept {
  if (type == tar_type::character_device) return S_IFCHR;
  return type == tar_type::block_device ? S_IFBLK : S_IFIFO;
}

}  // namespace

class Extractor::Impl final : public TarVisitor {
 public:
  Impl(int root, const ExtractOptions& options)
      : options_(options),
        root_(root),
        folders_(root_, options.limits.directory_bytes),
        directories_(options.limits.directory_bytes),
        reader_(*this, {.entries = options.limits.entries}) {}

  void write(std::span<const std::byte> tar) { reader_.write(tar); }
  ExtractResult finish();

  bool entry(const TarEntry& entry) override;
  void data(std::span<const std::byte> bytes) override;
  void hole(std::uint64_t bytes) override;
  void end_of_entry() override;

 private:
  void count(const TarEntry& entry);
  void check_path() const;
  bool extract(const TarEntry& entry, Folder& folder);
  bool convert_whiteout(const TarEntry& entry, Folder& folder);
  void make_opaque(Folder& folder);
  void remove_unlisted(int directory, const std::string& path, const Folder& folder);

  void make_file(const TarEntry& entry, Folder& folder);
  void make_directory(const TarEntry& entry, Folder& folder);
  void make_symlink(const TarEntry& entry, Folder& folder);
  void make_node(const TarEntry& entry, Folder& folder);
  void make_hard_link(const TarEntry& entry, Folder& folder);
  int link_to_target(const std::string& target, const Folder& folder);
  template <class Make>
  int create(Folder& folder, const char* doing, Make make);
  bool stat_existing(const Folder& folder, const std::string& name, struct stat& info) const;
  void remove_existing(Folder& folder, const std::string& name);

  bool needs_chown(const TarEntry& entry, Folder& folder);
  bool needs_chmod(mode_t mode, Folder& folder) const {
    return (mode & ~permission_bits) != 0 || (mode & umask_) != 0 || folder.bequeaths();
  }
  void own(const TarEntry& entry, const Folder& folder, const std::string& name) const;
  void set_mode(mode_t mode, const Folder& folder) const;
  void set_times(const TarEntry& entry, const Folder& folder) const;
  void set_xattrs(const TarEntry& entry, const Folder& folder, mode_t type) const;
  std::string path_in(const Folder& folder, const std::string& name) const {
    return folder.path.empty() ? name : folder.path + "/" + name;
  }
  [[noreturn]] void fail(std::string_view doing) const { throw_file_error(name_, doing, errno); }

  ExtractOptions options_;
  XattrPolicy xattrs_{.privileged = options_.privileged, .user_overlay = !options_.user_xattr};
  ConfinedRoot root_;
  Folders folders_;
  DirectoryTimes directories_;
  UnpackedPaths unpacked_;
  TarReader reader_;
  ExtractResult result_;
  mode_t umask_ = current_umask();
  std::uint32_t own_uid_ = ::geteuid();
  std::uint32_t own_gid_ = ::getegid();
  std::optional<bool> creator_owns_;  // whether new files belong to us, which a mount option can change
  bool replaced_ = false;             // a link or directory has been removed
  std::uint64_t visited_ = 0;         // by opaque directories

  // The entry at hand.
  std::string name_;  // clean
  std::string base_;  // its last component
  UniqueFd file_;
  const TarEntry* file_entry_ = nullptr;
  bool chown_file_ = false;
  bool chmod_file_ = false;
  bool ends_in_hole_ = false;
};

// ---- entries ----

bool Extractor::Impl::entry(const TarEntry& entry) {
  count(entry);
  clean_path(entry.name, name_);
  check_path();
  if (name_.empty()) return false;  // the root itself is not the archive's
  const bool device = entry.type == tar_type::character_device || entry.type == tar_type::block_device;
  if (device && !options_.privileged) return false;
  const auto [parent, base] = split_path(name_);
  base_ = base;
  Folder& folder = folders_.open(parent);
  if (convert_whiteout(entry, folder)) return false;
  const bool wants_content = extract(entry, folder);
  // Opaque directories keep what this layer put into them.
  if (options_.whiteouts == WhiteoutFormat::remove) unpacked_.add(path_in(folder, base_));
  return wants_content;
}

void Extractor::Impl::count(const TarEntry& entry) {
  ++result_.entries;
  if (!has_content(entry.type)) return;
  const auto bytes = static_cast<std::uint64_t>(entry.size);
  if (bytes > options_.limits.bytes - result_.bytes)
    throw_bad_entry(entry.name, "the layer is larger than allowed");
  result_.bytes += bytes;
}

void Extractor::Impl::check_path() const {
  const auto& limits = options_.limits;
  if (name_.size() > limits.path_bytes)
    throw_bad_entry(name_.substr(0, 100) + "…", "a path that is too long");
  std::size_t depth = 1;
  for (const char c : name_) depth += c == '/' ? 1 : 0;
  if (depth > limits.depth) throw_bad_entry(name_, "directories that are nested too deeply");
}

// True if the entry's content is wanted.
bool Extractor::Impl::extract(const TarEntry& entry, Folder& folder) {
  switch (entry.type) {
    case tar_type::regular:
      make_file(entry, folder);
      return true;
    case tar_type::directory:
      make_directory(entry, folder);
      return false;
    case tar_type::symbolic_link:
      make_symlink(entry, folder);
      return false;
    case tar_type::hard_link:
      make_hard_link(entry, folder);
      return false;
    case tar_type::character_device:
    case tar_type::block_device:
    case tar_type::fifo:
      make_node(entry, folder);
      return false;
    case tar_type::global_header:
      remove_existing(folder, base_);
      return false;
    default:
      throw_bad_entry(name_, "an entry of the unknown type " + std::to_string(static_cast<int>(entry.type)));
  }
}

template <class Make>
int Extractor::Impl::create(Folder& folder, const char* doing, Make make) {
  int result = make();
  if (result < 0 && errno == EEXIST) {
    remove_existing(folder, base_);
    result = make();
  }
  if (result < 0) fail(doing);
  return result;
}

void Extractor::Impl::make_file(const TarEntry& entry, Folder& folder) {
  const auto mode = mode_of(entry);
  mode_t first_mode = mode & permission_bits;
  chmod_file_ = needs_chmod(mode, folder);
  if (!options_.privileged && !entry.xattrs.empty()) {
    // Who is not root may set attributes only of what he may write to.
    first_mode |= S_IWUSR;
    chmod_file_ = true;
  }
  constexpr int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  file_ = UniqueFd(
      create(folder, "create", [&] { return ::openat(folder.get(), base_.c_str(), flags, first_mode); }));
  file_entry_ = &entry;
  chown_file_ = needs_chown(entry, folder);
  ends_in_hole_ = false;
}

void Extractor::Impl::data(std::span<const std::byte> bytes) {
  ends_in_hole_ = false;
  while (!bytes.empty()) {
    const auto written = ::write(file_.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("write");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void Extractor::Impl::hole(std::uint64_t bytes) {
  if (::lseek(file_.get(), static_cast<off_t>(bytes), SEEK_CUR) < 0) fail("seek");
  ends_in_hole_ = true;
}

void Extractor::Impl::end_of_entry() {
  const TarEntry& entry = *file_entry_;
  const int file = file_.get();
  if (ends_in_hole_ && ::ftruncate(file, entry.size) != 0) fail("resize");
  if (chown_file_ && ::fchown(file, id(entry.uid), id(entry.gid)) != 0) fail("chown");
  lazypull::set_xattrs(file, {}, S_IFREG, entry, xattrs_, name_);
  if (chmod_file_ && ::fchmod(file, mode_of(entry)) != 0) fail("chmod");
  const auto times = file_times(entry);
  if (::futimens(file, times.data()) != 0) fail("set times");
  // Some file systems report only now that there was no space.
  if (::close(file_.release()) != 0 && errno != EINTR) fail("close");
}

void Extractor::Impl::make_directory(const TarEntry& entry, Folder& folder) {
  const auto mode = mode_of(entry);
  // Who is not root must be able to fill the directory; its own mode comes last.
  const bool later = !options_.privileged && (mode & owner_access) != owner_access;
  const mode_t first_mode = later ? mode | owner_access : mode;
  const auto make = [&] { return ::mkdirat(folder.get(), base_.c_str(), first_mode & permission_bits); };
  struct stat info{};
  bool merged = false;
  if (make() != 0) {
    if (errno != EEXIST) fail("make the directory");
    merged = stat_existing(folder, base_, info) && S_ISDIR(info.st_mode);
    if (!merged) create(folder, "make the directory", make);
  }
  if (merged) folders_.named(path_in(folder, base_));
  if (merged ? options_.privileged : needs_chown(entry, folder)) own(entry, folder, base_);
  set_xattrs(entry, folder, S_IFDIR);
  if (merged || needs_chmod(first_mode, folder)) set_mode(first_mode, folder);
  directories_.add(name_, file_times(entry), later ? std::optional(mode) : std::nullopt);
}

void Extractor::Impl::make_symlink(const TarEntry& entry, Folder& folder) {
  create(folder, "make the symbolic link",
         [&] { return ::symlinkat(entry.link.c_str(), folder.get(), base_.c_str()); });
  if (needs_chown(entry, folder)) own(entry, folder, base_);
  set_xattrs(entry, folder, S_IFLNK);
  set_times(entry, folder);
}

void Extractor::Impl::make_node(const TarEntry& entry, Folder& folder) {
  const auto mode = mode_of(entry);
  const auto type = node_type(entry.type);
  create(folder, "make the device or fifo", [&] {
    return static_cast<int>(::syscall(SYS_mknodat, folder.get(), base_.c_str(),
                                      type | (mode & permission_bits), device_of(entry)));
  });
  if (needs_chown(entry, folder)) own(entry, folder, base_);
  set_xattrs(entry, folder, type);
  if (needs_chmod(mode, folder)) set_mode(mode, folder);
  set_times(entry, folder);
}

// The attributes of a link's entry are the file's: whoever comes last decides.
void Extractor::Impl::make_hard_link(const TarEntry& entry, Folder& folder) {
  create(folder, "link it", [&] { return link_to_target(entry.link, folder); });
  struct stat info{};
  if (!stat_existing(folder, base_, info)) fail("stat");
  // Even without a change of owner this takes a file's capabilities away.
  if (options_.privileged) own(entry, folder, base_);
  set_xattrs(entry, folder, info.st_mode & S_IFMT);
  if (!S_ISLNK(info.st_mode)) set_mode(mode_of(entry), folder);
  set_times(entry, folder);
}

// Links in the target's folders are followed, the target itself is not. As the C functions, with errno.
int Extractor::Impl::link_to_target(const std::string& target, const Folder& folder) {
  const auto slash = target.rfind('/');
  const std::string base = slash == std::string::npos ? target : target.substr(slash + 1);
  if (base.empty() || base == "." || base == "..") throw_bad_entry(name_, "a hard link to a directory");
  const auto parent = std::string_view(target).substr(0, slash == std::string::npos ? 0 : slash + 1);
  std::string clean;
  clean_path(parent, clean);
  // What is cleaned first would lead elsewhere if a link came before a "..".
  const bool plain = parent.find("..") == std::string_view::npos;
  const Folder* there = plain ? folders_.find(clean) : folders_.find(root_.resolve(parent));
  if (there == nullptr) {
    errno = ENOENT;
    return -1;
  }
  return ::linkat(there->get(), base.c_str(), folder.get(), base_.c_str(), 0);
}

// ---- what is there already ----

bool Extractor::Impl::stat_existing(const Folder& folder, const std::string& name, struct stat& info) const {
  if (::fstatat(folder.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) return true;
  if (errno != ENOENT) fail("stat");
  return false;
}

void Extractor::Impl::remove_existing(Folder& folder, const std::string& name) {
  struct stat info{};
  if (!stat_existing(folder, name, info)) return;
  remove_tree(folder.get(), name, name_);
  if (!S_ISDIR(info.st_mode) && !S_ISLNK(info.st_mode)) return;
  replaced_ = true;
  folders_.removed(path_in(folder, name), folder);
}

// ---- whiteouts ----

bool Extractor::Impl::convert_whiteout(const TarEntry& entry, Folder& folder) {
  if (!base_.starts_with(whiteout_prefix)) return false;
  if (base_ == opaque_marker) {
    make_opaque(folder);
    return true;
  }
  const std::string target = base_.substr(whiteout_prefix.size());
  if (target.empty() || target == "." || target == "..") throw_bad_entry(name_, "an invalid whiteout");
  if (options_.whiteouts == WhiteoutFormat::remove) {
    remove_existing(folder, target);
    return true;
  }
  if (::mknodat(folder.get(), target.c_str(), S_IFCHR, 0) != 0) fail("make the whiteout");
  if (options_.privileged) own(entry, folder, target);
  return true;
}

void Extractor::Impl::make_opaque(Folder& folder) {
  if (options_.whiteouts == WhiteoutFormat::remove) {
    unpacked_.begin_questions();
    remove_unlisted(folder.get(), folder.path, folder);
    return;
  }
  const char* attribute = options_.user_xattr ? "user.overlay.opaque" : "trusted.overlay.opaque";
  if (::fsetxattr(folder.get(), attribute, "y", 1, 0) != 0) fail("make the directory opaque");
}

void Extractor::Impl::remove_unlisted(int directory, const std::string& path, const Folder& folder) {
  constexpr std::uint64_t most_visits_per_entry = 20;
  for (const auto& name : names_in(directory, path)) {
    if (++visited_ / most_visits_per_entry > options_.limits.entries)
      throw_bad_entry(name_, "too many whiteouts");
    std::string child = path;
    if (!child.empty()) child += '/';
    child += name;
    if (!unpacked_.contains(child)) {
      remove_tree(directory, name, child);
      replaced_ = true;
      folders_.removed(child, folder);
      continue;
    }
    const UniqueFd inner(::openat(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (inner) {
      remove_unlisted(inner.get(), child, folder);
    } else if (errno != ENOTDIR && errno != ELOOP) {
      throw_file_error(child, "open", errno);
    }
  }
}

// ---- attributes ----

// Only of what has just been created.
bool Extractor::Impl::needs_chown(const TarEntry& entry, Folder& folder) {
  if (!options_.privileged) return false;
  if (!creator_owns_) {
    struct stat info{};
    const bool known = stat_existing(folder, base_, info);
    creator_owns_ = known && !folder.bequeaths() && info.st_uid == own_uid_ && info.st_gid == own_gid_;
  }
  if (!*creator_owns_ || folder.bequeaths()) return true;
  const auto uid = id(entry.uid);
  const auto gid = id(entry.gid);
  return (uid != own_uid_ && uid != unchanged) || (gid != own_gid_ && gid != unchanged);
}

void Extractor::Impl::own(const TarEntry& entry, const Folder& folder, const std::string& name) const {
  if (::fchownat(folder.get(), name.c_str(), id(entry.uid), id(entry.gid), AT_SYMLINK_NOFOLLOW) != 0) {
    fail("chown");
  }
}

// Never of a symbolic link, which it would follow.
void Extractor::Impl::set_mode(mode_t mode, const Folder& folder) const {
  if (::fchmodat(folder.get(), base_.c_str(), mode, 0) != 0) fail("chmod");
}

void Extractor::Impl::set_times(const TarEntry& entry, const Folder& folder) const {
  const auto times = file_times(entry);
  if (::utimensat(folder.get(), base_.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) != 0) fail("set times");
}

void Extractor::Impl::set_xattrs(const TarEntry& entry, const Folder& folder, mode_t type) const {
  lazypull::set_xattrs(folder.get(), base_, type, entry, xattrs_, name_);
}

// ---- the end ----

ExtractResult Extractor::Impl::finish() {
  reader_.finish();
  directories_.apply(root_, folders_, replaced_);
  result_.implicit_directories = folders_.implicit();
  result_.named_later = folders_.named_later();
  return std::move(result_);
}

Extractor::Extractor(int root_directory, ExtractOptions options)
    : impl_(std::make_unique<Impl>(root_directory, options)) {}

Extractor::~Extractor() = default;

void Extractor::write(std::span<const std::byte> tar) {
  impl_->write(tar);
}

ExtractResult Extractor::finish() {
  return impl_->finish();
}

}  // namespace lazypull
