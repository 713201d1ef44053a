// A power failure cannot be had here; what is tested is what the first open after one makes of a store, by
// telling it another boot id, and of files that did not reach the disk, by spoiling them.

#include "snapshot/embedded/durability.hpp"
#include "snapshot/embedded/store.hpp"
#include "tests/support/store_fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace lazypull::test {
namespace {

struct EmbeddedDurability : testing::Test {
  TempDir dir{"durability"};
  std::shared_ptr<EmbeddedStore> store = open("first boot");

  std::shared_ptr<EmbeddedStore> open(const std::string& boot) const {
    return EmbeddedStore::open(dir / "store", "default", {.boot_id = boot, .file_threads = 1});
  }
  void reboot() {
    store.reset();
    store = open("second boot");
  }
  bool has(const Digest& digest) const { return store->content().info(digest).has_value(); }
};

TEST_F(EmbeddedDurability, TheRunningKernelHasABootId) {
  EXPECT_EQ(current_boot_id().size(), 36U);
  EXPECT_EQ(current_boot_id(), current_boot_id());
}

TEST_F(EmbeddedDurability, WithoutARebootNothingIsDropped) {
  const auto digest = add_content(*store, "content");
  add_snapshot(*store, "snapshot");
  store->content().ingest("partial", {}, {})->write(bytes_of("half"));
  store = open("first boot");
  EXPECT_TRUE(has(digest));
  EXPECT_TRUE(store->snapshots().stat("snapshot"));
  EXPECT_EQ(store->content().ingest("partial", {}, {})->offset(), 4U);
}

TEST_F(EmbeddedDurability, WhatNoImageRecordHasMadeDurableIsDroppedAfterAReboot) {
  const auto digest = add_content(*store, "content");
  add_snapshot(*store, "bottom");
  add_snapshot(*store, "top", "bottom");
  store->content().ingest("partial", {}, {})->write(bytes_of("half"));
  {
    const auto lease = acquire_lease(store->layout(), store->metadata(), "default", std::chrono::hours(1));
    protect_resource(store->metadata(), lease.id(), LeaseResource::content, digest.str());
  }
  reboot();
  EXPECT_FALSE(has(digest));
  EXPECT_FALSE(store->snapshots().stat("bottom"));
  EXPECT_FALSE(store->snapshots().stat("top"));
  EXPECT_EQ(store->content().ingest("partial", {}, {})->offset(), 0U);
  EXPECT_EQ(entries_in(store->layout().blobs() / "sha256"), 0U);
  EXPECT_EQ(entries_in(store->layout().snapshots()), 0U);
  EXPECT_EQ(entries_in(store->layout().leases()), 0U);
  EXPECT_EQ(entries_in(store->layout().trash()), 0U);
}

TEST_F(EmbeddedDurability, WhatCameBeforeAnImageRecordIsKeptAndWhatCameLaterIsNot) {
  const auto before = add_content(*store, "before");
  add_snapshot(*store, "before");
  add_image(*store, "app", before, 6);
  const auto later = add_content(*store, "later");
  add_snapshot(*store, "later", "before");
  reboot();
  EXPECT_TRUE(has(before));
  EXPECT_TRUE(store->snapshots().stat("before"));
  EXPECT_TRUE(store->images().find("app"));
  EXPECT_FALSE(has(later));
  EXPECT_FALSE(store->snapshots().stat("later"));
}

TEST_F(EmbeddedDurability, WhatIsWrittenDuringAFlushWaitsForTheNextOne) {
  const auto before = add_content(*store, "before");
  Digest during;
  make_durable(store->layout(), store->metadata(), [&](Rows& rows) {
    // As another process would have while the disk was being flushed.
    during = Digest::sha256_of("during");
    write_file(store->layout().blob(during), "during");
    rows.content.add("default", {.digest = during, .size = 6, .labels = {}}, true);
  });
  EXPECT_TRUE(has(during));
  reboot();
  EXPECT_TRUE(has(before));
  EXPECT_FALSE(has(during));
}

TEST_F(EmbeddedDurability, ASnapshotThatWasFlushedWhileActiveAndCommittedLaterIsDropped) {
  store->snapshots().prepare("key", "", {}, {});
  make_durable(store->layout(), store->metadata());
  store->snapshots().commit("name", "key", {}, {});
  reboot();
  EXPECT_FALSE(store->snapshots().stat("name"));
}

TEST_F(EmbeddedDurability, ContentThatAnotherNamespaceAdoptsIsAsDurableAsItsBlob) {
  const auto digest = add_content(*store, "content");
  make_durable(store->layout(), store->metadata());
  const auto other =
      EmbeddedStore::open(dir / "store", "other", {.boot_id = "first boot", .file_threads = 1});
  add_content(*other, "content");
  reboot();
  EXPECT_TRUE(has(digest));
}

TEST_F(EmbeddedDurability, ABlobThatWasTornOrLostIsDroppedAlthoughItsRecordWasFlushed) {
  const auto torn = add_content(*store, "torn");
  const auto lost = add_content(*store, "lost");
  const auto good = add_content(*store, "good");
  add_image(*store, "torn", torn, 4);
  add_image(*store, "good", good, 4);
  std::filesystem::permissions(store->layout().blob(torn), std::filesystem::perms::owner_all);
  write_file(store->layout().blob(torn), "");
  std::filesystem::remove(store->layout().blob(lost));
  reboot();
  EXPECT_FALSE(has(torn));
  EXPECT_FALSE(has(lost));
  EXPECT_TRUE(has(good));
  EXPECT_FALSE(store->images().find("torn")) << "an image without its manifest";
  EXPECT_TRUE(store->images().find("good"));
  EXPECT_THAT(read_file(store->layout().index_file()), testing::Not(testing::HasSubstr(torn.str())));
}

TEST_F(EmbeddedDurability, ASnapshotThatWasLostTakesThoseAboveWithIt) {
  add_snapshot(*store, "bottom");
  add_snapshot(*store, "top", "bottom");
  make_durable(store->layout(), store->metadata());
  std::filesystem::remove_all(store->layout().snapshot(store->snapshots().stat("bottom")->id));
  reboot();
  EXPECT_FALSE(store->snapshots().stat("bottom"));
  EXPECT_FALSE(store->snapshots().stat("top"));
  EXPECT_EQ(entries_in(store->layout().snapshots()), 0U);
}

TEST_F(EmbeddedDurability, TheStoreIsUsableAsUsualAfterwards) {
  const auto digest = add_content(*store, "content");
  reboot();
  EXPECT_EQ(add_content(*store, "content"), digest);
  add_image(*store, "app", digest, 7);
  store.reset();
  store = open("third boot");
  EXPECT_EQ(store->content().read(digest, 7), "content");
  EXPECT_TRUE(store->images().find("app"));
}

}  // namespace
}  // namespace lazypull::test
