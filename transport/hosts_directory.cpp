#include "transport/hosts_directory.hpp"

#include "engine/error.hpp"

#include <system_error>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <optional>
#include <unistd.h>

namespace lazypull {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t max_files = 1000;

[[noreturn]] void fail_at(const fs::path& path, const std::error_code& error) {
  const bool denied = error == std::errc::permission_denied || error == std::errc::operation_not_permitted;
  throw Error(denied ? Errc::permission_denied : Errc::invalid_argument,
              path.string() + ": " + error.message());
}

bool is_there(const fs::path& path) {
  std::error_code error;
  const auto status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) return false;
  if (error) fail_at(path, error);
  return true;
}

// In the order in which containerd looks.
std::vector<std::string> folder_names(std::string_view registry) {
  const std::string name(registry);
  std::vector<std::string> names;
  const auto colon = name.rfind(':');
  if (colon != std::string::npos && colon > 0) {
    names.push_back(name.substr(0, colon) + "_" + name.substr(colon + 1) + "_");
  }
  names.push_back(name);
  names.emplace_back("_default");
  return names;
}

std::string read_hosts_toml(const fs::path& file) {
  if (!is_there(file)) return {};
  errno = 0;
  std::ifstream stream(file, std::ios::binary);
  if (!stream) fail_at(file, std::error_code(errno, std::system_category()));
  std::string text(max_hosts_toml_bytes + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  return text;
}

HostEntry load_certificates(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator item(folder, error), end; !error && item != end; item.increment(error)) {
    if (files.size() == max_files) {
      throw Error(Errc::invalid_argument, folder.string() + ": it has more than 1000 files");
    }
    if (item->is_regular_file()) files.push_back(item->path());
  }
  if (error) fail_at(folder, error);
  std::sort(files.begin(), files.end());
  HostEntry entry;
  for (const auto& file : files) {
    if (file.extension() == ".crt") entry.ca_files.push_back(file);
    if (file.extension() != ".cert") continue;
    auto key = file;
    key.replace_extension(".key");
    entry.clients.push_back({file, is_there(key) ? key.string() : std::string()});
  }
  return entry;
}

std::vector<HostEntry> load_folder(const fs::path& folder) {
  const auto file = folder / "hosts.toml";
  const auto text = read_hosts_toml(file);
  if (!text.empty()) return parse_hosts_toml(text, file);
  return std::vector<HostEntry>(1, load_certificates(folder));
}

}  // namespace

std::vector<std::string> default_hosts_directories(const Environment& environment, bool is_root) {
  std::vector<std::string> directories;
  auto config = environment("XDG_CONFIG_HOME");
  const auto home = environment("HOME");
  if (!config && home) config = *home + "/.config";
  if (!is_root && config) {
    directories.push_back(*config + "/containerd/certs.d");
    directories.push_back(*config + "/docker/certs.d");
  }
  directories.emplace_back("/etc/containerd/certs.d");
  directories.emplace_back("/etc/docker/certs.d");
  // $HOME may be somebody else's, such as root's after a change of user: nobody has put mirrors there for us.
  std::erase_if(directories, [](const std::string& directory) {
    return ::access(directory.c_str(), X_OK) != 0 && errno == EACCES;
  });
  return directories;
}

std::vector<HostEntry> load_hosts(const std::vector<std::string>& directories, std::string_view registry) {
  if (registry.empty() || registry.front() == '.' || registry.find('/') != std::string_view::npos) return {};
  const auto names = folder_names(registry);
  for (const auto& directory : directories) {
    for (const auto& name : names) {
      const auto folder = fs::path(directory) / name;
      if (is_there(folder)) return load_folder(folder);
    }
  }
  return {};
}

}  // namespace lazypull
