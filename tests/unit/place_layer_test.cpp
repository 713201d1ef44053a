// An extracted layer is moved into the folder of its snapshot.

#include "snapshot/unpack/place_layer.hpp"

#include "engine/error.hpp"
#include "tests/support/temp_dir.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <filesystem>

namespace lazypull::test {
namespace {

namespace fs = std::filesystem;

Mount overlay(std::vector<std::string> options) {
  return {"overlay", "overlay", "", std::move(options)};
}

TEST(SnapshotPlace, OfABindMountIsItsSource) {
  const auto place = snapshot_place({{"bind", "/snapshots/1/fs", "", {"rw", "rbind"}}});
  ASSERT_TRUE(place.has_value());
  EXPECT_EQ(place->directory, "/snapshots/1/fs");
  EXPECT_FALSE(place->overlay);
}

TEST(SnapshotPlace, OfAnOverlayIsItsUpperFolderAndTheLayersBelow) {
  const auto place = snapshot_place(
      {overlay({"index=off", "workdir=/s/3/work", "upperdir=/s/3/fs", "lowerdir=/s/2/fs:/s/1/fs"})});
  ASSERT_TRUE(place.has_value());
  EXPECT_EQ(place->directory, "/s/3/fs");
  EXPECT_EQ(place->lower, (std::vector<std::string>{"/s/2/fs", "/s/1/fs"}));
  EXPECT_TRUE(place->overlay);
  EXPECT_FALSE(place->user_xattr);
}

TEST(SnapshotPlace, KnowsAttributesOfUsers) {
  const auto place = snapshot_place({overlay({"userxattr", "upperdir=/s/3/fs", "lowerdir=/s/2/fs"})});
  ASSERT_TRUE(place.has_value());
  EXPECT_TRUE(place->user_xattr);
}

TEST(SnapshotPlace, IsUnknownWhereFilesMightMeanSomethingElse) {
  const std::vector<std::vector<Mount>> unknown{
      {},
      {{"ext4", "/dev/loop1", "", {}}},
      {{"bind", "/a", "", {"ro", "rbind"}}},
      {{"bind", "relative", "", {"rw"}}},
      {overlay({"lowerdir=/s/2/fs:/s/1/fs"})},
      {overlay({"upperdir=/s/3/fs", "lowerdir=2/fs:1/fs"})},
      {overlay({"upperdir=/s/3/fs", "lowerdir=/s/2/fs", "uidmap=0:1000:65536"})},
      {overlay({"upperdir=/s/3/fs", "lowerdir=/s/2/fs", "metacopy=on"})},
      {{"bind", "/a", "", {"rw"}}, {"bind", "/b", "", {"rw"}}},
  };
  for (std::size_t i = 0; i < unknown.size(); ++i) EXPECT_FALSE(snapshot_place(unknown[i])) << "case " << i;
}

class PlaceLayer : public ::testing::Test {
 protected:
  PlaceLayer() {
    for (const auto* name : {"from", "to", "lower"}) fs::create_directory(folder / name);
    to.directory = folder / "to";
    to.overlay = true;
    to.lower = {folder / "lower"};
  }

  bool place(const std::vector<std::string>& implicit = {}) {
    return place_layer(folder / "from", to, implicit);
  }

