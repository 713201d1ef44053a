#include "tests/integration/support/tree.hpp"

#include "tests/integration/support/image.hpp"
#include "tests/support/temp_dir.hpp"

#include <sys/stat.h>
#include <sys/xattr.h>
#include <system_error>

#include <cerrno>
#include <iomanip>
#include <ostream>
#include <sstream>
#include <utility>

namespace lazypull::test {

namespace {

namespace fs = std::filesystem;

using Inode = std::pair<dev_t, ino_t>;

[[noreturn]] void throw_errno(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

char type_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return 'd';
    case S_IFLNK:
      return 'l';
    case S_IFCHR:
      return 'c';
    case S_IFBLK:
      return 'b';
    case S_IFIFO:
      return 'p';
    case S_IFSOCK:
      return 's';
    default:
      return '-';
  }
}

std::map<std::string, std::string> xattrs_of(const fs::path& path, bool overlay_xattrs) {
  std::map<std::string, std::string> result;
  std::string names(65536, '\0');
  const auto length = ::llistxattr(path.c_str(), names.data(), names.size());
  if (length < 0) {
    if (errno == ENOTSUP) return result;
    throw_errno("llistxattr " + path.string());
  }
  names.resize(static_cast<std::size_t>(length));
  for (std::size_t at = 0; at < names.size();) {
    const std::string name = names.c_str() + at;
    at += name.size() + 1;
    if (name.starts_with("trusted.overlay.") && !overlay_xattrs) continue;
    std::string value(65536, '\0');
    const auto size = ::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
    if (size < 0) throw_errno("lgetxattr " + name + " of " + path.string());
    value.resize(static_cast<std::size_t>(size));
    result.emplace(name, std::move(value));
  }
  return result;
}

TreeEntry read_entry(const fs::path& path, const struct stat& status, bool overlay_xattrs) {
  TreeEntry entry;
  entry.type = type_of(status.st_mode);
  entry.mode = status.st_mode & 07777U;
  entry.uid = status.st_uid;
  entry.gid = status.st_gid;
  entry.mtime_ns = status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec;
  if (entry.type == '-') {
    entry.size = static_cast<std::uint64_t>(status.st_size);
    entry.sha256 = digest_of(read_file(path)).substr(sizeof("sha256:") - 1);
  }
  if (entry.type == 'l') entry.target = fs::read_symlink(path).string();
  if (entry.type == 'c' || entry.type == 'b') entry.device = status.st_rdev;
  entry.xattrs = xattrs_of(path, overlay_xattrs);
  return entry;
}

std::string octal(std::uint32_t mode) {
  std::ostringstream text;
  text << std::oct << std::setw(4) << std::setfill('0') << mode;
  return text.str();
}

std::string printable(std::string_view bytes) {
  std::ostringstream text;
  text << '"' << std::hex << std::setfill('0');
  for (const char byte : bytes) {
    const auto code = static_cast<unsigned>(static_cast<unsigned char>(byte));
    if (code >= 0x20 && code < 0x7f && byte != '\\' && byte != '"') {
      text << byte;
    } else {
      text << "\\x" << std::setw(2) << code;
    }
  }
  text << '"';
  return text.str();
}

// Collects "PATH: WHAT LEFT != RIGHT".
class Differences {
 public:
  explicit Differences(std::string path) : path_(path.empty() ? "." : std::move(path)) {}

  void compare(const std::string& what, const std::string& left, const std::string& right) {
    if (left != right) lines_.push_back(path_ + ": " + what + " " + left + " != " + right);
  }
  template <class T>
  void compare(const std::string& what, T left, T right) {
    compare(what, std::to_string(left), std::to_string(right));
  }
  std::vector<std::string> take() { return std::move(lines_); }

