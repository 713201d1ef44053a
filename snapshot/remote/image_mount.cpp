#include "snapshot/remote/image_mount.hpp"

#include "engine/error.hpp"
#include "snapshot/embedded/files.hpp"
#include "snapshot/remote/layer_record.hpp"

#include <sys/ioctl.h>
#include <sys/mount.h>
#include <system_error>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <linux/loop.h>
#include <span>

namespace lazypull {
namespace {

[[noreturn]] void refuse(const std::filesystem::path& image, const std::string& why) {
  throw Error(Errc::failed_precondition, "image " + image.string() + ": " + why);
}

std::uint64_t little_endian(std::span<const std::byte> block, std::size_t offset, std::size_t bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes; i > 0; --i) {
    value = value << 8U | std::to_integer<std::uint64_t>(block[offset + i - 1]);
  }
  return value;
}

/// How many bytes the file system says it has; 0 if it is none (Linux, fs/erofs/erofs_fs.h).
std::uint64_t erofs_size(std::span<const std::byte> blocks) {
  constexpr std::size_t at = 1024;
  if (blocks.size() < at + 128 || little_endian(blocks, at, 4) != 0xE0F5E1E2U) return 0;
  const auto block_bits = little_endian(blocks, at + 12, 1);
  if (block_bits < 9 || block_bits > 16) return 0;
  return little_endian(blocks, at + 36, 4) << block_bits;
}

/// The same (Linux, fs/squashfs/squashfs_fs.h).
std::uint64_t squashfs_size(std::span<const std::byte> blocks) {
  if (blocks.size() < 96 || little_endian(blocks, 0, 4) != 0x73717368U) return 0;
  return little_endian(blocks, 40, 8);
}

UniqueFd open_device(const std::string& path, int flags) {
  UniqueFd device(::open(path.c_str(), flags | O_CLOEXEC));
  if (device) return device;
  const auto code = errno == EACCES || errno == EPERM ? Errc::permission_denied : Errc::failed_precondition;
  throw Error(code, "images are mounted through loop devices, but " + path + ": " +
                        std::generic_category().message(errno));
}

struct LoopDevice {
  std::string path;
  UniqueFd device;  ///< while nothing is mounted from it, the device is freed with this
};

::loop_config loop_setup(const UniqueFd& image, const std::filesystem::path& name) {
  ::loop_config config{};
  config.fd = static_cast<__u32>(image.get());
  config.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
  const auto& text = name.native();
  const auto length = std::min(text.size(), std::size_t{LO_NAME_SIZE - 1});
  std::memcpy(static_cast<void*>(config.info.lo_file_name), text.data(), length);
  return config;
}

LoopDevice attach_loop(const UniqueFd& image, const std::filesystem::path& name) {
  // Others take devices between our two calls; that many times in a row is no accident.
  constexpr int tries = 200;
  const auto control = open_device("/dev/loop-control", O_RDWR);
  const auto config = loop_setup(image, name);
  for (int i = 0; i < tries; ++i) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) throw_errno("find a free loop device for " + name.string());
    LoopDevice loop;
    loop.path = "/dev/loop" + std::to_string(number);
    loop.device = open_device(loop.path, O_RDONLY);
    if (::ioctl(loop.device.get(), LOOP_CONFIGURE, &config) == 0) return loop;
    if (errno != EBUSY) {
      refuse(name, "cannot be put on " + loop.path + ": " + std::generic_category().message(errno));
    }
  }
  refuse(name, "no loop device stays free");
}

std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto is_octal = [](char c) { return c >= '0' && c <= '7'; };
    if (text[i] == '\\' && i + 3 < text.size() && std::ranges::all_of(text.substr(i + 1, 3), is_octal)) {
      const int value = (text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0');
      plain += static_cast<char>(value);
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  while (!line.empty()) {
    const auto end = std::min(line.find(' '), line.size());
    if (end > 0) words.push_back(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return words;
}

/// /proc gives no size beforehand.
std::string read_proc(const char* path) {
  const auto file = open_file(path, O_RDONLY);
  std::string text;
  std::array<char, 64U << 10U> buffer{};
  for (;;) {
    const auto got = read_at(file, std::as_writable_bytes(std::span(buffer)), text.size(), path);
    if (got == 0) return text;
    text.append(buffer.data(), got);
  }
}

}  // namespace

void check_superblock(const UniqueFd& image, LayerFormat format, std::uint64_t size,
                      const std::filesystem::path& name) {
  std::array<std::byte, 4096> blocks{};
  const auto got = read_at(image, blocks, 0, name);
  const auto have = std::span<const std::byte>(blocks).first(got);
  const auto says = format == LayerFormat::erofs ? erofs_size(have) : squashfs_size(have);
  if (says == 0) refuse(name, "is no " + std::string(to_string(format)) + " file system");
  if (says > size) {
    refuse(name, "has " + std::to_string(size) + " bytes of the " + std::to_string(says) +
                     " that its file system has");
  }
}

void mount_image_file(const UniqueFd& image, LayerFormat format, const std::filesystem::path& name,
                      const std::filesystem::path& target) {
  const auto loop = attach_loop(image, name);
  const std::string type(to_string(format));
  if (::mount(loop.path.c_str(), target.c_str(), type.c_str(), MS_RDONLY | MS_NODEV, nullptr) == 0) return;
  const int reason = errno;
  if (reason == EPERM || reason == EACCES) {
    throw Error(Errc::permission_denied,
                "mount " + name.string() + ": " + std::generic_category().message(reason));
  }
  if (reason == ENODEV) refuse(name, "the kernel has no " + type);
  refuse(name, "cannot be mounted as " + type + ": " + std::generic_category().message(reason));
}

std::vector<MountedFileSystem> parse_mountinfo(std::string_view text) {
  std::vector<MountedFileSystem> mounts;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto words = words_of(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    const auto dash = std::ranges::find(words, std::string_view("-"));
    if (words.size() < 6 || words.end() - dash < 3) continue;
    mounts.push_back({.target = unescape(words[4]), .type = unescape(dash[1]), .source = unescape(dash[2])});
  }
  return mounts;
}

std::vector<MountedFileSystem> mounts_in(const std::filesystem::path& folder) {
  auto mounts = parse_mountinfo(read_proc("/proc/self/mountinfo"));
  std::erase_if(mounts, [&](const MountedFileSystem& one) { return one.target.parent_path() != folder; });
  return mounts;
}

}  // namespace lazypull
