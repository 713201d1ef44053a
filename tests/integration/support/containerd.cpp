#include "tests/integration/support/containerd.hpp"

#include "tests/integration/support/peer_program.hpp"
#include "tests/integration/support/unix_socket.hpp"

#include <sys/mount.h>

#include <atomic>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <signal.h>
#include <sstream>
#include <stdexcept>
#include <unistd.h>
#include <vector>

namespace lazypull::test {

namespace {

namespace fs = std::filesystem;

// Shims leave containerd's process group; they are known by the socket on their command line.
std::vector<pid_t> shims_of(const std::string& socket) {
  std::vector<pid_t> result;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    pid_t pid = 0;
    std::from_chars(name.data(), name.data() + name.size(), pid);
    if (pid <= 0) continue;
    std::ifstream file(entry.path() / "cmdline");
    std::string command;
    std::getline(file, command);  // arguments end with a NUL each; nothing if it has just ended
    if (command.find("containerd-shim") != std::string::npos && command.find(socket) != std::string::npos) {
      result.push_back(pid);
    }
  }
  return result;
}

void delete_tasks(Containerd& containerd) {
  std::istringstream spaces(containerd.ctr({"namespaces", "list", "--quiet"}).out);
  for (std::string space; std::getline(spaces, space);) {
    std::istringstream tasks(containerd.ctr({"tasks", "list", "--quiet"}, space).out);
    for (std::string task; std::getline(tasks, task);) {
      containerd.ctr({"tasks", "delete", "--force", task}, space);
    }
  }
}

// Names of containers are also those of control groups, which all containerds of the machine share.
std::string unique_name(const char* prefix) {
  static std::atomic<int> count = 0;
  return std::string(prefix) + std::to_string(::getpid()) + "-" + std::to_string(++count);
}

std::string inspect(Containerd& containerd, const std::string& snapshotter, const std::string& space,
                    Argv arguments) {
  const std::string program = peer_program("inspect");
  Argv argv = {program, "-address", containerd.socket(), "-namespace", space, "-snapshotter", snapshotter};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return run_ok(std::move(argv));
}

}  // namespace

Containerd::Containerd(ContainerdOptions options) : options_(std::move(options)) {
  start();
}

Containerd::~Containerd() {
  try {
    if (!shims_of(socket()).empty()) {
      if (process_->running()) delete_tasks(*this);
      for (const pid_t shim : shims_of(socket())) ::kill(shim, SIGKILL);
    }
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "containerd's containers: %s\n", failure.what());
  }
  process_.reset();
}

void Containerd::start() {
  std::ostringstream config;
  config << "version = 2\n"
         << "root = " << root() << "\nstate = " << folder_ / "state" << "\n"
         << "disabled_plugins = [\"io.containerd.internal.v1.opt\"";
  if (!options_.cri) config << ", \"io.containerd.grpc.v1.cri\"";
  for (const char* name : {"aufs", "btrfs", "devmapper", "zfs"}) {
    config << ", \"io.containerd.snapshotter.v1." << name << '"';
  }
  config << "]\n[grpc]\naddress = " << socket() << "\n[ttrpc]\naddress = " << folder_ / "ttrpc.sock" << "\n";
  if (options_.isolated_content) {
    config << "[plugins.\"io.containerd.metadata.v1.bolt\"]\ncontent_sharing_policy = \"isolated\"\n";
  }
  for (const auto& plugin : options_.snapshotters) {
    config << "[proxy_plugins." << plugin.name << "]\ntype = \"snapshot\"\naddress = " << plugin.socket
           << "\n";
  }
  config << options_.extra_config;
  write_file(folder_ / "config.toml", config.str());
  fs::remove(socket());  // a killed containerd leaves it
  process_.emplace(Argv{"containerd", "--config", (folder_ / "config.toml").string()});
  wait_until(
      [this] {
        if (!process_->running()) throw std::runtime_error("containerd ended: " + process_->err());
        return accepts_connections(socket());
      },
      "containerd to listen");
}

void Containerd::restart() {
  stop();
  start();
}

ProcessResult Containerd::ctr(Argv arguments, const std::string& space) {
  Argv argv = {"ctr", "--address", socket(), "--namespace", space};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return run(std::move(argv));
}

std::string Containerd::ctr_ok(Argv arguments, const std::string& space) {
  Argv argv = {"ctr", "--address", socket(), "--namespace", space};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return run_ok(std::move(argv));
}

void collect_garbage(Containerd& containerd, const std::string& space) {
  const std::string lease = unique_name("collect-");
  containerd.ctr_ok({"leases", "create", "--id", lease}, space);
  containerd.ctr_ok({"leases", "delete", "--sync", lease}, space);
}

MountedImage::MountedImage(Containerd& containerd, std::string snapshotter, const std::string& reference,
                           std::string space)
    : containerd_(containerd),
      snapshotter_(std::move(snapshotter)),
      space_(std::move(space)),
      key_(unique_name("view-")),
      target_(folder_ / "root") {
  fs::create_directory(target_);
  inspect(containerd_, snapshotter_, space_, {"-key", key_, "-target", target_, "mount", reference});
}

MountedImage::~MountedImage() {
  ::umount2(target_.c_str(), MNT_DETACH);
  try {
    inspect(containerd_, snapshotter_, space_, {"-key", key_, "remove"});
  } catch (const std::exception& failure) {  // such as a containerd that was stopped meanwhile
    std::fprintf(stderr, "view %s: %s\n", key_.c_str(), failure.what());
  }
}

MountedImage mount_image(Containerd& containerd, const std::string& snapshotter, const std::string& reference,
                         const std::string& space) {
  return {containerd, snapshotter, reference, space};
}

TreeManifest read_image_tree(Containerd& containerd, const std::string& snapshotter,
                             const std::string& reference, const std::string& space) {
  const MountedImage image(containerd, snapshotter, reference, space);
  return read_tree(image.path());
}

ProcessResult run_container(Containerd& containerd, const std::string& snapshotter,
                            const std::string& reference, Argv command, const std::string& space) {
  inspect(containerd, snapshotter, space, {"top", reference});
  Argv argv = {"run", "--rm", "--snapshotter", snapshotter, reference, unique_name("lazypull-test-")};
  argv.insert(argv.end(), command.begin(), command.end());
  return containerd.ctr(std::move(argv), space);
}

}  // namespace lazypull::test