  TempDir folder{"place"};
  SnapshotPlace to;
};

TEST_F(PlaceLayer, MovesEverything) {
  write_file(folder / "from/a", "1");
  write_file(folder / "from/.hidden", "2");
  write_file(folder / "from/d/e/f", "3");
  EXPECT_TRUE(place());
  EXPECT_EQ(read_file(folder / "to/a"), "1");
  EXPECT_EQ(read_file(folder / "to/.hidden"), "2");
  EXPECT_EQ(read_file(folder / "to/d/e/f"), "3");
  EXPECT_TRUE(fs::is_empty(folder / "from"));
}

TEST_F(PlaceLayer, DoesNothingIfSomethingIsThereAlready) {
  write_file(folder / "from/a", "1");
  write_file(folder / "to/b", "2");
  EXPECT_FALSE(place());
  EXPECT_TRUE(fs::exists(folder / "from/a"));
}

TEST_F(PlaceLayer, DoesNothingIfTheFolderCannotBeSeen) {
  to.directory = folder / "elsewhere";
  EXPECT_FALSE(place());
}

TEST_F(PlaceLayer, DoesNotFollowALinkInPlaceOfTheFolder) {
  fs::create_directory(folder / "target");
  fs::create_directory_symlink(folder / "target", folder / "link");
  to.directory = folder / "link";
  write_file(folder / "from/a", "1");
  EXPECT_FALSE(place());
  EXPECT_TRUE(fs::is_empty(folder / "target"));
}

TEST_F(PlaceLayer, AFolderThatNoEntryNamedIsAsInTheLayerBelow) {
  write_file(folder / "from/private/x", "1");
  fs::create_directory(folder / "lower/private");
  fs::permissions(folder / "lower/private", fs::perms{0710});
  EXPECT_TRUE(place({"private"}));
  EXPECT_EQ(fs::status(folder / "to/private").permissions(), fs::perms{0710});
}

TEST_F(PlaceLayer, TheHighestLayerThatHasTheFolderCounts) {
  write_file(folder / "from/d/x", "1");
  fs::create_directories(folder / "lowest/d");
  fs::create_directory(folder / "lower/d");
  fs::permissions(folder / "lower/d", fs::perms{0711});
  fs::permissions(folder / "lowest/d", fs::perms{0700});
  to.lower.push_back(folder / "lowest");
  EXPECT_TRUE(place({"d"}));
  EXPECT_EQ(fs::status(folder / "to/d").permissions(), fs::perms{0711});
}

TEST_F(PlaceLayer, AFolderThatWasSomethingElseBelowKeepsItsOwnAttributes) {
  write_file(folder / "from/d/x", "1");
  fs::permissions(folder / "from/d", fs::perms{0755});
  write_file(folder / "lower/d", "a file");
  EXPECT_TRUE(place({"d"}));
  EXPECT_EQ(fs::status(folder / "to/d").permissions(), fs::perms{0755});
}

TEST_F(PlaceLayer, AFolderThatWasNamedLaterTakesOnlyTheAttributesThatItLacks) {
  write_file(folder / "from/d/x", "1");
  fs::create_directory(folder / "lower/d");
  fs::permissions(folder / "lower/d", fs::perms{0700});
  fs::permissions(folder / "from/d", fs::perms{0755});
  const auto set = [&](const char* where, const char* name, const char* value) {
    ASSERT_EQ(::setxattr((folder / where).c_str(), name, value, 1, 0), 0);
  };
  set("lower/d", "user.both", "l");
  set("lower/d", "user.below", "l");
  set("from/d", "user.both", "u");
  EXPECT_TRUE(place_layer(folder / "from", to, {}, {"d"}));
  const auto get = [&](const char* name) {
    char value = '-';
    EXPECT_EQ(::getxattr((folder / "to/d").c_str(), name, &value, 1), 1) << name;
    return value;
  };
  EXPECT_EQ(get("user.both"), 'u');
  EXPECT_EQ(get("user.below"), 'l');
  EXPECT_EQ(fs::status(folder / "to/d").permissions(), fs::perms{0755});
}

TEST_F(PlaceLayer, ALinkBelowDoesNotLeadOutOfItsLayer) {
  write_file(folder / "from/d/x", "1");
  fs::permissions(folder / "from/d", fs::perms{0755});
  fs::create_directory(folder / "outside");
  fs::permissions(folder / "outside", fs::perms{0700});
  fs::create_directory_symlink(folder / "outside", folder / "lower/d");
  EXPECT_TRUE(place({"d"}));
  EXPECT_EQ(fs::status(folder / "to/d").permissions(), fs::perms{0755});
}

}  // namespace
}  // namespace lazypull::test
