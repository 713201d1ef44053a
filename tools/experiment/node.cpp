#include "tools/experiment/node.hpp"

#include "engine/error.hpp"

#include <sys/mount.h>
#include <system_error>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <unistd.h>

namespace lazypull::experiment {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds start_limit{20'000};

/// /proc writes blanks and backslashes as \ and three octal digits.
std::string unescape(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    const bool escaped = text[i] == '\\' && i + 3 < text.size() &&
                         std::from_chars(&text[i + 1], &text[i + 4], value, 8).ptr == &text[i + 4];
    plain += escaped ? static_cast<char>(value) : text[i];
    if (escaped) i += 3;
  }
  return plain;
}

std::vector<std::string> mounts_below(const fs::path& folder) {
  std::ifstream stream("/proc/self/mountinfo");
  std::vector<std::string> points;
  for (std::string line; std::getline(stream, line);) {
    std::istringstream fields(line);
    std::string point;
    for (int i = 0; i < 5; ++i) fields >> point;
    point = unescape(point);
    if (point == folder || point.starts_with(folder.string() + "/")) points.push_back(point);
  }
  std::ranges::sort(points, std::ranges::greater());
  return points;
}

/// Shims leave containerd's process group; they are known by the socket on their command line.
std::vector<pid_t> shims_of(const std::string& socket) {
  std::vector<pid_t> found;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const auto name = entry.path().filename().string();
    pid_t pid = 0;
    std::from_chars(name.data(), name.data() + name.size(), pid);
    if (pid <= 0) continue;
    std::ifstream file(entry.path() / "cmdline");
    std::string command;
    std::getline(file, command);
    const bool shim = command.find("containerd-shim") != std::string::npos;
    if (shim && command.find(socket) != std::string::npos) found.push_back(pid);
  }
  return found;
}

void write_text(const fs::path& file, const std::string& text) {
  std::ofstream stream(file, std::ios::binary);
  stream << text;
  stream.close();
  if (!stream) throw Error(Errc::out_of_space, file.string() + ": cannot be written");
}

}  // namespace

void remove_with_mounts(const fs::path& folder) {
  for (const auto& point : mounts_below(folder)) ::umount2(point.c_str(), MNT_DETACH);
  std::error_code ignored;
  fs::remove_all(folder, ignored);
}

WorkFolder::WorkFolder(const fs::path& base) {
  auto parent = base;
  if (parent.empty())
    parent = fs::is_directory("/dev/shm") ? fs::path("/dev/shm") : fs::temp_directory_path();
  fs::create_directories(parent);
  auto name = (parent / "lazypull-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) {
    throw Error(Errc::unavailable, parent.string() + ": " + std::generic_category().message(errno));
  }
  path_ = name;
}

Node::Node(NodeOptions options) : options_(std::move(options)) {
  fs::create_directories(options_.folder);
  try {
    start_snapshotter();
    start_containerd();
  } catch (...) {
    containerd_.reset();
    snapshotter_.reset();
    remove_with_mounts(options_.folder);
    throw;
  }
}

Node::~Node() {
  for (const pid_t shim : shims_of(address())) ::kill(shim, SIGKILL);
  containerd_.reset();
  snapshotter_.reset();
  remove_with_mounts(options_.folder);
}

void Node::start_snapshotter() {
  const auto& folder = options_.folder;
  const auto socket = folder / "snapshotter.sock";
  const auto log = folder / "snapshotter.log";
  if (options_.snapshotter == SnapshotterKind::stargz) {
    snapshotter_ = std::make_unique<Child>(
        std::vector{options_.programs.stargz, std::string("-root"), (folder / "snapshots").string(),
                    std::string("-address"), socket.string()},
        log, log);
  } else if (options_.snapshotter == SnapshotterKind::lazypull) {
    snapshotter_ =
        std::make_unique<Child>(std::vector{options_.programs.lazypull, std::string("snapshotter"),
                                            std::string("serve"), std::string("--address"), socket.string(),
                                            std::string("--root"), (folder / "snapshots").string(),
                                            std::string("--remote"), options_.layer_storage.string()},
                                log, log);
  }
  if (snapshotter_) {
    wait_until_ready(*snapshotter_, [&] { return takes_connections(socket); }, start_limit);
  }
}

void Node::start_containerd() {
  const auto& folder = options_.folder;
  const auto quoted = [](const fs::path& path) { return "\"" + path.string() + "\""; };
  std::string config =
      "version = 2\nroot = " + quoted(folder / "root") + "\nstate = " + quoted(folder / "state") +
      "\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"";
  for (const char* name : {"aufs", "btrfs", "devmapper", "zfs"}) {
    config += std::string(", \"io.containerd.snapshotter.v1.") + name + "\"";
  }
  config += "]\n[grpc]\naddress = " + quoted(address()) +
            "\n[ttrpc]\naddress = " + quoted(folder / "ttrpc.sock") + "\n";
  if (snapshotter_) {
    config += "[proxy_plugins." + snapshotter() +
              "]\ntype = \"snapshot\"\naddress = " + quoted(folder / "snapshotter.sock") + "\n";
  }
  write_text(folder / "config.toml", config);
  containerd_ = std::make_unique<Child>(
      std::vector{options_.programs.containerd, std::string("--config"), (folder / "config.toml").string()},
      folder / "containerd.log", folder / "containerd.log");
  wait_until_ready(*containerd_, [&] { return takes_connections(address()); }, start_limit);
}

Usage Node::daemons() const {
  Usage sum;
  for (const auto* child : {containerd_.get(), snapshotter_.get()}) {
    if (child == nullptr) continue;
    if (const auto usage = usage_of(child->pid())) {
      sum.cpu_seconds += usage->cpu_seconds;
      sum.peak_memory += usage->peak_memory;
    }
  }
  return sum;
}

void Node::check() {
  for (auto* child : {containerd_.get(), snapshotter_.get()}) {
    if (child != nullptr && !child->running()) {
      throw Error(Errc::unavailable, child->name() + " has ended: " + child->last_errors());
    }
  }
}

}  // namespace lazypull::experiment
