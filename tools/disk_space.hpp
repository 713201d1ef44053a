#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lazypull {

/// What must stay free of a disk: bytes, or a percentage of its size.
struct MinFree {
  std::uint64_t bytes = 0;
  double percent = 0;

  bool any() const noexcept { return bytes > 0 || percent > 0; }
};

/// "10G" or "5%", from 0 to 100.
std::optional<MinFree> parse_min_free(std::string_view text);

struct DiskSpace {
  std::string folder;
  std::uint64_t free = 0;  ///< for whoever may not use the reserve
  std::uint64_t size = 0;

  /// What `min_free` leaves to be used.
  std::uint64_t usable(const MinFree& min_free) const noexcept;
};

/// The disk that holds the folder, or would if the folder were made. Nothing where it cannot be told, such as
/// a folder of another host.
std::optional<DiskSpace> disk_space(const std::string& folder);

/// Throws Error{out_of_space} where less is free than must stay so on the disk of any of the folders.
void require_free(const std::vector<std::string>& folders, const MinFree& min_free);

}  // namespace lazypull
