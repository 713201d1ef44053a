#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace lazypull::test {

/// A new folder, on tmpfs where there is one (/dev/shm). Removed at the end with everything that is mounted
/// below it. What killed tests left behind is removed by the next test that makes a folder.
class TempDir {
 public:
  explicit TempDir(std::string_view purpose = "tmp");
  TempDir(TempDir&& other) noexcept;
  TempDir& operator=(TempDir&& other) noexcept;
  ~TempDir();

  const std::filesystem::path& path() const noexcept { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

/// Detaches every mount at or below `folder`, innermost first.
void unmount_below(const std::filesystem::path& folder);

/// Whole files; writing creates missing parent folders. Both throw on failure.
std::string read_file(const std::filesystem::path& file);
void write_file(const std::filesystem::path& file, std::string_view content);

}  // namespace lazypull::test
