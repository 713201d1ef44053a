#include "snapshot/embedded/store.hpp"
#include "tests/support/store_fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fcntl.h>
#include <string>
#include <unistd.h>

namespace lazypull::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

struct EmbeddedSnapshots : testing::Test {
  TempDir dir{"snapshots"};
  std::shared_ptr<EmbeddedStore> store = EmbeddedStore::open(dir / "store", "default");
  SnapshotDirectories& snapshots = store->snapshots();

  std::string upper(const std::string& name) { return store->layout().upper(snapshots.stat(name)->id); }
  std::string work(const std::string& name) { return store->layout().work(snapshots.stat(name)->id); }

  /// The options that every overlay mount of this host begins with.
  static std::vector<std::string> overlay_options(std::vector<std::string> rest) {
    std::vector<std::string> options;
    if (std::filesystem::exists("/sys/module/overlay/parameters/index")) options.emplace_back("index=off");
    if (::geteuid() != 0) options.emplace_back("userxattr");
    options.insert(options.end(), rest.begin(), rest.end());
    return options;
  }
};

TEST_F(EmbeddedSnapshots, TheLowestLayerIsABindMount) {
  const auto prepared = snapshots.prepare("key", "", {}, {});
  EXPECT_FALSE(prepared.already_exists);
  const Mount expected{.type = "bind", .source = upper("key"), .target = "", .options = {"rw", "rbind"}};
  EXPECT_THAT(prepared.mounts, ElementsAre(expected));
  EXPECT_EQ(snapshots.mounts("key"), prepared.mounts);
  EXPECT_TRUE(std::filesystem::is_directory(upper("key")));
}

TEST_F(EmbeddedSnapshots, AHigherLayerIsAnOverlayWithTheNearestParentFirst) {
  add_snapshot(*store, "bottom");
  add_snapshot(*store, "middle", "bottom");
  add_snapshot(*store, "top", "middle");
  const auto prepared = snapshots.prepare("key", "top", {}, {});
  const Mount expected{.type = "overlay",
                       .source = "overlay",
                       .target = "",
                       .options = overlay_options(
                           {"workdir=" + work("key"), "upperdir=" + upper("key"),
                            "lowerdir=" + upper("top") + ":" + upper("middle") + ":" + upper("bottom")})};
  EXPECT_THAT(prepared.mounts, ElementsAre(expected));
  EXPECT_TRUE(std::filesystem::is_directory(work("key")));
}

TEST_F(EmbeddedSnapshots, AViewOfOneLayerIsAReadOnlyBindMountOfIt) {
  add_snapshot(*store, "bottom");
  const Mount expected{.type = "bind", .source = upper("bottom"), .target = "", .options = {"ro", "rbind"}};
  EXPECT_THAT(snapshots.view("view", "bottom", {}, {}), ElementsAre(expected));
  EXPECT_EQ(snapshots.stat("view")->info.kind, SnapshotKind::view);
}

TEST_F(EmbeddedSnapshots, AViewOfSeveralLayersIsAnOverlayWithNothingToWriteTo) {
  add_snapshot(*store, "bottom");
  add_snapshot(*store, "top", "bottom");
  const Mount expected{.type = "overlay",
                       .source = "overlay",
                       .target = "",
                       .options = overlay_options({"lowerdir=" + upper("top") + ":" + upper("bottom")})};
  EXPECT_THAT(snapshots.view("view", "top", {}, {}), ElementsAre(expected));
}

TEST_F(EmbeddedSnapshots, StatTellsKindParentAndLabels) {
  add_snapshot(*store, "bottom", "", {{"layer", "1"}});
  snapshots.prepare("key", "bottom", {{"layer", "2"}}, {});
  const auto bottom = snapshots.stat("bottom");
  EXPECT_EQ(bottom->info.kind, SnapshotKind::committed);
  EXPECT_EQ(bottom->info.parent, "");
  EXPECT_EQ(bottom->info.labels, (Labels{{"layer", "1"}}));
  EXPECT_GE(bottom->updated, bottom->created);
  const auto key = snapshots.stat("key");
  EXPECT_EQ(key->info.kind, SnapshotKind::active);
  EXPECT_EQ(key->info.parent, "bottom");
  EXPECT_EQ(key->info.labels, (Labels{{"layer", "2"}}));
  EXPECT_FALSE(snapshots.stat("nothing"));
}

