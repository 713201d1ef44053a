// Layers that lazypull extracts by itself into containerd's snapshots, and where it leaves that to
// containerd.

#include "tests/integration/support/containerd_state.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/lazypull.hpp"
#include "tests/integration/support/push.hpp"
#include "tests/integration/support/registry.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lazypull::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class DirectUnpack : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { registry = new Registry; }
  static void TearDownTestSuite() { delete registry; }

  void expect_nothing_left() {
    const auto state = read_state(containerd);
    EXPECT_THAT(state.leases, IsEmpty());
    EXPECT_THAT(state.images, IsEmpty());
    for (const auto& [name, snapshot] : state.snapshots) EXPECT_EQ(snapshot.kind, "committed") << name;
  }

  static Registry* registry;
  Containerd containerd;
  Lazypull lazypull{containerd};
};
Registry* DirectUnpack::registry = nullptr;

ImageBuilder three_layers() {
  ImageBuilder builder;
  builder.layer(busybox_files());
  builder.layer({tar::file("greeting", "hello\n")});
  builder.layer({tar::directory("etc"), tar::file("etc/third", "3")});
  return builder;
}

TEST_F(DirectUnpack, NeverAsksTheDiffService) {
  const auto reference = push(three_layers().build(), *registry, "quiet:1");
  const auto outcome = lazypull.run_ok({"--debug", "pull", reference, "--unpack", "direct"});
  EXPECT_THAT(outcome.process.err, HasSubstr("unpack place sha256:"));
  EXPECT_THAT(outcome.process.err, Not(HasSubstr(" apply sha256:")));
}

TEST_F(DirectUnpack, IsWhatRootGetsWithoutAsking) {
  const auto reference = push(three_layers().build(), *registry, "auto:1");
  const auto outcome = lazypull.run_ok({"--debug", "pull", reference});
  EXPECT_THAT(outcome.process.err, HasSubstr("unpack place sha256:"));
}

TEST_F(DirectUnpack, TheDiffServiceDoesItIfItIsAskedFor) {
  const auto reference = push(three_layers().build(), *registry, "service:1");
  const auto outcome = lazypull.run_ok({"--debug", "pull", reference, "--unpack", "diff-service"});
  EXPECT_THAT(outcome.process.err, HasSubstr(" apply sha256:"));
  EXPECT_THAT(outcome.process.err, Not(HasSubstr("unpack place")));
}

TEST_F(DirectUnpack, ASnapshotterThatCopiesIsLeftToTheDiffService) {
  const auto reference = push(three_layers().build(), *registry, "native:1");
  const auto outcome = lazypull.run_ok({"--debug", "pull", reference, "--snapshotter", "native"});
  EXPECT_THAT(outcome.process.err, HasSubstr(" apply sha256:"));
}

TEST_F(DirectUnpack, IsRefusedWhereTheMountsCannotTakeIt) {
  const auto reference = push(three_layers().build(), *registry, "refused:1");
  const auto outcome = lazypull.run({"pull", reference, "--snapshotter", "native", "--unpack", "direct"});
  EXPECT_NE(outcome.process.exit_code, 0);
  EXPECT_EQ(outcome.error_code(), "unsupported") << outcome.error_message();
  EXPECT_THAT(outcome.error_message(), HasSubstr("native"));
  expect_nothing_left();
}

TEST_F(DirectUnpack, DiscardedLayersAreNotInTheStoreAndTheImageRuns) {
  const auto image = three_layers().build();
  const auto reference = push(image, *registry, "discard:1");
  for (const std::string unpack : {"direct", "diff-service"}) {
    const std::string space = "discard-" + unpack;
    Lazypull(containerd, space).run_ok({"pull", reference, "--unpack", unpack, "--discard-unpacked-layers"});
    collect_garbage(containerd, space);
    const auto state = read_state(containerd, "overlayfs", space);
    for (const auto& layer : image.layers) EXPECT_FALSE(state.content.contains(layer.digest)) << unpack;
    EXPECT_TRUE(state.content.contains(image.config_digest));
    EXPECT_EQ(state.snapshots.size(), 3U);
    const auto result = run_container(containerd, "overlayfs", reference, {"cat", "/greeting"}, space);
    EXPECT_EQ(result.out, "hello\n") << result.err;
  }
}

TEST_F(DirectUnpack, WhatIsInTheStoreAlreadyIsExtractedFromThere) {
  const auto reference = push(three_layers().build(), *registry, "stored:1");
  lazypull.run_ok({"fetch", reference});
  registry->reset_log();
  const auto outcome = lazypull.run_ok({"--debug", "pull", reference, "--unpack", "direct"});
  EXPECT_THAT(outcome.decisions(), ElementsAre("present", "present", "present"));
  EXPECT_THAT(registry->fetched_blobs("lazypull"), IsEmpty());
  EXPECT_THAT(outcome.process.err, HasSubstr("unpack place sha256:"));
}

TEST_F(DirectUnpack, AnArchiveThatIsCutShortIsRefusedAndNothingIsLeft) {
  ImageBuilder builder;
  builder.layer({tar::file("below", "1")});
  builder.layer(make_layer(std::string_view(std::string(4096, 'q')), Compression::gzip));
  const auto reference = registry->store(builder.build(), "broken:1");
  const auto outcome = lazypull.run({"pull", reference, "--unpack", "direct"});
  EXPECT_EQ(outcome.process.exit_code, 6) << outcome.process.err;
  EXPECT_THAT(outcome.error_message(), HasSubstr("layer sha256:"));
  expect_nothing_left();
}

TEST_F(DirectUnpack, AnEscapeFromTheRootStaysInside) {
  ImageBuilder builder;
  builder.layer({tar::symlink("out", "/etc"), tar::file("out/lazypull-was-here", "x"),
                 tar::file("../../lazypull-was-here", "y")});
  const auto reference = push(builder.build(), *registry, "escape:1");
  lazypull.run_ok({"pull", reference, "--unpack", "direct"});
  EXPECT_FALSE(std::filesystem::exists("/etc/lazypull-was-here"));
  const auto tree = read_image_tree(containerd, "overlayfs", reference);
  EXPECT_TRUE(tree.contains("etc/lazypull-was-here"));
  EXPECT_TRUE(tree.contains("lazypull-was-here"));
}

TEST_F(DirectUnpack, AScratchSnapshotThatAKilledPullLeavesGoesWithItsLease) {
  const auto image = ImageBuilder().layer({tar::file("noise", tar::noise(40'000'000))}).build();
  const auto reference = registry->store(image, "killed:1");
  auto process = lazypull.start({"pull", reference, "--unpack", "direct"});
  wait_until([&] { return !read_state(containerd).snapshots.empty(); }, "the scratch snapshot");
  process.kill();
  for (const auto& [id, lease] : read_state(containerd).leases) containerd.ctr_ok({"leases", "delete", id});
  collect_garbage(containerd);
  EXPECT_THAT(read_state(containerd).snapshots, IsEmpty());
}

}  // namespace
}  // namespace lazypull::test
