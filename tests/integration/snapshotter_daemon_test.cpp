// `lazypull snapshotter serve` as a process: how it starts, what it refuses, how it ends.

#include "tests/integration/support/lazypull_snapshotter.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <csignal>
#include <cstring>
#include <poll.h>
#include <unistd.h>

namespace lazypull::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

Argv serve(const fs::path& root, const fs::path& socket, Argv more = {}) {
  Argv argv{LAZYPULL_BINARY, "snapshotter", "serve", "--root", root, "--address", socket};
  argv.insert(argv.end(), more.begin(), more.end());
  return argv;
}

/// What systemd is for a service of type notify.
class ServiceManager {
 public:
  explicit ServiceManager(fs::path path) : path_(std::move(path)) {
    socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path_.c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  ~ServiceManager() { ::close(socket_); }
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;

  /// "" if it is told nothing for 20 seconds.
  std::string next() {
    pollfd readable{.fd = socket_, .events = POLLIN, .revents = 0};
    std::array<char, 256> text{};
    if (::poll(&readable, 1, 20'000) <= 0) return {};
    const auto length = ::recv(socket_, text.data(), text.size(), 0);
    return {text.data(), static_cast<std::size_t>(length > 0 ? length : 0)};
  }

 private:
  fs::path path_;
  int socket_ = -1;
};

TEST(SnapshotterDaemon, TellsTheServiceManagerWhenItServesAndWhenItStops) {
  const TempDir folder("daemon");
  ServiceManager manager(folder / "notify");
  ProcessOptions options;
  options.env["NOTIFY_SOCKET"] = folder / "notify";
  Process daemon(serve(folder / "root", folder / "s.sock"), options);
  EXPECT_EQ(manager.next(), "READY=1");
  EXPECT_TRUE(fs::is_socket(folder / "s.sock"));
  EXPECT_THAT(daemon.err(), HasSubstr("serving " + (folder / "s.sock").string() + "\n"));
  daemon.signal(SIGTERM);
  EXPECT_EQ(manager.next(), "STOPPING=1");
  EXPECT_EQ(daemon.wait(std::chrono::seconds(20)), 0);
  EXPECT_FALSE(fs::exists(folder / "s.sock"));
}

TEST(SnapshotterDaemon, EndsAtInterruptToo) {
  const TempDir folder("daemon");
  Process daemon(serve(folder / "root", folder / "s.sock"));
  wait_until([&] { return daemon.err().find("serving") != std::string::npos; }, "the daemon to serve");
  daemon.signal(SIGINT);
  EXPECT_EQ(daemon.wait(std::chrono::seconds(20)), 0);
}

TEST(SnapshotterDaemon, TakesOverTheSocketOfOneThatWasKilled) {
  LazypullSnapshotter snapshotter;
  snapshotter.kill();
  EXPECT_TRUE(fs::exists(snapshotter.socket()));
  snapshotter.start();
  EXPECT_EQ(snapshotter.stop(), 0);
}

TEST(SnapshotterDaemon, LeavesTheSocketAndTheRootOfALivingOneAlone) {
  const LazypullSnapshotter snapshotter;
  const TempDir folder("daemon");
  const auto same_socket = run(serve(folder / "root", snapshotter.socket()));
  EXPECT_EQ(same_socket.exit_code, 7);
  EXPECT_THAT(same_socket.err, HasSubstr("is served by another process"));
  const auto same_root = run(serve(snapshotter.root(), folder / "s.sock"));
  EXPECT_EQ(same_root.exit_code, 7);
  EXPECT_THAT(same_root.err, HasSubstr("another snapshotter is running with the root"));
}

TEST(SnapshotterDaemon, NeedsRoot) {
  const TempDir folder("daemon");
  ::chmod(folder.path().c_str(), 0777);
  // The build's folder need not be readable for others.
  fs::copy_file(LAZYPULL_BINARY, folder / "lazypull");
  auto argv = serve(folder / "root", folder / "s.sock");
  argv.front() = folder / "lazypull";
  argv.insert(argv.begin(), {"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"});
  const auto result = run(std::move(argv));
  EXPECT_EQ(result.exit_code, 7);
  EXPECT_THAT(result.err, HasSubstr("needs root"));
  EXPECT_FALSE(fs::exists(folder / "root"));
}

TEST(SnapshotterDaemon, ServesAlthoughAStorageIsNotThere) {
  const LazypullSnapshotter snapshotter({.storages = {"/nonexistent/layers"}});
  EXPECT_THAT(snapshotter.log(), HasSubstr("serving"));
}

TEST(SnapshotterDaemon, RemovesAtStartWhatOneThatWasKilledHasLeft) {
  LazypullSnapshotter snapshotter;
  snapshotter.kill();
  write_file(snapshotter.root() / "snapshots/99/fs/file", "half-made");
  write_file(snapshotter.root() / "trash/x/file", "half-deleted");
  snapshotter.start();
  EXPECT_TRUE(snapshotter.directories().empty());
  EXPECT_TRUE(fs::is_empty(snapshotter.root() / "trash"));
  EXPECT_THAT(snapshotter.log(), HasSubstr("removed 2 leftovers"));
}

}  // namespace
}  // namespace lazypull::test