TEST_F(EmbeddedSnapshots, ACommitRenamesTheSnapshotAndReplacesItsLabels) {
  snapshots.prepare("key", "", {{"temporary", "yes"}}, {});
  const auto directory = upper("key");
  EXPECT_EQ(snapshots.commit("name", "key", {{"final", "yes"}}, {}), CommitOutcome::committed);
  EXPECT_FALSE(snapshots.stat("key"));
  EXPECT_EQ(snapshots.stat("name")->info.labels, (Labels{{"final", "yes"}}));
  EXPECT_EQ(upper("name"), directory);
}

TEST_F(EmbeddedSnapshots, ACommitUnderANameThatExistsSaysSoAndLeavesTheKey) {
  add_snapshot(*store, "name");
  snapshots.prepare("key", "", {}, {});
  EXPECT_EQ(snapshots.commit("name", "key", {}, {}), CommitOutcome::already_exists);
  EXPECT_EQ(snapshots.stat("key")->info.kind, SnapshotKind::active);
}

TEST_F(EmbeddedSnapshots, OnlyAnActiveSnapshotIsCommitted) {
  add_snapshot(*store, "done");
  snapshots.view("view", "done", {}, {});
  EXPECT_EQ(failure_of([&] { snapshots.commit("name", "done", {}, {}); }), Errc::failed_precondition);
  EXPECT_EQ(failure_of([&] { snapshots.commit("name", "view", {}, {}); }), Errc::failed_precondition);
  EXPECT_EQ(failure_of([&] { snapshots.commit("name", "nothing", {}, {}); }), Errc::not_found);
}

TEST_F(EmbeddedSnapshots, PrepareAnswersThatTheTargetIsThere) {
  add_snapshot(*store, "chain");
  const auto prepared = snapshots.prepare("key", "", {{"containerd.io/snapshot.ref", "chain"}}, {});
  EXPECT_TRUE(prepared.already_exists);
  EXPECT_THAT(prepared.mounts, IsEmpty());
  EXPECT_FALSE(snapshots.stat("key"));
}

TEST_F(EmbeddedSnapshots, ATargetUponAnotherParentIsAnotherOne) {
  add_snapshot(*store, "bottom");
  add_snapshot(*store, "chain");
  EXPECT_FALSE(
      snapshots.prepare("key", "bottom", {{"containerd.io/snapshot.ref", "chain"}}, {}).already_exists);
}

TEST_F(EmbeddedSnapshots, ATargetThatIsStillBeingMadeIsNotThere) {
  snapshots.prepare("chain", "", {}, {});
  EXPECT_FALSE(snapshots.prepare("key", "", {{"containerd.io/snapshot.ref", "chain"}}, {}).already_exists);
}

TEST_F(EmbeddedSnapshots, AKeyIsUsedOnce) {
  snapshots.prepare("key", "", {}, {});
  EXPECT_EQ(failure_of([&] { snapshots.prepare("key", "", {}, {}); }), Errc::already_exists);
  EXPECT_EQ(failure_of([&] { snapshots.prepare("", "", {}, {}); }), Errc::invalid_argument);
}

TEST_F(EmbeddedSnapshots, AParentMustBeCommitted) {
  snapshots.prepare("active", "", {}, {});
  EXPECT_EQ(failure_of([&] { snapshots.prepare("key", "active", {}, {}); }), Errc::invalid_argument);
  EXPECT_EQ(failure_of([&] { snapshots.prepare("key", "nothing", {}, {}); }), Errc::not_found);
  EXPECT_EQ(failure_of([&] { snapshots.view("key", "nothing", {}, {}); }), Errc::not_found);
}

TEST_F(EmbeddedSnapshots, ACommittedSnapshotHasNoMounts) {
  add_snapshot(*store, "name");
  EXPECT_EQ(failure_of([&] { snapshots.mounts("name"); }), Errc::failed_precondition);
  EXPECT_EQ(failure_of([&] { snapshots.mounts("nothing"); }), Errc::not_found);
}

TEST_F(EmbeddedSnapshots, AParentIsNotRemovedBeforeItsChildren) {
  add_snapshot(*store, "bottom");
  add_snapshot(*store, "top", "bottom");
  EXPECT_EQ(failure_of([&] { snapshots.remove("bottom"); }), Errc::failed_precondition);
  EXPECT_TRUE(std::filesystem::exists(upper("bottom")));
  EXPECT_TRUE(snapshots.remove("top"));
  EXPECT_TRUE(snapshots.remove("bottom"));
  EXPECT_FALSE(snapshots.remove("bottom"));
  EXPECT_THAT(snapshots.list(), IsEmpty());
  EXPECT_EQ(entries_in(store->layout().snapshots()), 0U);
  EXPECT_EQ(entries_in(store->layout().trash()), 0U);
}