 private:
  std::string path_;
  std::vector<std::string> lines_;
};

void compare_xattrs(Differences& differences, const TreeEntry& left, const TreeEntry& right) {
  const auto value = [](const TreeEntry& entry, const std::string& name) {
    const auto found = entry.xattrs.find(name);
    return found == entry.xattrs.end() ? std::string("(none)") : printable(found->second);
  };
  auto names = left.xattrs;
  names.insert(right.xattrs.begin(), right.xattrs.end());
  for (const auto& [name, unused] : names) {
    differences.compare("xattr " + name, value(left, name), value(right, name));
  }
}

std::vector<std::string> diff_entry(const std::string& path, const TreeEntry& left, const TreeEntry& right,
                                    const TreeDiffOptions& options) {
  Differences differences(path);
  differences.compare("type", std::string(1, left.type), std::string(1, right.type));
  differences.compare("mode", octal(left.mode), octal(right.mode));
  differences.compare("uid", left.uid, right.uid);
  differences.compare("gid", left.gid, right.gid);
  if (!options.ignore_mtime && !(options.ignore_directory_mtime && left.type == 'd')) {
    differences.compare("mtime", left.mtime_ns, right.mtime_ns);
  }
  differences.compare("size", left.size, right.size);
  differences.compare("sha256", left.sha256, right.sha256);
  differences.compare("link target", left.target, right.target);
  differences.compare("device", left.device, right.device);
  differences.compare("hard link of", left.linked_to, right.linked_to);
  compare_xattrs(differences, left, right);
  return differences.take();
}

}  // namespace

TreeManifest read_tree(const fs::path& root, bool overlay_xattrs) {
  TreeManifest tree;
  std::map<std::string, Inode> inodes;
  const auto add = [&](const fs::path& path, const std::string& name) {
    struct stat status{};
    if (::lstat(path.c_str(), &status) != 0) throw_errno("lstat " + path.string());
    tree.emplace(name, read_entry(path, status, overlay_xattrs));
    if (!S_ISDIR(status.st_mode) && status.st_nlink > 1)
      inodes.emplace(name, Inode{status.st_dev, status.st_ino});
  };
  add(root, "");
  for (const auto& found : fs::recursive_directory_iterator(root)) {
    add(found.path(), found.path().lexically_relative(root).string());
  }
  std::map<Inode, std::string>
      first_paths;  // in the order of the names, so that it is the same for equal trees
  for (const auto& [name, inode] : inodes) {
    const auto [first, is_first] = first_paths.emplace(inode, name);
    if (!is_first) tree.at(name).linked_to = first->second;
  }
  return tree;
}

std::vector<std::string> diff(const TreeManifest& left, const TreeManifest& right, TreeDiffOptions options) {
  std::vector<std::string> lines;
  auto all = left;
  all.insert(right.begin(), right.end());
  for (const auto& [path, unused] : all) {
    if (path.empty() && options.ignore_root) continue;
    const auto in_left = left.find(path);
    const auto in_right = right.find(path);
    if (in_left == left.end()) {
      lines.push_back(path + ": only in the right");
    } else if (in_right == right.end()) {
      lines.push_back(path + ": only in the left");
    } else {
      const auto found = diff_entry(path, in_left->second, in_right->second, options);
      lines.insert(lines.end(), found.begin(), found.end());
    }
  }
  return lines;
}

std::ostream& operator<<(std::ostream& out, const TreeEntry& entry) {
  out << entry.type << ' ' << octal(entry.mode) << ' ' << entry.uid << ':' << entry.gid << ' '
      << entry.mtime_ns;
  if (entry.type == '-') out << ' ' << entry.size << ' ' << entry.sha256;
  if (entry.type == 'l') out << " -> " << entry.target;
  if (entry.type == 'c' || entry.type == 'b') out << " device " << entry.device;
  for (const auto& [name, value] : entry.xattrs) out << ' ' << name << '=' << printable(value);
  if (!entry.linked_to.empty()) out << " hard link of " << entry.linked_to;
  return out;
}

}  // namespace lazypull::test
