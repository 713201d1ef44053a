#pragma once

#include "snapshot/unpack/unique_fd.hpp"

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// Blocking file operations of the embedded store. All throw Error with the path in its message.
namespace lazypull {

/// Throws Error with the kind that `errno` says: "`what`: No space left on device".
[[noreturn]] void throw_errno(const std::string& what);

/// 128 random bits in hex.
std::string random_name();

UniqueFd open_file(const std::filesystem::path& file, int flags, ::mode_t mode = 0);
/// Empty if there is no such file.
std::optional<struct ::stat> stat_of(const std::filesystem::path& file);

/// A new directory, whose mode does not depend on the umask.
void make_directory_with_mode(const std::filesystem::path& directory, ::mode_t mode);

/// An exclusive flock(2). False if somebody else has one and `wait` is false.
bool lock_file(const UniqueFd& file, bool wait, const std::filesystem::path& name);

void write_at(const UniqueFd& file, std::span<const std::byte> bytes, std::uint64_t offset,
              const std::filesystem::path& name);
/// As many bytes as there are, up to the size of `into`.
std::size_t read_at(const UniqueFd& file, std::span<std::byte> into, std::uint64_t offset,
                    const std::filesystem::path& name);
/// The whole file; throws size_mismatch if it is longer than `limit`.
std::string read_text(const std::filesystem::path& file, std::uint64_t limit);
/// Writes beside the file, then renames, so that readers see the old or the new text.
void replace_text(const std::filesystem::path& file, std::string_view text);

/// Names in a directory, without "." and "..", sorted; none if there is no such directory.
std::vector<std::string> names_in(const std::filesystem::path& directory);

struct Removed {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;  ///< that the file system gets back
};

/// Deletes a file or a whole tree, whatever the permissions in it; never follows a symbolic link, and never
/// enters a mount: Error{failed_precondition} if there is one, with what came before it deleted. No error if
/// it does not exist.
Removed delete_tree(const std::filesystem::path& victim);

}  // namespace lazypull
