// `lazypull content verify`: what it calls damage, what left over, and what neither.

#include "tools/store_verify.hpp"

#include "engine/error.hpp"
#include "engine/labels.hpp"
#include "snapshot/embedded/files.hpp"
#include "tests/support/store_fixture.hpp"
#include "tests/support/stored_image.hpp"

#include <boost/json/parse.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace lazypull::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

struct StoreVerification : testing::Test {
  StoreVerdict verify() { return verify_store(*store); }

  /// An image of one layer, unpacked.
  StoredPart add_whole_image() {
    auto part = store_part(
        *store,
        {{.blob = "layer",
          .fill = [](const std::filesystem::path& folder) { write_file(folder / "file", "text"); }}},
        Platform::host());
    record_image(*store, "registry.example.com/app:1", part.manifest);
    return part;
  }

  TempDir dir{"verify"};
  std::shared_ptr<EmbeddedStore> store = EmbeddedStore::open(dir / "store", "default");
};

TEST_F(StoreVerification, ASoundStoreIsCounted) {
  add_whole_image();
  const auto verdict = verify();
  EXPECT_THAT(verdict.damage, IsEmpty());
  EXPECT_THAT(verdict.leftovers, IsEmpty());
  EXPECT_EQ(verdict.blobs, 3U);
  EXPECT_EQ(verdict.images, 1U);
  EXPECT_EQ(verdict.snapshots, 1U);
  EXPECT_THAT(verify_text(*store, false, false), HasSubstr("3 blobs"));
  EXPECT_EQ(verify_text(*store, true, false), "");
}

TEST_F(StoreVerification, OtherBytesAreDamage) {
  const auto digest = add_content(*store, "some content");
  const auto file = store->layout().blob(digest);
  std::filesystem::permissions(file, std::filesystem::perms::owner_all);
  write_file(file, "same length.");
  EXPECT_THAT(verify().damage, ElementsAre(HasSubstr(digest.str() + " has the bytes of sha256:")));
  write_file(file, "longer than it was");
  EXPECT_THAT(verify().damage, ElementsAre(HasSubstr("18 bytes instead of 12")));
  std::filesystem::remove(file);
  EXPECT_THAT(verify().damage, ElementsAre(HasSubstr(digest.str())));
  EXPECT_EQ(failure_of([&] { verify_text(*store, true, true); }), Errc::digest_mismatch);
}

TEST_F(StoreVerification, AnImageWithoutItsTargetIsDamaged) {
  add_image(*store, "app", Digest::sha256_of("nowhere"), 7);
  EXPECT_THAT(verify().damage, ElementsAre(HasSubstr("image app in default: its target")));
}

TEST_F(StoreVerification, AnImageWithoutItsConfigIsDamaged) {
  const auto config = Digest::sha256_of("config");
  const auto target =
      add_content(*store, "manifest", {{"containerd.io/gc.ref.content.config", config.str()}});
  add_image(*store, "app", target, 8);
  EXPECT_THAT(verify().damage, ElementsAre(HasSubstr("config " + config.str() + " is not there")));
}

TEST_F(StoreVerification, ALayerIsNeededAsABlobOrUnpacked) {
  const auto layer = Digest::sha256_of("layer").str();
  const auto plain = add_content(*store, "config");
  const auto target = add_content(
      *store, "manifest",
      {{"containerd.io/gc.ref.content.config", plain.str()}, {"containerd.io/gc.ref.content.l.0", layer}});
  add_image(*store, "app", target, 8);
  EXPECT_THAT(verify().damage, ElementsAre(HasSubstr("layer " + layer + " is not there")));
  store->content().update_labels(plain, {{"containerd.io/gc.ref.snapshot.overlayfs", "top"}});
  EXPECT_THAT(verify().damage, ElementsAre(HasSubstr("snapshot top is not there")));
  add_snapshot(*store, "top");
  EXPECT_THAT(verify().damage, IsEmpty());
}

TEST_F(StoreVerification, ASnapshotWithoutItsDirectoryIsDamaged) {
  add_snapshot(*store, "top");
  delete_tree(store->layout().upper(store->snapshots().stat("top")->id));
  EXPECT_THAT(verify().damage, ElementsAre("snapshot top has no directory"));
}

TEST_F(StoreVerification, WhatNobodyHoldsIsLeftOverUntilGarbageIsCollected) {
  const auto& layout = store->layout();
  store->snapshots().prepare("extract", "", {}, "");
  write_file(layout.blobs() / "sha256" / std::string(Digest::sha256_of("stray").hex()), "stray");
  std::filesystem::create_directory(layout.snapshots() / "4711");
  write_file(layout.trash() / "old", "x");
  write_file(layout.root / "index.json.0123456789abcdef0123456789abcdef", "{}");
  write_file(layout.leases() / "gone.lock", "");
  EXPECT_THAT(verify().damage, IsEmpty());
  EXPECT_THAT(verify().leftovers,
              UnorderedElementsAre("unfinished snapshot extract", HasSubstr("without a record"),
                                   "directory of snapshot 4711 without a record", "trash old",
                                   HasSubstr("file index.json."), "lease file gone.lock"));
  store->collect_garbage();
  EXPECT_THAT(verify().leftovers, IsEmpty());
}

TEST_F(StoreVerification, APartialBlobIsNeither) {
  store->content().ingest("layer-x", expect("the whole text"), "")->write(bytes_of("the wh"));
  const auto verdict = verify();
  EXPECT_THAT(verdict.damage, IsEmpty());
  EXPECT_THAT(verdict.leftovers, IsEmpty());
  ASSERT_THAT(verdict.partial, SizeIs(1));
  EXPECT_EQ(verdict.partial[0].offset, 6U);
  const auto json = boost::json::parse(verify_text(*store, false, true));
  EXPECT_EQ(json.at("partial").at(0).at("ref"), "layer-x");
}

}  // namespace
}  // namespace lazypull::test
