// `lazypull snapshotter serve` as the proxy plugin of a real containerd: ordinary images and containers, as
// with containerd's own overlayfs.

#include "tests/integration/support/containerd_state.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/lazypull.hpp"
#include "tests/integration/support/lazypull_snapshotter.hpp"
#include "tests/integration/support/registry.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

namespace lazypull::test {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::Each;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

class SnapshotterContainerd : public testing::Test {
 protected:
  SnapshotterContainerd() {
    image = ImageBuilder()
                .layer(busybox_files())
                .layer({tar::directory("data"), tar::file("data/kept", "kept\n"),
                        tar::file("data/gone", "gone\n"), tar::directory("data/old"),
                        tar::file("data/old/file", "old\n")})
                .layer({tar::directory("data"), tar::whiteout("data/gone"), tar::directory("data/old"),
                        tar::opaque("data/old"), tar::file("data/old/new", "new\n"),
                        tar::file("data/secret", "s\n").mode(0600).owner(1, 2)})
                .build();
    reference = registry.store(image, "app:1");
  }

  std::string ctr(Argv arguments) { return containerd.ctr_ok(std::move(arguments)); }
  std::string snapshots(Argv arguments) {
    arguments.insert(arguments.begin(), {"snapshots", "--snapshotter", "lazypull"});
    return ctr(std::move(arguments));
  }
  void pull() { ctr({"images", "pull", "--plain-http", "--snapshotter", "lazypull", reference}); }
  ProcessResult run_sh(const std::string& script) {
    return run_container(containerd, "lazypull", reference, {"sh", "-c", script});
  }

