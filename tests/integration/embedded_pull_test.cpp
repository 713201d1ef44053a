// Pulls into the embedded store: the same engine, and in the end the same image, as with containerd.

#include "tests/integration/support/containerd_state.hpp"
#include "tests/integration/support/embedded.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/push.hpp"
#include "tests/integration/support/registry.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lazypull::test {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class EmbeddedPull : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    registry = new Registry;
    containerd = new Containerd;
  }
  static void TearDownTestSuite() {
    delete containerd;
    delete registry;
  }

  static Registry* registry;
  static Containerd* containerd;
  StoreLazypull lazypull;
};
Registry* EmbeddedPull::registry = nullptr;
Containerd* EmbeddedPull::containerd = nullptr;

ImageBuilder layered(Compression compression = Compression::gzip) {
  ImageBuilder builder;
  builder.layer(busybox_files(), compression);
  builder.layer({tar::directory("a"), tar::file("a/gone", "1"), tar::file("a/kept", "2"), tar::directory("b"),
                 tar::file("b/hidden", "3"), tar::fifo("pipe"), tar::char_device("null", 1, 3).mode(0666),
                 tar::file("su", "#!").mode(04755).owner(1000, 2000).mtime(1'650'000'000, 123456789)},
                compression);
  builder.layer({tar::directory("a"), tar::whiteout("a/gone"), tar::directory("b"), tar::opaque("b"),
                 tar::file("b/new", "4"), tar::hard_link("b/also-new", "b/new")},
                compression);
  return builder;
}

TEST_F(EmbeddedPull, GivesTheTreeThatCtrPullGives) {
  for (const auto compression : {Compression::gzip, Compression::zstd, Compression::none}) {
    const auto image = layered(compression).build();
    const auto name = "tree" + std::to_string(static_cast<int>(compression)) + ":1";
    const auto reference = push(image, *registry, name);
    containerd->ctr_ok({"images", "pull", "--plain-http", reference});
    lazypull.run_ok({"pull", reference});
    const auto store = lazypull.open();
    EXPECT_THAT(diff(read_image_tree(*containerd, "overlayfs", reference),
                     read_snapshot_tree(*store, image.top_chain_id()), {.ignore_root = true}),
                IsEmpty());
  }
}

TEST_F(EmbeddedPull, TheStoreIsAnOciLayoutThatSkopeoReads) {
  const auto image = layered().build();
  const auto reference = push(image, *registry, "layout:1");
  lazypull.run_ok({"pull", reference});
  const TempDir copy("copy");
  run_ok({"skopeo", "copy", "oci:" + lazypull.directory().string() + ":" + reference,
          "oci:" + copy.path().string() + ":copied"});
  EXPECT_EQ(read_layout(copy.path()).digest, image.digest);
}

TEST_F(EmbeddedPull, ASecondPullDownloadsNothing) {
  const auto reference = push(layered().build(), *registry, "second:1");
  lazypull.run_ok({"pull", reference});
  registry->reset_log();
  const auto outcome = lazypull.run_ok({"pull", reference});
  EXPECT_THAT(outcome.decisions(), Each(std::string("exists")));
  EXPECT_THAT(registry->requests("lazypull"), SizeIs(1));
}

TEST_F(EmbeddedPull, SharedLayersAreDownloadedOnce) {
  const auto base = push(layered().build(), *registry, "base:1");
  const auto derived = push(layered().layer({tar::file("mine", "m")}).build(), *registry, "derived:1");
  lazypull.run_ok({"pull", base});
  EXPECT_THAT(lazypull.run_ok({"pull", derived}).decisions(),
              ElementsAre("exists", "exists", "exists", "download"));
}

TEST_F(EmbeddedPull, FetchedContentIsUnpackedLaterWithoutTheNetwork) {
  const auto reference = push(layered().build(), *registry, "fetched:1");
  lazypull.run_ok({"fetch", reference});
  EXPECT_THAT(lazypull.open()->snapshots().list(), IsEmpty());
  registry->reset_log();
  EXPECT_THAT(lazypull.run_ok({"pull", reference}).decisions(), Each(std::string("present")));
  EXPECT_THAT(registry->fetched_blobs("lazypull"), IsEmpty());
}

TEST_F(EmbeddedPull, DiscardedLayersLeaveNoBlob) {
  const auto image = layered().build();
  const auto reference = push(image, *registry, "discard:1");
  lazypull.run_ok({"pull", reference, "--discard-unpacked-layers"});
  const auto store = lazypull.open();
  EXPECT_THAT(store->content().list(), SizeIs(2)) << "manifest and config";
  store->collect_garbage();
  EXPECT_THAT(store->snapshots().list(), SizeIs(3));
}

TEST_F(EmbeddedPull, NothingIsLeftOverAndGarbageCollectionTakesNothing) {
  const auto reference = push(layered().build(), *registry, "clean:1");
  lazypull.run_ok({"pull", reference});
  const auto store = lazypull.open();
  EXPECT_THAT(faults(*store), IsEmpty());
  EXPECT_EQ(store->collect_garbage(), GarbageReport{});
}

TEST_F(EmbeddedPull, TwoProcessesPullTheSameImageIntoOneStore) {
  ImageBuilder builder;
  for (std::uint64_t i = 0; i < 4; ++i) {
    builder.layer({tar::file("noise" + std::to_string(i), tar::noise(8'000'000, i))});
  }
  const auto image = builder.build();
  const auto reference = registry->store(image, "both:1");
  registry->reset_log();
  auto first = lazypull.start({"pull", reference});
  auto second = lazypull.start({"pull", reference});
  EXPECT_EQ(first.wait(std::chrono::seconds(60)), 0) << first.err();
  EXPECT_EQ(second.wait(std::chrono::seconds(60)), 0) << second.err();
  EXPECT_THAT(registry->fetched_blobs("lazypull"),
              testing::Not(testing::Contains(image.layers[0].digest).Times(2)));
  const auto store = lazypull.open();
  EXPECT_THAT(store->snapshots().list(), SizeIs(4));
  EXPECT_THAT(faults(*store), IsEmpty());
}

TEST_F(EmbeddedPull, AWrongDiffIdIsRefusedAndNothingIsLeft) {
  auto broken = make_layer({tar::file("x", "1")});
  broken.diff_id = digest_of("something else");
  const auto reference = registry->store(ImageBuilder().layer(broken).build(), "diffid:1");
  const auto outcome = lazypull.run({"pull", reference});
  EXPECT_EQ(outcome.process.exit_code, 6) << outcome.process.err;
  EXPECT_THAT(outcome.error_message(), HasSubstr("diff_id"));
  const auto store = lazypull.open();
  EXPECT_THAT(store->images().list(), IsEmpty());
  store->collect_garbage({.ingest_age = std::chrono::seconds(0)});
  EXPECT_THAT(store->content().list(), IsEmpty());
  EXPECT_THAT(faults(*store), IsEmpty());
}

TEST_F(EmbeddedPull, WithoutRootTheFilesAreTheUsersOwn) {
  const auto image = layered().build();
  const auto reference = push(image, *registry, "user:1");
  const TempDir home("home");
  std::filesystem::permissions(home.path(), std::filesystem::perms::all);
  const std::string store = (home / "store").string();
  const auto result = run({"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                           LAZYPULL_BINARY, "--store", store, "pull", reference});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto opened = EmbeddedStore::open(store, "default");
  EXPECT_THAT(opened->snapshots().list(), SizeIs(3));
  const auto top = opened->snapshots().layers(image.top_chain_id()).front();
  EXPECT_EQ(read_file(top / "b/new"), "4");
}

}  // namespace
}  // namespace lazypull::test
