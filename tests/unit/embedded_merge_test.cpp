#include "snapshot/embedded/merge_layers.hpp"
#include "tests/support/store_fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <array>
#include <fcntl.h>
#include <map>
#include <string>
#include <unistd.h>
#include <vector>

namespace lazypull::test {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;

struct MergingLayers : testing::Test {
  TempDir dir{"merge"};
  fs::path bottom = make("bottom");
  fs::path middle = make("middle");
  fs::path top = make("top");
  fs::path target = make("target");

  fs::path make(const std::string& name) const {
    fs::create_directories(dir / name);
    return dir / name;
  }
  MergedLayers merge() const { return merge_layers({top, middle, bottom}, target); }

  static void whiteout(const fs::path& file) {
    fs::create_directories(file.parent_path());
    ASSERT_EQ(::mknod(file.c_str(), S_IFCHR | 0600, 0), 0);
  }
  static void opaque(const fs::path& folder) {
    fs::create_directories(folder);
    const char* name = ::geteuid() == 0 ? "trusted.overlay.opaque" : "user.overlay.opaque";
    ASSERT_EQ(::lsetxattr(folder.c_str(), name, "y", 1, 0), 0);
  }

  /// Every file below a folder, with what is to be compared of it.
  static std::map<std::string, std::string> tree(const fs::path& root) {
    std::map<std::string, std::string> all;
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
      struct ::stat status{};
      if (::lstat(entry.path().c_str(), &status) != 0) throw std::runtime_error("lstat");
      std::string text = std::to_string(status.st_mode) + " " + std::to_string(status.st_uid) + " " +
                         std::to_string(status.st_gid) + " " + std::to_string(status.st_mtim.tv_sec);
      if (S_ISREG(status.st_mode)) {
        text += " " + std::to_string(status.st_nlink) + " " + read_file(entry.path());
      }
      if (S_ISLNK(status.st_mode)) text += " -> " + fs::read_symlink(entry.path()).string();
      if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode)) text += " " + std::to_string(status.st_rdev);
      all[fs::relative(entry.path(), root)] = text;
    }
    return all;
  }

  static std::vector<std::string> names(const fs::path& root) {
    std::vector<std::string> all;
    for (const auto& [name, text] : tree(root)) all.push_back(name);
    return all;
  }
};

TEST_F(MergingLayers, TheTopmostFileShowsAndDirectoriesAreMerged) {
  write_file(bottom / "etc/a", "bottom");
  write_file(bottom / "etc/b", "bottom");
  write_file(middle / "etc/b", "middle");
  write_file(top / "etc/c", "top");
  merge();
  EXPECT_EQ(read_file(target / "etc/a"), "bottom");
  EXPECT_EQ(read_file(target / "etc/b"), "middle");
  EXPECT_EQ(read_file(target / "etc/c"), "top");
}

TEST_F(MergingLayers, AWhiteoutHidesAFileOrAWholeDirectory) {
  write_file(bottom / "file", "gone");
  write_file(bottom / "folder/file", "gone");
  write_file(bottom / "kept/file", "kept");
  whiteout(middle / "file");
  whiteout(top / "folder");
  merge();
  EXPECT_THAT(names(target), ElementsAre("kept", "kept/file"));
}

TEST_F(MergingLayers, AWhiteoutByAttributeHidesToo) {
  write_file(bottom / "file", "gone");
  write_file(top / "file", "");
  const char* name = ::geteuid() == 0 ? "trusted.overlay.whiteout" : "user.overlay.whiteout";
  ASSERT_EQ(::lsetxattr((top / "file").c_str(), name, "", 0, 0), 0);
  merge();
  EXPECT_EQ(entries_in(target), 0U);
}

TEST_F(MergingLayers, WhatIsMadeAnewAboveAWhiteoutShowsAlone) {
  write_file(bottom / "folder/old", "old");
  whiteout(middle / "folder");
  write_file(top / "folder/new", "new");
  merge();
  EXPECT_THAT(names(target), ElementsAre("folder", "folder/new"));
}

TEST_F(MergingLayers, AnOpaqueDirectoryHidesWhatLiesBelowButNotWhatLiesAbove) {
  write_file(bottom / "folder/bottom", "");
  opaque(middle / "folder");
  write_file(middle / "folder/middle", "");
  write_file(top / "folder/top", "");
  merge();
  EXPECT_THAT(names(target), ElementsAre("folder", "folder/middle", "folder/top"));
}

TEST_F(MergingLayers, AFileThatReplacesADirectoryHidesIt) {
  write_file(bottom / "name/file", "");
  write_file(middle / "name", "file");
  merge();
  EXPECT_EQ(read_file(target / "name"), "file");
}

TEST_F(MergingLayers, ADirectoryThatReplacesAFileShowsAlone) {
  write_file(bottom / "name/lowest", "");
  write_file(middle / "name", "file");
  write_file(top / "name/file", "");
  merge();
  EXPECT_THAT(names(target), ElementsAre("name", "name/file"));
}

