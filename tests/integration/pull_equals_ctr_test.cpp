// What lazypull pulls is the same to containerd as what `ctr images pull` pulls: records, content, labels,
// snapshots, and every file of the mounted image.

#include "tests/integration/support/containerd_state.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/lazypull.hpp"
#include "tests/integration/support/push.hpp"
#include "tests/integration/support/registry.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lazypull::test {
namespace {

using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

/// One registry and one containerd for all cases; each case has a namespace of its own for either client.
class PullEqualsCtr : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    registry = new Registry;
    // Without isolation the second client would find the first one's content and download nothing.
    containerd = new Containerd({.isolated_content = true});
  }
  static void TearDownTestSuite() {
    delete containerd;
    delete registry;
  }

  static std::string unique(const std::string& client) {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    return std::string(info->name()) + "-" + client;
  }

  struct Flags {
    Argv common;
    std::string snapshotter = "overlayfs";
    bool unpacked = true;
    std::vector<std::string> unpack = {"direct", "diff-service"};  ///< each of these ways
  };

  /// Pulls with ctr and, by each way of unpacking, with lazypull, and compares everything.
  void expect_equal(const std::string& reference, const Flags& flags) {
    Argv ctr{"images", "pull", "--plain-http", "--snapshotter", flags.snapshotter};
    ctr.insert(ctr.end(), flags.common.begin(), flags.common.end());
    ctr.push_back(reference);
    containerd->ctr_ok(ctr, unique("ctr"));
    for (const auto& unpack : flags.unpack) {
      SCOPED_TRACE("--unpack " + unpack);
      Argv ours{"pull", reference, "--snapshotter", flags.snapshotter, "--unpack", unpack};
      ours.insert(ours.end(), flags.common.begin(), flags.common.end());
      Lazypull(*containerd, unique(unpack)).run_ok(ours);
      expect_same_state(reference, flags, unique(unpack));
    }
  }

  void expect_same_state(const std::string& reference, const Flags& flags, const std::string& space) {
    auto theirs = read_state(*containerd, flags.snapshotter, unique("ctr"));
    auto mine = read_state(*containerd, flags.snapshotter, space);
    EXPECT_THAT(mine.leases, IsEmpty());
    EXPECT_THAT(mine.ingests, IsEmpty());
    for (auto& [name, snapshot] : mine.snapshots) EXPECT_EQ(snapshot.kind, "committed") << name;
    drop_unpacker_labels(mine);
    theirs.leases.clear();  // ctr lets its lease go asynchronously
    EXPECT_THAT(diff(theirs, mine), IsEmpty());
    if (flags.unpacked) {
      // No entry names the root, so its time is that of the extraction; native copies folders, which touches
      // them.
      const TreeDiffOptions but{.ignore_directory_mtime = flags.snapshotter == "native", .ignore_root = true};
      EXPECT_THAT(diff(read_image_tree(*containerd, flags.snapshotter, reference, unique("ctr")),
                       read_image_tree(*containerd, flags.snapshotter, reference, space), but),
                  IsEmpty());
    }
    collect_garbage(*containerd, space);
    auto kept = read_state(*containerd, flags.snapshotter, space);
    drop_unpacker_labels(kept);
    EXPECT_THAT(diff(mine, kept), IsEmpty()) << "garbage collection has taken something";
  }

  /// containerd's own unpacker sets these; `ctr images pull` of 1.6 unpacks without it.
  static void drop_unpacker_labels(ContainerdState& state) {
    for (auto& [name, snapshot] : state.snapshots) {
      snapshot.labels.erase("containerd.io/snapshot.ref");
      snapshot.labels.erase("containerd.io/snapshot/diff-id");
      snapshot.labels.erase("containerd.io/snapshot/parent-chain-id");
    }
  }
  void expect_equal(const std::string& reference) { expect_equal(reference, Flags{}); }

  static Registry* registry;
  static Containerd* containerd;
};
Registry* PullEqualsCtr::registry = nullptr;
Containerd* PullEqualsCtr::containerd = nullptr;