TEST_F(EmbeddedSnapshots, LayersAreTheDirectoriesFromTheTopDown) {
  add_snapshot(*store, "bottom");
  add_snapshot(*store, "top", "bottom");
  EXPECT_THAT(snapshots.layers("top"), ElementsAre(upper("top"), upper("bottom")));
  snapshots.view("view", "top", {}, {});
  EXPECT_EQ(snapshots.layers("view"), snapshots.layers("top"));
  EXPECT_EQ(failure_of([&] { snapshots.layers("nothing"); }), Errc::not_found);
}

TEST_F(EmbeddedSnapshots, LabelsAreReplacedOrChangedOneByOne) {
  add_snapshot(*store, "name", "", {{"a", "1"}, {"b", "2"}});
  snapshots.update_labels("name", {{"a", "changed"}, {"b", ""}});
  EXPECT_EQ(snapshots.stat("name")->info.labels, (Labels{{"a", "changed"}}));
  snapshots.replace_labels("name", {{"c", "3"}});
  EXPECT_EQ(snapshots.stat("name")->info.labels, (Labels{{"c", "3"}}));
  EXPECT_EQ(failure_of([&] { snapshots.replace_labels("nothing", {}); }), Errc::not_found);
  EXPECT_EQ(failure_of([&] { snapshots.replace_labels("name", {{"c", std::string(4096, 'x')}}); }),
            Errc::invalid_argument);
}