TEST_F(MergingLayers, SymbolicLinksAreCopiedAndNeverFollowed) {
  write_file(dir / "outside/file", "outside");
  fs::create_directory_symlink(dir / "outside", bottom / "link");
  fs::create_symlink("/etc/passwd", top / "absolute");
  write_file(middle / "link2/file", "");
  fs::create_directory_symlink("link2", bottom / "link2");
  merge();
  EXPECT_EQ(fs::read_symlink(target / "link"), dir / "outside");
  EXPECT_EQ(fs::read_symlink(target / "absolute"), "/etc/passwd");
  EXPECT_THAT(names(dir / "outside"), ElementsAre("file"));
  EXPECT_TRUE(fs::is_directory(fs::symlink_status(target / "link2")));
}

TEST_F(MergingLayers, HardLinksOfOneLayerStayLinked) {
  write_file(bottom / "a", "linked");
  fs::create_hard_link(bottom / "a", bottom / "b");
  merge();
  EXPECT_TRUE(fs::equivalent(target / "a", target / "b"));
  EXPECT_FALSE(fs::equivalent(target / "a", bottom / "a"));
}

TEST_F(MergingLayers, ModesTimesAndAttributesAreKept) {
  write_file(bottom / "folder/file", "x");
  ASSERT_EQ(::chmod((bottom / "folder/file").c_str(), 04751), 0);
  ASSERT_EQ(::chmod((bottom / "folder").c_str(), 0555), 0);
  const std::array<::timespec, 2> times{::timespec{.tv_sec = 1000, .tv_nsec = 5},
                                        ::timespec{.tv_sec = 2000, .tv_nsec = 7}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (bottom / "folder/file").c_str(), times.data(), 0), 0);
  ASSERT_EQ(::utimensat(AT_FDCWD, (bottom / "folder").c_str(), times.data(), 0), 0);
  merge();
  EXPECT_EQ(tree(target), tree(bottom));
}

TEST_F(MergingLayers, OverlayfsOwnAttributesAreNotCopied) {
  opaque(top / "folder");
  merge();
  EXPECT_EQ(::llistxattr((target / "folder").c_str(), nullptr, 0), 0);
}

TEST_F(MergingLayers, ChangingACopyLeavesTheLayerAsItWas) {
  write_file(bottom / "file", "layer");
  merge();
  write_file(target / "file", "changed");
  EXPECT_EQ(read_file(bottom / "file"), "layer");
}

TEST_F(MergingLayers, ALargeSparseOrEmptyFileIsCopiedWhole) {
  const auto bytes = make_content(3'000'001);
  write_file(bottom / "large", bytes);
  write_file(bottom / "empty", "");
  write_file(bottom / "sparse", "begin");
  fs::resize_file(bottom / "sparse", 1 << 20U);
  merge();
  EXPECT_EQ(read_file(target / "large"), bytes);
  EXPECT_EQ(fs::file_size(target / "empty"), 0U);
  EXPECT_EQ(read_file(target / "sparse"), read_file(bottom / "sparse"));
}

TEST_F(MergingLayers, ATargetWithFilesIsRefusedAndLeftAlone) {
  write_file(target / "precious", "precious");
  EXPECT_EQ(failure_of([&] { merge(); }), Errc::failed_precondition);
  EXPECT_EQ(read_file(target / "precious"), "precious");
}

TEST_F(MergingLayers, TheKernelsOverlayfsShowsTheSame) {
  ASSERT_EQ(::geteuid(), 0U) << "needs root";
  write_file(bottom / "a/b/c", "1");
  write_file(bottom / "a/b/d", "2");
  write_file(bottom / "replaced", "3");
  write_file(bottom / "folder/old", "4");
  fs::create_symlink("a/b", bottom / "link");
  ASSERT_EQ(::mkfifo((bottom / "fifo").c_str(), 0640), 0);
  ASSERT_EQ(::mknod((bottom / "null").c_str(), S_IFCHR | 0666, ::makedev(1, 3)), 0);
  ASSERT_EQ(::lchown((bottom / "link").c_str(), 12, 34), 0);
  ASSERT_EQ(::chown((bottom / "a/b/c").c_str(), 56, 78), 0);
  opaque(middle / "a/b");
  write_file(middle / "a/b/e", "5");
  fs::create_directories(middle / "replaced");
  whiteout(middle / "folder");
  whiteout(top / "fifo");
  whiteout(top / "nothing below");
  write_file(top / "folder", "6");
  ASSERT_EQ(::chmod((top / "folder").c_str(), 0600), 0);
  merge();
  const auto mounted = make("mounted");
  const std::string data = "lowerdir=" + top.string() + ":" + middle.string() + ":" + bottom.string();
  ASSERT_EQ(::mount("overlay", mounted.c_str(), "overlay", MS_RDONLY, data.c_str()), 0);
  EXPECT_EQ(tree(target), tree(mounted));
}

}  // namespace
}  // namespace lazypull::test