/// A bit of everything that a file system can hold.
std::vector<tar::Entry> varied_files() {
  return {
      tar::directory("bin"),
      tar::file("bin/su", "#!").mode(04755).owner(1000, 2000).mtime(1'650'000'000, 123456789),
      tar::hard_link("bin/also-su", "bin/su").mode(04755).owner(1000, 2000).mtime(1'650'000'000, 123456789),
      tar::symlink("bin/link", "su"),
      tar::directory("dev").mode(01777),
      tar::char_device("dev/null", 1, 3).mode(0666),
      tar::block_device("dev/loop7", 7, 7),
      tar::fifo("dev/pipe"),
      tar::directory("etc"),
      tar::file("etc/capable", "x")
          .xattr("security.capability", std::string("\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20)),
      tar::file("etc/attributes", "y").xattr("user.colour", "green"),
      tar::file("etc/" + std::string(150, 'n'), "long name"),
      tar::file("etc/zurück", "UTF-8 name"),
  };
}

ImageBuilder two_layers(Compression compression = Compression::gzip) {
  ImageBuilder builder;
  builder.layer(varied_files(), compression);
  builder.layer({tar::directory("etc"), tar::file("etc/second", "2")}, compression);
  return builder;
}

TEST_F(PullEqualsCtr, OciImage) {
  expect_equal(push(two_layers().build(), *registry, "oci:1"));
}

TEST_F(PullEqualsCtr, DockerSchema2Image) {
  expect_equal(push(two_layers().build(), *registry, "docker:1", ManifestFormat::docker));
}

TEST_F(PullEqualsCtr, MultiPlatformIndex) {
  const auto amd64 = two_layers().build();
  const auto arm64 = two_layers().platform("linux/arm64").env("ARM=1").build();
  expect_equal(push(make_index({arm64, amd64}), *registry, "multi:1"));
}

TEST_F(PullEqualsCtr, OnePlatformOfAnIndex) {
  const auto amd64 = two_layers().build();
  const auto arm64 = two_layers().platform("linux/arm64").env("ARM=1").build();
  expect_equal(push(make_index({arm64, amd64}), *registry, "foreign:1"),
               {.common = {"--platform", "linux/arm64"}, .unpacked = false});
}

TEST_F(PullEqualsCtr, AllPlatformsOfAnIndex) {
  const auto amd64 = two_layers().build();
  const auto arm64 = two_layers().layer({tar::file("only-arm", "")}).platform("linux/arm64").build();
  expect_equal(push(make_index({arm64, amd64}), *registry, "all:1"),
               {.common = {"--all-platforms"}, .unpacked = false});
}

TEST_F(PullEqualsCtr, ZstdLayers) {
  expect_equal(push(two_layers(Compression::zstd).build(), *registry, "zstd:1"));
}

TEST_F(PullEqualsCtr, UncompressedLayers) {
  expect_equal(push(two_layers(Compression::none).build(), *registry, "plain:1"));
}

TEST_F(PullEqualsCtr, WhiteoutsAndOpaqueDirectories) {
  ImageBuilder builder;
  builder.layer({tar::directory("a"), tar::file("a/gone", "1"), tar::file("a/kept", "2"), tar::directory("b"),
                 tar::file("b/hidden", "3"), tar::directory("c"), tar::directory("c/deep"),
                 tar::file("c/deep/x", "4")});
  builder.layer({tar::directory("a"), tar::whiteout("a/gone"), tar::directory("b"), tar::opaque("b"),
                 tar::file("b/new", "5"), tar::whiteout("c/deep")});
  builder.layer({tar::directory("c"), tar::directory("c/deep"), tar::file("c/deep/y", "6")});
  expect_equal(push(builder.build(), *registry, "whiteouts:1"));
}

TEST_F(PullEqualsCtr, ParentsThatNoEntryNamesAreAsInTheLayersBelow) {
  ImageBuilder builder;
  builder.layer({tar::directory("private").mode(0700).owner(5, 6).xattr("user.colour", "green"),
                 tar::directory("private/deep").mode(02750).owner(7, 8), tar::file("private/deep/a", "1"),
                 tar::directory("usr"), tar::directory("usr/lib"), tar::symlink("lib", "usr/lib")});
  builder.layer({tar::file("other", "2")});
  builder.layer({tar::file("private/deep/b", "3"), tar::file("new/deep/c", "4"), tar::file("lib/d", "5")});
  // The time of such a folder is that of the extraction.
  const auto reference = push(builder.build(), *registry, "implicit:1");
  const TreeDiffOptions but{.ignore_directory_mtime = true, .ignore_root = true};
  containerd->ctr_ok({"images", "pull", "--plain-http", reference}, unique("ctr"));
  Lazypull(*containerd, unique("direct")).run_ok({"pull", reference, "--unpack", "direct"});
  EXPECT_THAT(diff(read_image_tree(*containerd, "overlayfs", reference, unique("ctr")),
                   read_image_tree(*containerd, "overlayfs", reference, unique("direct")), but),
              IsEmpty());
}

TEST_F(PullEqualsCtr, EntriesThatReplaceOthers) {
  ImageBuilder builder;
  builder.layer({tar::directory("d"), tar::file("d/x", "1"), tar::file("f", "2"), tar::symlink("l", "d")});
  builder.layer({tar::file("d", "now a file"), tar::directory("f"), tar::file("f/y", "3"),
                 tar::file("l", "4"), tar::file("twice", "first"), tar::file("twice", "second")});
  builder.layer({tar::directory("d"), tar::file("d/z", "5")});
  expect_equal(push(builder.build(), *registry, "replaced:1"));
}

TEST_F(PullEqualsCtr, DuplicateLayers) {
  const auto same = make_layer({tar::directory("d"), tar::file("d/same", "s")});
  ImageBuilder builder;
  builder.layer(same).layer({tar::file("between", "b")}).layer(same).layer(same);
  expect_equal(push(builder.build(), *registry, "duplicates:1"));
}

TEST_F(PullEqualsCtr, NativeSnapshotter) {
  expect_equal(push(two_layers().build(), *registry, "native:1"),
               {.common = {}, .snapshotter = "native", .unpack = {"auto"}});
}

TEST_F(PullEqualsCtr, LabelsOfTheImageRecord) {
  expect_equal(push(two_layers().build(), *registry, "labels:1"),
               {.common = {"--label", "team=blue", "--label", "tier=1"}});
}

TEST_F(PullEqualsCtr, AReferenceByDigest) {
  const auto image = two_layers().build();
  push(image, *registry, "digest:1");
  expect_equal(registry->host() + "/digest@" + image.digest);
}

TEST_F(PullEqualsCtr, AnImageWithoutLayers) {
  const auto reference = registry->store(ImageBuilder().build(), "empty:1");
  const auto outcome = Lazypull(*containerd, unique("lazypull")).run_ok({"pull", reference});
  const auto state = read_state(*containerd, "overlayfs", unique("lazypull"));
  EXPECT_THAT(state.images, SizeIs(1));
  EXPECT_THAT(state.content, SizeIs(2));
  EXPECT_THAT(state.snapshots, IsEmpty());
  EXPECT_THAT(outcome.decisions(), IsEmpty());
}

TEST_F(PullEqualsCtr, ASecondPullDownloadsNothing) {
  const auto reference = push(two_layers().build(), *registry, "second:1");
  Lazypull lazypull(*containerd, unique("lazypull"));
  lazypull.run_ok({"pull", reference});
  const auto before = read_state(*containerd, "overlayfs", unique("lazypull"));
  registry->reset_log();
  const auto outcome = lazypull.run_ok({"pull", reference});
  EXPECT_THAT(outcome.decisions(), ElementsAre("exists", "exists"));
  EXPECT_EQ(outcome.total("fetchedBytes"), 0);
  const auto requests = registry->requests("lazypull");
  ASSERT_THAT(requests, SizeIs(1)) << "one HEAD to see where the tag points";
  EXPECT_EQ(requests[0].method, "HEAD");
  EXPECT_THAT(diff(before, read_state(*containerd, "overlayfs", unique("lazypull"))), IsEmpty());
}

TEST_F(PullEqualsCtr, AnotherImageOnTheSameBaseDownloadsOnlyItsOwnLayer) {
  const auto base = push(two_layers().build(), *registry, "base:1");
  const auto derived_image = two_layers().layer({tar::file("mine", "m")}).build();
  const auto derived = push(derived_image, *registry, "derived:1");
  Lazypull lazypull(*containerd, unique("lazypull"));
  lazypull.run_ok({"pull", base});
  registry->reset_log();
  const auto outcome = lazypull.run_ok({"pull", derived});
  EXPECT_THAT(outcome.decisions(), ElementsAre("exists", "exists", "download"));
  EXPECT_THAT(registry->fetched_blobs("lazypull"), testing::Not(Contains(derived_image.layers[0].digest)));
  EXPECT_THAT(registry->fetched_blobs("lazypull"), Contains(derived_image.layers[2].digest));
}

TEST_F(PullEqualsCtr, APulledImageRuns) {
  const auto reference =
      push(ImageBuilder().layer(busybox_files()).layer({tar::file("greeting", "hello\n")}).build(), *registry,
           "runs:1");
  Lazypull(*containerd, unique("lazypull")).run_ok({"pull", reference});
  collect_garbage(*containerd, unique("lazypull"));
  const auto result =
      run_container(*containerd, "overlayfs", reference, {"cat", "/greeting"}, unique("lazypull"));
  EXPECT_EQ(result.out, "hello\n") << result.err;
  EXPECT_EQ(result.exit_code, 0);
}

TEST_F(PullEqualsCtr, FetchBringsTheContentOfCtrContentFetch) {
  const auto reference = push(two_layers().build(), *registry, "fetch:1");
  containerd->ctr_ok({"content", "fetch", "--plain-http", reference}, unique("ctr"));
  Lazypull(*containerd, unique("lazypull")).run_ok({"fetch", reference});
  auto theirs = read_state(*containerd, "overlayfs", unique("ctr"));
  theirs.leases.clear();
  const auto mine = read_state(*containerd, "overlayfs", unique("lazypull"));
  EXPECT_THAT(diff(theirs, mine), IsEmpty());
  EXPECT_THAT(mine.snapshots, IsEmpty());
  // What was fetched is unpacked later without the network.
  registry->reset_log();
  const auto outcome = Lazypull(*containerd, unique("lazypull")).run_ok({"pull", reference});
  EXPECT_THAT(outcome.decisions(), ElementsAre("present", "present"));
  EXPECT_THAT(registry->fetched_blobs("lazypull"), IsEmpty());
}

TEST_F(PullEqualsCtr, PlanChangesNothing) {
  const auto reference = push(two_layers().build(), *registry, "plan:1");
  const auto before = read_state(*containerd, "overlayfs", unique("lazypull"));
  registry->reset_log();
  const auto outcome = Lazypull(*containerd, unique("lazypull")).run_ok({"plan", reference});
  EXPECT_THAT(outcome.decisions(), ElementsAre("download", "download"));
  EXPECT_THAT(diff(before, read_state(*containerd, "overlayfs", unique("lazypull"))), IsEmpty());
  EXPECT_THAT(registry->fetched_blobs("lazypull"), SizeIs(1)) << "the config only";
}

}  // namespace
}  // namespace lazypull::test
