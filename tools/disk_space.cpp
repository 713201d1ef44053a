#include "tools/disk_space.hpp"

#include "engine/error.hpp"
#include "tools/byte_size.hpp"
#include "tools/text.hpp"

#include <sys/statvfs.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <string>

namespace lazypull {
namespace {

std::uint64_t to_stay_free(const DiskSpace& disk, const MinFree& min_free) {
  const auto share = static_cast<std::uint64_t>(static_cast<double>(disk.size) * min_free.percent / 100);
  return std::max(share, min_free.bytes);
}

}  // namespace

std::optional<MinFree> parse_min_free(std::string_view text) {
  MinFree min_free;
  if (!text.ends_with('%')) {
    const auto bytes = parse_byte_size(text);
    if (!bytes) return std::nullopt;
    min_free.bytes = *bytes;
    return min_free;
  }
  const std::string number(text.substr(0, text.size() - 1));
  const char* end = number.data() + number.size();
  const auto [rest, error] = std::from_chars(number.data(), end, min_free.percent, std::chars_format::fixed);
  const bool whole = error == std::errc{} && rest == end;
  if (!whole || !(min_free.percent >= 0 && min_free.percent <= 100)) return std::nullopt;
  return min_free;
}

std::uint64_t DiskSpace::usable(const MinFree& min_free) const noexcept {
  return free - std::min(free, to_stay_free(*this, min_free));
}

std::optional<DiskSpace> disk_space(const std::string& folder) {
  std::error_code error;
  std::filesystem::path path = std::filesystem::absolute(folder, error);
  if (error) return std::nullopt;
  while (!std::filesystem::exists(path, error) && path.has_relative_path()) path = path.parent_path();
  struct statvfs info{};
  if (::statvfs(path.c_str(), &info) != 0) return std::nullopt;
  return DiskSpace{folder, std::uint64_t{info.f_bavail} * info.f_frsize,
                   std::uint64_t{info.f_blocks} * info.f_frsize};
}

void require_free(const std::vector<std::string>& folders, const MinFree& min_free) {
  if (!min_free.any()) return;
  for (const auto& folder : folders) {
    const auto disk = disk_space(folder);
    if (!disk || disk->free >= to_stay_free(*disk, min_free)) continue;
    throw Error(Errc::out_of_space, folder + ": " + format_bytes(disk->free) + " are free, and " +
                                        format_bytes(to_stay_free(*disk, min_free)) +
                                        " are to stay free (--min-free)");
  }
}

}  // namespace lazypull
