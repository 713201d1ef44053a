#include "tests/integration/support/lazypull_snapshotter.hpp"

#include <fstream>
#include <sstream>
#include <stdexcept>

namespace lazypull::test {

namespace fs = std::filesystem;

LazypullSnapshotter::LazypullSnapshotter(LazypullSnapshotterOptions options) : options_(std::move(options)) {
  if (options_.root.empty()) options_.root = folder_ / "root";
  start();
}

void LazypullSnapshotter::start() {
  Argv argv{LAZYPULL_BINARY, "snapshotter", "serve", "--root", root(), "--address", socket()};
  for (const auto& storage : options_.storages) argv.insert(argv.end(), {"--remote", storage});
  process_.emplace(std::move(argv));
  wait_until(
      [this] {
        if (!process_->running()) throw std::runtime_error("the snapshotter ended: " + process_->err());
        return process_->err().find("serving ") != std::string::npos;
      },
      "the snapshotter to serve");
}

void LazypullSnapshotter::restart() {
  stop();
  start();
}

std::vector<std::string> LazypullSnapshotter::directories() const {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(root() / "snapshots")) {
    names.push_back(entry.path().filename());
  }
  return names;
}

void LazypullSnapshotter::wait_for_directories(std::size_t count) const {
  wait_until([&] { return directories().size() == count; },
             std::to_string(count) + " snapshots to be left of " + std::to_string(directories().size()));
}

std::vector<std::string> LazypullSnapshotter::mounts() const {
  std::vector<std::string> targets;
  std::ifstream table("/proc/self/mounts");
  for (std::string line; std::getline(table, line);) {
    std::istringstream words(line);
    std::string source;
    std::string target;
    words >> source >> target;
    if (target.starts_with(root().string() + "/")) targets.push_back(target);
  }
  return targets;
}

TreeManifest image_files(Containerd& containerd, const std::string& snapshotter, const std::string& reference,
                         const std::string& space) {
  auto files = read_image_tree(containerd, snapshotter, reference, space);
  files.at("").mtime_ns = 0;
  return files;
}

void wait_for_connection(Containerd& containerd) {
  const std::string space = "connection";
  wait_until(
      [&] {
        return containerd.ctr({"snapshots", "--snapshotter", "lazypull", "prepare", "probe"}, space)
                   .exit_code == 0;
      },
      "containerd to reach the snapshotter");
  containerd.ctr_ok({"snapshots", "--snapshotter", "lazypull", "rm", "probe"}, space);
}

}  // namespace lazypull::test
