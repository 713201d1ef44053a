#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace lazypull {

/// What becomes of a layer's whiteouts (OCI image-spec, layer.md "Whiteouts").
enum class WhiteoutFormat {
  remove,   ///< what they name is deleted; for a layer without layers below, or on a copy of them
  overlay,  ///< they become overlayfs's: a character device 0/0, and an attribute of an opaque directory
};

/// Against archives that are made to exhaust something.
struct ExtractLimits {
  std::uint64_t entries = 5'000'000;
  std::uint64_t bytes = std::uint64_t{1} << 40U;  ///< of the content of all files, holes included
  std::size_t path_bytes = 4095;                  ///< of one path
  std::size_t depth = 2048;                       ///< components of one path
  std::size_t directory_bytes =
      256U << 20U;  ///< of the paths of all directories, which are kept until the end
};

struct ExtractOptions {
  WhiteoutFormat whiteouts = WhiteoutFormat::remove;
  /// Overlayfs is mounted with "userxattr": opaque directories get user.overlay.opaque instead of
  /// trusted.overlay.opaque, and user.overlay.* of the archive is left out.
  bool user_xattr = false;
  /// False for a process that is not root: owners, devices and security.* attributes are left out silently.
  bool privileged = true;
  ExtractLimits limits = {};
};

struct ExtractResult {
  std::uint64_t entries = 0;  ///< headers, global ones included
  std::uint64_t bytes = 0;    ///< of the content of files, holes included
  /// Directories that had to be made because an entry is below them, and that no entry names. They have mode
  /// 0755. Relative to the root, parents first. containerd gives them owner, mode, times and attributes of
  /// the same directory in the layers below.
  std::vector<std::string> implicit_directories;
  /// The same, but a later entry named them and so decided everything, except that attributes which that
  /// entry does not set come from the layers below all the same.
  std::vector<std::string> named_later;
};

/// Extracts one layer, a tar archive that arrives in pieces of any size, into a directory, with the semantics
/// of containerd's archive.Apply: replacing, merging of directories, whiteouts, and symbolic links in the
/// folders of a path, which are followed as if the directory were the root. Nothing outside the directory is
/// ever created, changed or removed. Nobody else may change the tree meanwhile. Used by one thread at a time.
///
/// Errors name the entry: Error{invalid_image} for what the archive is to blame for, {out_of_space},
/// {permission_denied}, {unsupported} before Linux 5.8, else {internal}. After an error the object must not
/// be used again, and the directory holds some part of the layer.
class Extractor {
 public:
  /// The descriptor is duplicated.
  explicit Extractor(int root_directory, ExtractOptions options = {});
  ~Extractor();
  Extractor(const Extractor&) = delete;
  Extractor& operator=(const Extractor&) = delete;

  void write(std::span<const std::byte> tar);
  /// The archive has ended. Throws where it is cut short. Last, directories get their times.
  ExtractResult finish();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lazypull
