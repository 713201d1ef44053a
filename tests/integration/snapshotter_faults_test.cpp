// What happens to the snapshots of `lazypull snapshotter serve` on a full disk, and when it is killed.

#include "tests/integration/support/containerd_state.hpp"
#include "tests/integration/support/eight_layers.hpp"
#include "tests/integration/support/lazypull.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <chrono>
#include <random>
#include <thread>

namespace lazypull::test {
namespace {

namespace fs = std::filesystem;
using testing::AnyOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

/// The snapshotter's root is a small file system of its own.
class SnapshotterFullDisk : public testing::Test {
 protected:
  SnapshotterFullDisk() {
    fs::create_directory(disk());
    if (::mount("tmpfs", disk().c_str(), "tmpfs", 0, "size=4m") != 0) throw std::runtime_error("mount tmpfs");
    snapshotter.emplace(LazypullSnapshotterOptions{.root = disk() / "root"});
    containerd.emplace(ContainerdOptions{.snapshotters = {snapshotter->plugin()}});
  }
  fs::path disk() const { return folder / "disk"; }
  void enlarge() { ASSERT_EQ(::mount("tmpfs", disk().c_str(), "tmpfs", MS_REMOUNT, "size=64m"), 0); }
  ProcessResult snapshots(Argv arguments) {
    arguments.insert(arguments.begin(), {"snapshots", "--snapshotter", "lazypull"});
    return containerd->ctr(std::move(arguments));
  }

