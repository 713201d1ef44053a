#pragma once

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <map>
#include <string>
#include <vector>

namespace lazypull::test {

struct TreeEntry {
  char type = '-';         ///< as in ls: - d l c b p s
  std::uint32_t mode = 0;  ///< permissions with setuid, setgid and sticky
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::int64_t mtime_ns = 0;  ///< since the epoch
  std::uint64_t size = 0;     ///< regular files only
  std::string sha256;         ///< regular files only, hex
  std::string target;         ///< symbolic links only
  std::uint64_t device = 0;   ///< character and block devices only
  std::map<std::string, std::string> xattrs;
  std::string linked_to;  ///< first path of the hard-link group; empty if it is the first or the only one

  friend bool operator==(const TreeEntry&, const TreeEntry&) = default;
};

/// A file tree, by paths relative to its root ("" is the root itself).
using TreeManifest = std::map<std::string, TreeEntry>;

/// Reads everything below `root`, which may be a mount. Overlay's own xattrs (trusted.overlay.*) are left out
/// unless `overlay_xattrs`.
TreeManifest read_tree(const std::filesystem::path& root, bool overlay_xattrs = false);

struct TreeDiffOptions {
  bool ignore_mtime = false;
  bool ignore_directory_mtime = false;
  bool ignore_root = false;
};

/// Readable lines, one a difference; empty if equal. "bin/su: mode 4755 != 0755", "etc/x: only in the left".
std::vector<std::string> diff(const TreeManifest& left, const TreeManifest& right,
                              TreeDiffOptions options = {});

std::ostream& operator<<(std::ostream& out, const TreeEntry& entry);

}  // namespace lazypull::test
