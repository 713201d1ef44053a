#include "tests/support/temp_dir.hpp"

#include <sys/mount.h>
#include <system_error>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <signal.h>
#include <sstream>
#include <stdexcept>
#include <unistd.h>
#include <utility>
#include <vector>

namespace lazypull::test {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view prefix = "lazypull-test-";

const fs::path& base() {
  static const fs::path folder =
      ::access("/dev/shm", W_OK) == 0 ? fs::path("/dev/shm") : fs::temp_directory_path();
  return folder;
}

// In mountinfo blanks, tabs, newlines and backslashes are written as a backslash and three octal digits.
std::string unescape(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    if (text[i] == '\\' && i + 3 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 4, value, 8).ec == std::errc{}) {
      result += static_cast<char>(value);
      i += 3;
    } else {
      result += text[i];
    }
  }
  return result;
}

std::vector<std::string> mounts_below(const fs::path& folder) {
  std::ifstream table("/proc/self/mountinfo");
  std::vector<std::string> result;
  for (std::string line; std::getline(table, line);) {
    std::istringstream words(line);
    std::string word;
    for (int field = 0; field < 5; ++field) words >> word;
    const std::string target = unescape(word);
    if (target == folder.string() || target.starts_with(folder.string() + "/")) result.push_back(target);
  }
  return result;
}

void remove_tree(const fs::path& folder) {
  unmount_below(folder);
  std::error_code ignored;  // somebody else may be removing the same leftovers
  fs::remove_all(folder, ignored);
}

// "lazypull-test-PID-purpose-XXXXXX" of a process that is gone.
void remove_leftovers() {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(base(), ignored)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with(prefix)) continue;
    pid_t owner = 0;
    std::from_chars(name.data() + prefix.size(), name.data() + name.size(), owner);
    if (owner > 0 && ::kill(owner, 0) != 0 && errno == ESRCH) remove_tree(entry.path());
  }
}

}  // namespace

TempDir::TempDir(std::string_view purpose) {
  static std::once_flag once;
  std::call_once(once, remove_leftovers);
  std::string name =
      (base() / (std::string(prefix) + std::to_string(::getpid()) + "-" + std::string(purpose) + "-XXXXXX"))
          .string();
  if (::mkdtemp(name.data()) == nullptr) {
    throw std::system_error(errno, std::generic_category(), "mkdtemp " + name);
  }
  path_ = name;
}

TempDir::TempDir(TempDir&& other) noexcept : path_(std::exchange(other.path_, {})) {}

TempDir& TempDir::operator=(TempDir&& other) noexcept {
  std::swap(path_, other.path_);
  return *this;
}

TempDir::~TempDir() {
  if (!path_.empty()) remove_tree(path_);
}

void unmount_below(const fs::path& folder) {
  auto targets = mounts_below(folder);
  std::reverse(targets.begin(), targets.end());  // the table has them in the order of mounting
  for (const auto& target : targets) ::umount2(target.c_str(), MNT_DETACH);
}

std::string read_file(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw std::runtime_error("cannot read " + file.string());
  std::ostringstream content;
  content << stream.rdbuf();
  return std::move(content).str();
}

void write_file(const fs::path& file, std::string_view content) {
  if (file.has_parent_path()) fs::create_directories(file.parent_path());
  std::ofstream stream(file, std::ios::binary | std::ios::trunc);
  stream.write(content.data(), static_cast<std::streamsize>(content.size()));
  if (!stream.flush()) throw std::runtime_error("cannot write " + file.string());
}

}  // namespace lazypull::test