  TempDir folder{"full"};
  std::optional<LazypullSnapshotter> snapshotter;
  std::optional<Containerd> containerd;
};

TEST_F(SnapshotterFullDisk, APullThatDoesNotFitFailsAndLeavesNothing) {
  Registry registry;
  const auto image = ImageBuilder()
                         .layer(busybox_files())
                         .layer({tar::file("large", tar::noise(std::size_t{20} << 20U))})
                         .build();
  const auto reference = registry.store(image, "large:1");
  const auto failed = Lazypull(*containerd).run({"pull", reference, "--snapshotter", "lazypull"});
  EXPECT_EQ(failed.process.exit_code, 8) << failed.process.err;
  const auto by_ctr =
      containerd->ctr({"images", "pull", "--plain-http", "--snapshotter", "lazypull", reference});
  EXPECT_NE(by_ctr.exit_code, 0);
  EXPECT_THAT(by_ctr.err, HasSubstr("no space left on device"));
  containerd->ctr({"images", "rm", "--sync", reference});
  collect_garbage(*containerd);
  EXPECT_THAT(read_state(*containerd, "lazypull").snapshots, IsEmpty());
  snapshotter->wait_for_directories(0);
  enlarge();
  Lazypull(*containerd).run_ok({"pull", reference, "--snapshotter", "lazypull"});
  EXPECT_EQ(run_container(*containerd, "lazypull", reference, {"stat", "-c", "%s", "/large"}).out,
            "20971520\n");
}

TEST_F(SnapshotterFullDisk, PrepareWithoutSpaceFailsClearlyAndRemovingWorks) {
  ASSERT_EQ(snapshots({"prepare", "first", ""}).exit_code, 0);
  std::string filling(std::size_t{16} << 20U, 'x');
  try {
    write_file(disk() / "filling", filling);
  } catch (const std::exception&) {
    SUCCEED() << "it is full now";
  }
  ProcessResult failed;
  for (int i = 0; i < 2000 && failed.exit_code == 0; ++i)
    failed = snapshots({"prepare", "n-" + std::to_string(i), ""});
  ASSERT_NE(failed.exit_code, 0);
  EXPECT_THAT(failed.err, HasSubstr("no space left on device"));
  const auto known = read_state(*containerd, "lazypull").snapshots;
  EXPECT_THAT(snapshotter->directories(), SizeIs(known.size()));
  // What takes space can be removed although even that needs some.
  for (const auto& [name, snapshot] : known) EXPECT_EQ(snapshots({"rm", name}).exit_code, 0) << name;
  collect_garbage(*containerd);
  snapshotter->wait_for_directories(0);
  fs::remove(disk() / "filling");
  EXPECT_EQ(snapshots({"prepare", "again", ""}).exit_code, 0);
  EXPECT_EQ(snapshots({"commit", "Again", "again"}).exit_code, 0);
}

TEST(SnapshotterKilled, AtAnyPointNothingIsLostOrHalfMade) {
  const TempDir folder("killed");
  EightLayers eight;
  publish_layers(eight.reference, folder / "storage", "erofs", 6);
  LazypullSnapshotter snapshotter({.storages = {folder / "storage"}});
  Containerd containerd({.snapshotters = {snapshotter.plugin()}});
  containerd.ctr_ok({"images", "pull", "--plain-http", eight.reference}, "overlayfs");
  const auto expected = image_files(containerd, "overlayfs", eight.reference, "overlayfs");
  const Argv pull{"pull", eight.reference, "--snapshotter", "lazypull"};

  std::mt19937 random(20191119);
  std::uniform_int_distribution<int> delay(0, 500);
  const auto start = std::chrono::steady_clock::now();
  int interrupted = 0;
  for (int i = 0; i < 40; ++i) {
    if (std::chrono::steady_clock::now() - start > std::chrono::seconds(30)) break;
    auto arguments = pull;
    if (i % 2 == 1) arguments.emplace_back("--remote-snapshot");
    auto process = Lazypull(containerd).start(arguments);
    std::this_thread::sleep_for(std::chrono::milliseconds(delay(random)));
    snapshotter.kill();
    const auto code = process.wait(std::chrono::seconds(60));
    ASSERT_TRUE(code.has_value()) << "the pull hangs";
    if (*code != 0) ++interrupted;
    snapshotter.start();
    wait_for_connection(containerd);
    // Whatever had been committed is used, so it must be whole.
    const auto outcome = Lazypull(containerd).run(pull);
    ASSERT_EQ(outcome.process.exit_code, 0)
        << "round " << i << ": " << outcome.process.err << snapshotter.log();
    ASSERT_THAT(diff(expected, image_files(containerd, "lazypull", eight.reference)), IsEmpty())
        << "round " << i;
    collect_garbage(containerd);
    snapshotter.wait_for_directories(8);
    if (i % 3 == 2) continue;  // and then a pull that has nothing to do is interrupted
    containerd.ctr_ok({"images", "rm", "--sync", eight.reference});
    collect_garbage(containerd);
    snapshotter.wait_for_directories(0);
    ASSERT_THAT(snapshotter.mounts(), IsEmpty()) << "round " << i;
  }
  EXPECT_GT(interrupted, 0) << "no pull was interrupted, so nothing was tested";
}

/// One after another is made while the daemon is killed: what it had answered must be there afterwards.
TEST(SnapshotterKilled, WhatWasAnsweredIsThere) {
  LazypullSnapshotter snapshotter;
  Containerd containerd({.snapshotters = {snapshotter.plugin()}});
  const auto ctr = [&](Argv arguments) {
    arguments.insert(arguments.begin(), {"snapshots", "--snapshotter", "lazypull"});
    return containerd.ctr(std::move(arguments)).exit_code == 0;
  };
  std::mt19937 random(4711);
  std::uniform_int_distribution<int> first(3, 12);
  std::uniform_int_distribution<int> delay(0, 80);
  std::string parent;
  std::vector<std::string> answered;
  for (int round = 0; round < 6; ++round) {
    int calls_left = first(random);
    std::thread killer;
    const auto call = [&](Argv arguments) {
      if (calls_left-- == 0) {
        killer = std::thread([&snapshotter, wait = delay(random)] {
          std::this_thread::sleep_for(std::chrono::milliseconds(wait));
          snapshotter.kill();
        });
      }
      return ctr(std::move(arguments));
    };
    for (int i = 0;; ++i) {
      const auto name = std::to_string(round) + "-" + std::to_string(i);
      if (!call({"prepare", "active-" + name, parent})) break;
      answered.push_back("active-" + name);
      if (!call({"prepare", "key-" + name, parent})) break;
      if (!call({"commit", "committed-" + name, "key-" + name})) break;
      parent = "committed-" + name;
      answered.push_back(parent);
    }
    ASSERT_TRUE(killer.joinable()) << "a call failed by itself: " << snapshotter.log();
    killer.join();
    snapshotter.start();
    wait_for_connection(containerd);
    const auto known = read_state(containerd, "lazypull").snapshots;
    for (const auto& name : answered) EXPECT_TRUE(known.contains(name)) << name;
    EXPECT_TRUE(ctr({"prepare", "next-" + std::to_string(round), parent})) << parent;
  }
}

}  // namespace
}  // namespace lazypull::test