  Registry registry;
  Image image;
  std::string reference;
  LazypullSnapshotter snapshotter;
  Containerd containerd{{.snapshotters = {snapshotter.plugin()}}};
};

TEST_F(SnapshotterContainerd, CtrPullsAndRunsAnImage) {
  pull();
  const auto result =
      run_sh("cat /data/kept /data/old/new; ls /data /data/old; stat -c %a:%u:%g /data/secret");
  EXPECT_EQ(result.out, "kept\nnew\n/data:\nkept\nold\nsecret\n\n/data/old:\nnew\n600:1:2\n") << result.err;
  EXPECT_EQ(result.exit_code, 0);
}

TEST_F(SnapshotterContainerd, TheFileSystemIsThatOfContainerdsOverlayfs) {
  pull();
  containerd.ctr_ok({"images", "pull", "--plain-http", reference}, "overlayfs");
  EXPECT_THAT(diff(image_files(containerd, "overlayfs", reference, "overlayfs"),
                   image_files(containerd, "lazypull", reference)),
              IsEmpty());
}

TEST_F(SnapshotterContainerd, LazypullPullsIntoItAsCtrDoes) {
  containerd.ctr_ok({"images", "pull", "--plain-http", "--snapshotter", "lazypull", reference}, "theirs");
  const auto outcome = Lazypull(containerd, "mine").run_ok({"pull", reference, "--snapshotter", "lazypull"});
  EXPECT_THAT(outcome.decisions(), SizeIs(3));
  EXPECT_THAT(diff(image_files(containerd, "lazypull", reference, "theirs"),
                   image_files(containerd, "lazypull", reference, "mine")),
              IsEmpty());
  const auto result = run_container(containerd, "lazypull", reference, {"cat", "/data/old/new"}, "mine");
  EXPECT_EQ(result.out, "new\n") << result.err;
}

TEST_F(SnapshotterContainerd, CtrShowsAndHandlesSnapshots) {
  pull();
  const auto& top = image.top_chain_id();
  EXPECT_THAT(lines_of(snapshots({"ls"})), SizeIs(1 + 3));
  EXPECT_THAT(snapshots({"info", top}), HasSubstr("\"Kind\": \"Committed\""));
  EXPECT_THAT(snapshots({"info", top}), HasSubstr(image.chain_ids[1]));
  EXPECT_THAT(lines_of(snapshots({"tree"})), SizeIs(3));
  EXPECT_THAT(snapshots({"usage", image.chain_ids[0]}), HasSubstr("MiB"));
  snapshots({"label", top, "colour=red"});
  EXPECT_THAT(snapshots({"info", top}), HasSubstr("\"colour\": \"red\""));
  snapshots({"prepare", "mine", top});
  EXPECT_THAT(snapshots({"mounts", "/mnt", "mine"}), HasSubstr("lowerdir="));
  snapshots({"commit", "mine-too", "mine"});
  snapshots({"view", "look", "mine-too"});
  EXPECT_THAT(snapshots({"mounts", "/mnt", "look"}), Not(HasSubstr("upperdir=")));
  EXPECT_NE(containerd.ctr({"snapshots", "--snapshotter", "lazypull", "rm", "mine-too"}).exit_code, 0)
      << "a view stands upon it";
  snapshots({"rm", "look"});
  snapshots({"rm", "mine-too"});
  EXPECT_THAT(lines_of(snapshots({"ls"})), SizeIs(1 + 3));
}

TEST_F(SnapshotterContainerd, WhatAContainerWritesIsItsOwn) {
  pull();
  EXPECT_EQ(run_sh("rm -r /data/old; echo changed > /data/kept; cat /data/kept").out, "changed\n");
  EXPECT_EQ(run_sh("cat /data/kept /data/old/new").out, "kept\nnew\n");
}

TEST_F(SnapshotterContainerd, RemovingTheImageRemovesEveryFile) {
  pull();
  snapshotter.wait_for_directories(3);
  run_sh("true");
  ctr({"images", "rm", "--sync", reference});
  collect_garbage(containerd);
  EXPECT_THAT(read_state(containerd, "lazypull").snapshots, IsEmpty());
  snapshotter.wait_for_directories(0);
  EXPECT_TRUE(fs::is_empty(snapshotter.root() / "trash"));
}

TEST_F(SnapshotterContainerd, EverythingWorksAfterARestartOfBoth) {
  pull();
  ctr({"run", "--detach", "--snapshotter", "lazypull", reference, "sleeper", "sleep", "600"});
  snapshotter.restart();
  containerd.restart();
  EXPECT_EQ(ctr({"tasks", "exec", "--exec-id", "x", "sleeper", "cat", "/data/kept"}), "kept\n");
  EXPECT_EQ(run_sh("cat /data/old/new").out, "new\n");
  ctr({"tasks", "kill", "--signal", "9", "sleeper"});
  ctr({"tasks", "delete", "--force", "sleeper"});
  ctr({"containers", "rm", "sleeper"});
  collect_garbage(containerd);
  snapshotter.wait_for_directories(3);
}

TEST_F(SnapshotterContainerd, ContainerdReconnectsByItselfWhenTheSnapshotterComesBack) {
  pull();
  snapshotter.restart();
  wait_for_connection(containerd);
  EXPECT_EQ(run_sh("cat /data/kept").out, "kept\n");
}

TEST_F(SnapshotterContainerd, WhileItIsDownThePullFailsClearly) {
  snapshotter.stop();
  const auto outcome = Lazypull(containerd).run({"pull", reference, "--snapshotter", "lazypull"});
  EXPECT_EQ(outcome.process.exit_code, 7);
  EXPECT_THAT(outcome.error_message(), HasSubstr("Snapshots/"));
}

TEST_F(SnapshotterContainerd, AnImageOf128LayersRuns) {
  ImageBuilder builder;
  builder.layer(busybox_files());
  for (int i = 1; i < 128; ++i) {
    builder.layer({tar::directory("layers"),
                   tar::file("layers/" + std::to_string(i), std::to_string(i) + "\n"),
                   tar::file("layers/last", std::to_string(i) + "\n")});
  }
  const auto ref = registry.store(builder.build(), "many:128");
  Lazypull(containerd).run_ok({"pull", ref, "--snapshotter", "lazypull"});
  const auto result = run_container(containerd, "lazypull", ref,
                                    {"cat", "/layers/1", "/layers/64", "/layers/127", "/layers/last"});
  EXPECT_EQ(result.out, "1\n64\n127\n127\n") << result.err;
}

TEST_F(SnapshotterContainerd, MoreLayersThanOverlayfsTakesAreAClearError) {
  ImageBuilder builder;
  builder.layer(busybox_files());
  for (int i = 1; i < 503; ++i) builder.layer({tar::file("file-" + std::to_string(i), "")});
  const auto ref = registry.store(builder.build(), "many:503");
  const auto outcome = Lazypull(containerd).run({"pull", ref, "--snapshotter", "lazypull"});
  EXPECT_EQ(outcome.process.exit_code, 7);
  EXPECT_THAT(outcome.error_message(), HasSubstr("overlayfs takes 500 at most"));
  collect_garbage(containerd);
  snapshotter.wait_for_directories(0);
}

}  // namespace
}  // namespace lazypull::test