TEST_F(EmbeddedSnapshots, UsageIsOfTheSnapshotsOwnFilesEachOnce) {
  add_snapshot(*store, "bottom");
  snapshots.prepare("key", "bottom", {}, {});
  const std::filesystem::path root = upper("key");
  write_file(root / "folder/file", std::string(20'000, 'x'));
  std::filesystem::create_hard_link(root / "folder/file", root / "same");
  std::filesystem::create_symlink("/", root / "link");
  std::uint64_t blocks = 0;
  for (const auto* name : {".", "folder", "folder/file", "link"}) {
    struct ::stat status{};
    ASSERT_EQ(::lstat((root / name).c_str(), &status), 0);
    blocks += static_cast<std::uint64_t>(status.st_blocks);
  }
  EXPECT_EQ(snapshots.usage("key"), (DiskUsage{.bytes = blocks * 512, .inodes = 4}));
  EXPECT_EQ(failure_of([&] { snapshots.usage("nothing"); }), Errc::not_found);
}

TEST_F(EmbeddedSnapshots, UsageOfACommittedSnapshotIsCountedOnceAndThatOfAViewNever) {
  add_snapshot(*store, "name");
  const auto usage = snapshots.usage("name");
  EXPECT_EQ(usage.inodes, 2U);
  write_file(std::filesystem::path(upper("name")) / "another", "behind the store's back");
  EXPECT_EQ(snapshots.usage("name"), usage);
  snapshots.view("view", "name", {}, {});
  EXPECT_EQ(snapshots.usage("view"), DiskUsage());
}

TEST_F(EmbeddedSnapshots, UsageOfADeepTreeIsCountedWithFewDescriptors) {
  snapshots.prepare("key", "", {}, {});
  auto folder = ::open(upper("key").c_str(), O_RDONLY | O_DIRECTORY);
  for (int depth = 0; depth < 3000; ++depth) {
    ASSERT_EQ(::mkdirat(folder, "d", 0755), 0);
    const int next = ::openat(folder, "d", O_RDONLY | O_DIRECTORY);
    ::close(folder);
    folder = next;
  }
  ::close(folder);
  EXPECT_EQ(snapshots.usage("key").inodes, 3001U);
}

TEST_F(EmbeddedSnapshots, AsManyLayersAsOverlayfsTakesAreTakenAndNoMore) {
  std::string parent;
  for (std::size_t i = 0; i <= max_lower_layers; ++i) {
    const auto name = std::to_string(i);
    snapshots.prepare("key", parent, {}, {});
    snapshots.commit(name, "key", {}, {});
    parent = name;
  }
  try {
    snapshots.prepare("key", parent, {}, {});
    FAIL() << "it was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::failed_precondition);
    EXPECT_THAT(error.message(), testing::HasSubstr("500"));
    EXPECT_THAT(error.message(), testing::HasSubstr("501"));
  }
  EXPECT_FALSE(snapshots.stat("key"));
}

TEST_F(EmbeddedSnapshots, CleaningUpRemovesDirectoriesWithoutARecord) {
  add_snapshot(*store, "name");
  write_file(store->layout().upper(4711) / "file", "of a process that was killed");
  EXPECT_EQ(snapshots.cleanup(), 1U);
  EXPECT_EQ(entries_in(store->layout().snapshots()), 1U);
  EXPECT_EQ(entries_in(store->layout().trash()), 0U);
}

TEST_F(EmbeddedSnapshots, ANewLayersRootBelongsToWhoeverOwnsThatOfItsParent) {
  ASSERT_EQ(::geteuid(), 0U) << "needs root";
  add_snapshot(*store, "bottom");
  ASSERT_EQ(::chown(upper("bottom").c_str(), 1234, 5678), 0);
  snapshots.prepare("key", "bottom", {}, {});
  struct ::stat status{};
  ASSERT_EQ(::stat(upper("key").c_str(), &status), 0);
  EXPECT_EQ(status.st_uid, 1234U);
  EXPECT_EQ(status.st_gid, 5678U);
}

TEST_F(EmbeddedSnapshots, TheModeOfALayersRootDoesNotDependOnTheUmask) {
  const auto before = ::umask(0077);
  snapshots.prepare("key", "", {}, {});
  ::umask(before);
  struct ::stat status{};
  ASSERT_EQ(::stat(upper("key").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777U, 0755U);
}

TEST_F(EmbeddedSnapshots, ADirectoryLeftByAKilledProcessIsNotInTheWay) {
  // The next id is 1: a process was killed before it could record it.
  write_file(store->layout().upper(1) / "stale", "stale");
  snapshots.prepare("key", "", {}, {});
  EXPECT_EQ(snapshots.stat("key")->id, 1);
  EXPECT_THAT(entries_in(upper("key")), 0U);
}

TEST_F(EmbeddedSnapshots, NamesAreNamesAndNotPaths) {
  for (const auto* name : {"../../escape", "/etc", ".", "a/b", "sha256:aa\nbb"}) {
    snapshots.prepare(name, "", {}, {});
    EXPECT_TRUE(snapshots.stat(name));
    snapshots.remove(name);
  }
  EXPECT_EQ(entries_in(dir.path()), 1U);
  EXPECT_EQ(entries_in(store->layout().snapshots()), 0U);
}

TEST_F(EmbeddedSnapshots, NamespacesDoNotSeeEachOthersSnapshots) {
  const auto other = EmbeddedStore::open(dir / "store", "other");
  add_snapshot(*store, "name");
  EXPECT_FALSE(other->snapshots().stat("name"));
  add_snapshot(*other, "name");
  EXPECT_NE(other->snapshots().stat("name")->id, snapshots.stat("name")->id);
}

TEST_F(EmbeddedSnapshots, ADeepTreeIsRemovedWithFewDescriptors) {
  snapshots.prepare("key", "", {}, {});
  auto folder = ::open(upper("key").c_str(), O_RDONLY | O_DIRECTORY);
  for (int depth = 0; depth < 3000; ++depth) {
    ASSERT_EQ(::mkdirat(folder, "d", depth % 3 == 0 ? 0500 : 0755), 0);
    const int next = ::openat(folder, "d", O_RDONLY | O_DIRECTORY);
    if (depth % 3 == 0) ::fchmod(next, 0700);
    ::close(folder);
    folder = next;
  }
  ::close(folder);
  snapshots.remove("key");
  EXPECT_EQ(entries_in(store->layout().snapshots()), 0U);
  EXPECT_EQ(entries_in(store->layout().trash()), 0U);
}

TEST_F(EmbeddedSnapshots, WhatASymbolicLinkPointsToIsNotRemoved) {
  write_file(dir / "precious/file", "precious");
  snapshots.prepare("key", "", {}, {});
  std::filesystem::create_directory_symlink(dir / "precious", std::filesystem::path(upper("key")) / "link");
  snapshots.remove("key");
  EXPECT_EQ(read_file(dir / "precious/file"), "precious");
}

}  // namespace
}  // namespace lazypull::test
