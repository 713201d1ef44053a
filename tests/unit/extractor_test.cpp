#include "snapshot/unpack/extractor.hpp"

#include "engine/error.hpp"
#include "tests/support/raw_tar.hpp"
#include "tests/support/temp_dir.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <algorithm>
#include <fcntl.h>
#include <filesystem>
#include <functional>
#include <string>
#include <unistd.h>
#include <vector>

namespace lazypull {
namespace {

namespace fs = std::filesystem;
using namespace test::raw_tar;

using Paths = std::vector<std::string>;

constexpr mode_t outside_mode = 0640;

// The root is a folder beside one that must never change.
class ExtractorTest : public ::testing::Test {
 protected:
  ExtractorTest() {
    fs::create_directory(root());
    test::write_file(folder_ / "outside/secret", "untouched");
    fs::create_directory(folder_ / "outside/empty");
    ::chmod((folder_ / "outside/secret").c_str(), outside_mode);
  }

  fs::path root() const { return folder_ / "root"; }
  fs::path at(const std::string& name) const { return root() / name; }

  ExtractResult extract(const std::string& archive, ExtractOptions options = {}, std::size_t piece = 10'000) {
    const int descriptor = ::open(root().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    Extractor extractor(descriptor, options);
    ::close(descriptor);
    auto rest = std::as_bytes(std::span(archive));
    while (!rest.empty()) {
      const auto part = rest.first(std::min(piece, rest.size()));
      extractor.write(part);
      rest = rest.subspan(part.size());
    }
    return extractor.finish();
  }

  Error refusal_of(const std::string& archive, ExtractOptions options = {}) {
    try {
      extract(archive, options);
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << "accepted";
    return Error(Errc::internal, "");
  }

  void expect_outside_untouched() const {
    EXPECT_EQ(test::read_file(folder_ / "outside/secret"), "untouched");
    Paths names;
    for (const auto& entry : fs::recursive_directory_iterator(folder_ / "outside")) {
      names.push_back(entry.path().filename());
    }
    std::ranges::sort(names);
    EXPECT_EQ(names, (Paths{"empty", "secret"}));
    Paths beside;
    for (const auto& entry : fs::directory_iterator(folder_.path()))
      beside.push_back(entry.path().filename());
    std::ranges::sort(beside);
    EXPECT_EQ(beside, (Paths{"outside", "root"}));
    struct stat info{};
    ASSERT_EQ(::lstat((folder_ / "outside/secret").c_str(), &info), 0);
    EXPECT_EQ(info.st_nlink, 1U);
    EXPECT_EQ(info.st_mode & 07777U, outside_mode);
  }

  struct stat status(const std::string& name) const {
    struct stat info{};
    EXPECT_EQ(::lstat(at(name).c_str(), &info), 0) << name;
    return info;
  }
  bool exists(const std::string& name) const {
    struct stat info{};
    return ::lstat(at(name).c_str(), &info) == 0;
  }
  std::string content(const std::string& name) const { return test::read_file(at(name)); }
  std::string xattr(const std::string& name, const char* key) const {
    char value[256];
    const auto size = ::lgetxattr(at(name).c_str(), key, value, sizeof value);
    return size < 0 ? "(none)" : std::string(value, static_cast<std::size_t>(size));
  }

  test::TempDir folder_{"extractor"};
};

constexpr ExtractOptions overlay{.whiteouts = WhiteoutFormat::overlay};

// ---- what is created ----

TEST_F(ExtractorTest, ExtractsEveryKindOfEntry) {
  const std::string archive = directory("d/") + file("d/f", "hello") + file("d/empty", "") +
                              symlink("d/l", "f") + hard_link("d/h", "d/f") +
                              entry({.name = "d/fifo", .type = '6', .mode = "0000620"}) +
                              entry({.name = "d/null",
                                     .type = '3',
                                     .mode = "0000666",
                                     .device_major = "0000001",
                                     .device_minor = "0000003"}) +
                              entry({.name = "d/disk",
                                     .type = '4',
                                     .mode = "0000660",
                                     .device_major = "0000403",
                                     .device_minor = "0001001"}) +
                              end();
  for (const std::size_t piece : {1U, 7U, 511U, 512U, 100'000U}) {
    fs::remove_all(root());
    fs::create_directory(root());
    const auto result = extract(archive, {}, piece);
    EXPECT_EQ(result.entries, 8U);
    EXPECT_EQ(result.bytes, 5U);
    EXPECT_TRUE(result.implicit_directories.empty());
    EXPECT_EQ(content("d/f"), "hello");
    EXPECT_EQ(status("d/f").st_nlink, 2U);
    EXPECT_EQ(status("d/h").st_ino, status("d/f").st_ino);
    EXPECT_EQ(status("d/empty").st_size, 0);
    EXPECT_EQ(fs::read_symlink(at("d/l")), "f");
    EXPECT_TRUE(S_ISFIFO(status("d/fifo").st_mode));
    EXPECT_EQ(status("d/fifo").st_mode & 07777U, 0620U);
    EXPECT_TRUE(S_ISCHR(status("d/null").st_mode));
    EXPECT_EQ(status("d/null").st_rdev, makedev(1, 3));
    EXPECT_EQ(status("d/null").st_mode & 07777U, 0666U);
    EXPECT_TRUE(S_ISBLK(status("d/disk").st_mode));
    EXPECT_EQ(status("d/disk").st_rdev, makedev(0403, 01001));
  }
}

TEST_F(ExtractorTest, WritesLargeFiles) {
  std::string large(5'000'000, '\0');
  for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 31 >> 7U);
  extract(file("large", large), {}, 1 << 19);
  EXPECT_EQ(content("large"), large);
}

TEST_F(ExtractorTest, SetsModesOwnersAndTimes) {
  extract(pax({{"mtime", "1500000000.5"}, {"atime", "1600000000"}}) +
          entry({.name = "su", .mode = "0006755", .uid = "0000012", .gid = "0000024"}, "x") +
          entry({.name = "sticky", .type = '5', .mode = "0003777", .uid = "0000001"}) + file("sticky/f", "") +
          entry({.name = "open", .mode = "0000666"}) + entry({.name = "closed", .mode = "0000000"}) +
          entry({.name = "l", .type = '2', .uid = "0000012", .link = "nowhere"}));
  auto su = status("su");
  EXPECT_EQ(su.st_mode & 07777U, 06755U);
  EXPECT_EQ(su.st_uid, 10U);
  EXPECT_EQ(su.st_gid, 20U);
  EXPECT_EQ(su.st_mtim.tv_sec, 1'500'000'000);
  EXPECT_EQ(su.st_mtim.tv_nsec, 500'000'000);
  EXPECT_EQ(su.st_atim.tv_sec, 1'600'000'000);
  EXPECT_EQ(status("sticky").st_mode & 07777U, 03777U);
  EXPECT_EQ(status("sticky").st_uid, 1U);
  EXPECT_EQ(status("sticky").st_mtim.tv_sec, 1'600'000'000) << "not the time of its last file";
  EXPECT_EQ(status("sticky/f").st_gid, 0U) << "its own, not that of the directory";
  EXPECT_EQ(status("open").st_mode & 07777U, 0666U);
  EXPECT_EQ(status("closed").st_mode & 07777U, 0U);
  EXPECT_EQ(status("l").st_uid, 10U);
  EXPECT_EQ(status("l").st_mtim.tv_sec, 1'600'000'000);
}

TEST_F(ExtractorTest, TheUmaskDoesNotMatter) {
  const auto before = ::umask(077);
  extract(entry({.name = "f", .mode = "0000666"}) + entry({.name = "d", .type = '5', .mode = "0000777"}) +
          file("implicit/f", "") + entry({.name = "p", .type = '6', .mode = "0000666"}));
  ::umask(before);
  EXPECT_EQ(status("f").st_mode & 07777U, 0666U);
  EXPECT_EQ(status("d").st_mode & 07777U, 0777U);
  EXPECT_EQ(status("implicit").st_mode & 07777U, 0755U);
  EXPECT_EQ(status("p").st_mode & 07777U, 0666U);
}

TEST_F(ExtractorTest, TimesThatAFileCannotHaveAreTheEpoch) {
  extract(pax({{"mtime", "-5"}}) + file("before", "") + pax({{"mtime", "9223372037"}}) + file("after", "") +
          pax({{"mtime", "9223372036"}}) + file("last", "") + pax({{"atime", "5"}}) + file("atime", ""));
  EXPECT_EQ(status("before").st_mtim.tv_sec, 0);
  EXPECT_EQ(status("after").st_mtim.tv_sec, 0);
  EXPECT_NE(status("last").st_mtim.tv_sec, 0);
  EXPECT_EQ(status("atime").st_atim.tv_sec, 1'600'000'000) << "not before the modification";
}

TEST_F(ExtractorTest, SetsExtendedAttributesThatItMay) {
  const std::string capability("\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
  extract(
      pax({{"SCHILY.xattr.security.capability", capability}, {"SCHILY.xattr.trusted.overlay.opaque", "y"}}) +
      entry({.name = "ping", .mode = "0000755", .uid = "0000005"}, "x") +
      pax({{"SCHILY.xattr.unknown.name", "x"}}) + file("unknown", "") + pax({{"SCHILY.xattr.user.a", "x"}}) +
      symlink("l", "x"));
  EXPECT_EQ(xattr("ping", "security.capability"), capability);
  EXPECT_EQ(xattr("ping", "trusted.overlay.opaque"), "(none)");
  EXPECT_EQ(status("ping").st_uid, 5U);
  EXPECT_TRUE(exists("l"));
  EXPECT_EQ(refusal_of(pax({{"SCHILY.xattr.", "x"}}) + file("no-name", "")).code(), Errc::invalid_image);
}

TEST_F(ExtractorTest, SparseFilesHaveHoles) {
  const std::string map = "2\n0\n4096\n8388608\n4\n";
  extract(pax({{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.realsize", "16777216"}}) +
          file("s", padded(map) + std::string(4096, 'a') + "tail"));
  const auto info = status("s");
  EXPECT_EQ(info.st_size, 16'777'216);
  EXPECT_LT(info.st_blocks * 512, 100'000);
  const auto text = content("s");
  EXPECT_EQ(text.substr(0, 4097), std::string(4096, 'a') + '\0');
  EXPECT_EQ(text.substr(8'388'607, 6), std::string("\0tail\0", 6));
}

TEST_F(ExtractorTest, AHardLinksHeaderGivesTheFileItsAttributes) {
  extract(file("a", "x") +
          entry({.name = "b", .type = '1', .mode = "0000600", .uid = "0000007", .link = "a"}) +
          symlink("l", "a") + hard_link("l2", "l"));
  EXPECT_EQ(status("a").st_mode & 07777U, 0600U);
  EXPECT_EQ(status("a").st_uid, 7U);
  EXPECT_TRUE(S_ISLNK(status("l2").st_mode)) << "the link itself is linked";
  EXPECT_EQ(status("l2").st_ino, status("l").st_ino);
}

TEST_F(ExtractorTest, MissingFoldersAreMadeAndReported) {
  const auto result = extract(file("a/b/c", "") + file("x/f", "") + directory("x") + file("y/z/f", "") +
                              symlink("y/z", "elsewhere") + directory("named") + file("named/f", ""));
  EXPECT_EQ(result.implicit_directories, (Paths{"a", "a/b", "y"}));
  EXPECT_EQ(result.named_later, (Paths{"x"}));
  EXPECT_EQ(status("a/b").st_mode & 07777U, 0755U);
}

TEST_F(ExtractorTest, FilesInSetgidFoldersGetTheirOwnGroup) {
  extract(entry({.name = "d", .type = '5', .mode = "0002775", .gid = "0000062"}) + file("d/f", "") +
          directory("d/e") + file("d/implicit/f", "") + symlink("d/l", "x"));
  EXPECT_EQ(status("d/f").st_gid, 0U);
  EXPECT_EQ(status("d/e").st_gid, 0U);
  EXPECT_EQ(status("d/e").st_mode & 07777U, 0755U);
  EXPECT_EQ(status("d/l").st_gid, 0U);
  EXPECT_EQ(status("d/implicit").st_mode & 07777U, 0755U);
}

TEST_F(ExtractorTest, TheRootItselfIsLeftAlone) {
  ASSERT_EQ(::chmod(root().c_str(), 0711), 0);
  for (const auto* name : {".", "./", "/", "..", "../..", "a/.."}) {
    extract(entry({.name = name, .type = '5', .mode = "0000700", .uid = "0000005"}) + file("f", ""));
  }
  EXPECT_EQ(status("").st_mode & 07777U, 0711U);
  EXPECT_EQ(status("").st_uid, 0U);
  EXPECT_TRUE(exists("f"));
}

// ---- replacing ----

TEST_F(ExtractorTest, ALaterEntryReplacesAnEarlierOne) {
  extract(file("f", "old") + file("f", "new") + directory("d") + file("d/x", "") + file("d", "file") +
          symlink("l", "f") + file("l", "no link") + file("to-dir", "") + directory("to-dir") +
          symlink("to-dir2", "f") + directory("to-dir2"));
  EXPECT_EQ(content("f"), "new");
  EXPECT_EQ(content("d"), "file");
  EXPECT_TRUE(S_ISREG(status("l").st_mode));
  EXPECT_EQ(content("l"), "no link");
  EXPECT_TRUE(S_ISDIR(status("to-dir").st_mode));
  EXPECT_TRUE(S_ISDIR(status("to-dir2").st_mode));
}

TEST_F(ExtractorTest, ReplacingAHardLinkLeavesTheOtherName) {
  extract(file("a", "one") + hard_link("b", "a") + file("a", "two"));
  EXPECT_EQ(content("a"), "two");
  EXPECT_EQ(content("b"), "one");
}

TEST_F(ExtractorTest, DirectoriesAreMerged) {
  extract(directory("d") + file("d/x", "x") +
          entry({.name = "d/", .type = '5', .mode = "0000700", .uid = "0000003"}) + file("d/y", ""));
  EXPECT_TRUE(exists("d/x"));
  EXPECT_EQ(status("d").st_mode & 07777U, 0700U);
  EXPECT_EQ(status("d").st_uid, 3U);
}

TEST_F(ExtractorTest, RemovesDeepTrees) {
  std::string path = "d";
  std::string archive;
  for (int i = 0; i < 900; ++i) path += "/d";
  extract(pax({{"path", path + "/f"}}) + file("x", "") + file("d", "now a file"));
  EXPECT_EQ(content("d"), "now a file");
}

TEST_F(ExtractorTest, ReplacedDirectoriesAreForgotten) {
  // Their descriptors must not be used for what comes later under the same name.
  const auto result =
      extract(file("d/e/f", "old") + file("d", "file") + directory("d") + file("d/e/f", "new"));
  EXPECT_EQ(content("d/e/f"), "new");
  EXPECT_EQ(result.implicit_directories, (Paths{"d/e"}));
}

TEST_F(ExtractorTest, AGlobalHeaderTakesThePlaceOfWhatHasItsName) {
  extract(file("f", "x") + file("g", "x") + pax({{"path", "f"}, {"mtime", "5"}}, 'g') + file("h", ""));
  EXPECT_FALSE(exists("f"));
  EXPECT_TRUE(exists("g"));
}

// ---- whiteouts ----

TEST_F(ExtractorTest, WhiteoutsRemove) {
  test::write_file(at("below/x"), "");
  test::write_file(at("gone/x"), "");
  extract(file(".wh.gone", "") + file("below/.wh.x", "") + file("d/.wh.nothing", "") + file("a", "") +
          file(".wh.a", ""));
  EXPECT_FALSE(exists("gone"));
  EXPECT_TRUE(exists("below"));
  EXPECT_FALSE(exists("below/x"));
  EXPECT_TRUE(exists("d"));
  EXPECT_FALSE(exists("a"));
  EXPECT_FALSE(exists(".wh.gone"));
}

TEST_F(ExtractorTest, OpaqueMarkersRemoveWhatTheLayerDidNotBring) {
  test::write_file(at("d/old/x"), "");
  test::write_file(at("d/kept/old"), "");
  test::write_file(at("other"), "");
  extract(directory("d/kept") + file("d/kept/new", "") + file("d/before", "") + file("d/.wh..wh..opq", "") +
          file("d/after", "") + file("d/.wh..wh..opq", ""));
  EXPECT_FALSE(exists("d/old"));
  EXPECT_FALSE(exists("d/kept/old"));
  EXPECT_TRUE(exists("d/kept/new"));
  EXPECT_TRUE(exists("d/before"));
  EXPECT_TRUE(exists("d/after"));
  EXPECT_TRUE(exists("other"));
}

TEST_F(ExtractorTest, WhiteoutsBecomeOverlayDevices) {
  extract(entry({.name = "d/.wh.x", .uid = "0000005"}) + file(".wh..wh.plnk", "") + file(".wh.y", "") +
              file("y", "back"),
          overlay);
  EXPECT_TRUE(S_ISCHR(status("d/x").st_mode));
  EXPECT_EQ(status("d/x").st_rdev, 0U);
  EXPECT_EQ(status("d/x").st_mode & 07777U, 0U);
  EXPECT_EQ(status("d/x").st_uid, 5U);
  EXPECT_TRUE(S_ISCHR(status(".wh.plnk").st_mode));
  EXPECT_EQ(content("y"), "back");
}

TEST_F(ExtractorTest, OpaqueMarkersBecomeOverlayAttributes) {
  const auto result = extract(file("d/.wh..wh..opq", "") + file(".wh..wh..opq", ""), overlay);
  EXPECT_EQ(xattr("d", "trusted.overlay.opaque"), "y");
  EXPECT_EQ(xattr("", "trusted.overlay.opaque"), "y");
  EXPECT_FALSE(exists("d/.wh..wh..opq"));
  EXPECT_EQ(result.implicit_directories, (Paths{"d"}));
}

TEST_F(ExtractorTest, RefusesWhiteoutsOfNothing) {
  for (const auto* name : {".wh.", "d/.wh.", "d/.wh..", "d/.wh..."}) {
    EXPECT_EQ(refusal_of(directory("d") + file(name, "")).message(),
              std::string(name) + ": an invalid whiteout");
    EXPECT_EQ(refusal_of(directory("d") + file(name, ""), overlay).code(), Errc::invalid_image);
  }
  EXPECT_EQ(refusal_of(file("a", "") + file(".wh.a", ""), overlay).message(),
            ".wh.a: make the whiteout: File exists");
}

// ---- staying inside ----

TEST_F(ExtractorTest, NamesCannotLeaveTheRoot) {
  extract(file("../outside/secret", "1") + file("/outside/empty/x", "2") + file("a/../../b", "3") +
          file("../../../../c", "4"));
  EXPECT_EQ(content("outside/secret"), "1");
  EXPECT_EQ(content("outside/empty/x"), "2");
  EXPECT_EQ(content("b"), "3");
  EXPECT_EQ(content("c"), "4");
  expect_outside_untouched();
}

TEST_F(ExtractorTest, SymbolicLinksInFoldersAreFollowedInsideTheRoot) {
  extract(symlink("up", "../outside") + symlink("absolute", (folder_ / "outside").string()) +
          symlink("chain", "up") + file("up/secret", "1") + file("absolute/secret", "2") +
          file("chain/.wh.empty", "") + entry({.name = "up", .type = '2', .link = "../outside"}) +
          directory("up/new"));
  EXPECT_EQ(content("outside/secret"), "1");
  EXPECT_TRUE(exists("outside/new"));
  EXPECT_EQ(test::read_file(root().string() + (folder_ / "outside/secret").string()), "2");
  expect_outside_untouched();
}

TEST_F(ExtractorTest, TheLastComponentIsNeverFollowed) {
  const auto secret = (folder_ / "outside/secret").string();
  extract(symlink("f", secret) + file("f", "mine") + symlink("d", (folder_ / "outside/empty").string()) +
          directory("d") + file("d/x", "") + symlink("h", secret) + hard_link("h2", "h") +
          symlink("w", secret) + file(".wh.w", "") + symlink("c", secret) +
          entry({.name = "c", .type = '3'}));
  EXPECT_EQ(content("f"), "mine");
  EXPECT_TRUE(S_ISDIR(status("d").st_mode));
  EXPECT_TRUE(S_ISLNK(status("h2").st_mode));
  expect_outside_untouched();
}

TEST_F(ExtractorTest, HardLinksReachOnlyWhatIsInside) {
  const auto secret = (folder_ / "outside/secret").string();
  for (const auto& target : Paths{"../outside/secret", secret, "/../../outside/secret", "up/secret",
                                  "abs/secret", "..", ".", "", "d/", "d/..", "d"}) {
    const auto error =
        refusal_of(symlink("up", "../outside") + symlink("abs", (folder_ / "outside").string()) +
                   directory("d") + hard_link("h", target));
    EXPECT_NE(error.code(), Errc::internal) << target;
    EXPECT_EQ(error.message().rfind("h: ", 0), 0U) << error.message();
    expect_outside_untouched();
  }
}

TEST_F(ExtractorTest, AParentThatIsSwappedForALinkLeadsNowhereElse) {
  const auto outside = (folder_ / "outside").string();
  extract(directory("d") + directory("d/e") + file("d/e/f", "1") + symlink("d", outside) +
          file("d/secret", "2") + file("d/e/f", "3"));
  EXPECT_EQ(test::read_file(root().string() + outside + "/secret"), "2");
  expect_outside_untouched();
}

TEST_F(ExtractorTest, TimesAreSetInsideEvenIfADirectoryBecameALink) {
  const auto outside = (folder_ / "outside").string();
  struct stat before{};
  ASSERT_EQ(::lstat(outside.c_str(), &before), 0);
  EXPECT_EQ(refusal_of(directory("d") + symlink("d", outside)).message(),
            "d: is gone when its times are to be set");
  extract(directory("d") + file("e/f", "") + symlink("d", "e"));
  EXPECT_EQ(status("e").st_mtim.tv_sec, 1'600'000'000) << "what the name leads to";
  struct stat after{};
  ASSERT_EQ(::lstat(outside.c_str(), &after), 0);
  EXPECT_EQ(after.st_mtim.tv_sec, before.st_mtim.tv_sec);
  expect_outside_untouched();
}

TEST_F(ExtractorTest, DanglingLinksInFoldersAreFilled) {
  extract(symlink("l", "missing/deep") + file("l/f", "x"));
  EXPECT_EQ(content("missing/deep/f"), "x");
}

TEST_F(ExtractorTest, RefusesLoopsAndFilesAsFolders) {
  EXPECT_EQ(refusal_of(symlink("a", "b") + symlink("b", "a") + file("a/f", "")).code(), Errc::invalid_image);
  EXPECT_EQ(refusal_of(file("f", "") + file("f/g", "")).code(), Errc::invalid_image);
  EXPECT_EQ(refusal_of(file("f", "") + file("f/g/h", "")).code(), Errc::invalid_image);
}

// ---- refusals and limits ----

TEST_F(ExtractorTest, RefusesUnknownTypes) {
  EXPECT_EQ(refusal_of(entry({.name = "a", .type = '7'})).message(), "a: an entry of the unknown type 55");
  EXPECT_EQ(refusal_of(symlink("l", "")).code(), Errc::invalid_image);
  EXPECT_EQ(refusal_of(file(std::string(300, 'n').substr(0, 99), "")
                           .append(file("x/" + std::string(98, 'y'), ""))
                           .append(pax({{"path", std::string(256, 'n')}}) + file("x", "")))
                .code(),
            Errc::invalid_image);
}

TEST_F(ExtractorTest, RefusesAnArchiveThatIsCutShort) {
  EXPECT_EQ(refusal_of(file("a", std::string(600, 'x')).substr(0, 700)).message(),
            "tar archive at byte 0: the archive is cut short");
}

TEST_F(ExtractorTest, LimitsWhatALayerMayHold) {
  const auto with = [](auto change) {
    ExtractOptions options;
    change(options.limits);
    return options;
  };
  const auto two = file("a", "12345") + file("b/c", "12345");
  extract(two, with([](auto& limits) { limits = {.entries = 2, .bytes = 10, .path_bytes = 3, .depth = 2}; }));
  EXPECT_EQ(refusal_of(two, with([](auto& limits) { limits.entries = 1; })).code(), Errc::invalid_image);
  EXPECT_EQ(refusal_of(two, with([](auto& limits) { limits.bytes = 9; })).message(),
            "b/c: the layer is larger than allowed");
  EXPECT_EQ(refusal_of(two, with([](auto& limits) { limits.path_bytes = 2; })).code(), Errc::invalid_image);
  EXPECT_EQ(refusal_of(two, with([](auto& limits) { limits.depth = 1; })).code(), Errc::invalid_image);
  EXPECT_EQ(refusal_of(directory("abc"), with([](auto& limits) { limits.directory_bytes = 2; })).code(),
            Errc::invalid_image);
  const auto huge = pax({{"GNU.sparse.major", "1"},
                         {"GNU.sparse.minor", "0"},
                         {"GNU.sparse.realsize", "9223372036854775807"}}) +
                    file("s", padded("0\n"));
  EXPECT_EQ(refusal_of(huge).message(), "s: the layer is larger than allowed");
}

// ---- without privileges ----

TEST_F(ExtractorTest, WithoutPrivilegesOwnersAndDevicesAreLeftOut) {
  const auto before = ::getxattr(root().c_str(), "user.overlay.probe", nullptr, 0) < 0 ? errno : 0;
  extract(pax({{"SCHILY.xattr.security.capability", "x"}}) +
              entry({.name = "f", .mode = "0000444", .uid = "0000005"}, "x") +
              entry({.name = "null", .type = '3', .device_major = "0000001", .device_minor = "0000003"}) +
              entry({.name = "closed", .type = '5', .mode = "0000500"}) + file("closed/f", "x") +
              file("d/.wh.x", ""),
          {.whiteouts = WhiteoutFormat::overlay, .privileged = false});
  EXPECT_EQ(status("f").st_uid, ::geteuid());
  EXPECT_EQ(status("f").st_mode & 07777U, 0444U);
  EXPECT_EQ(xattr("f", "security.capability"), "(none)");
  EXPECT_FALSE(exists("null"));
  EXPECT_EQ(content("closed/f"), "x");
  EXPECT_EQ(status("closed").st_mode & 07777U, 0500U);
  EXPECT_TRUE(S_ISCHR(status("d/x").st_mode));
  if (before != ENOTSUP) {
    extract(pax({{"SCHILY.xattr.user.overlay.redirect", "/"}, {"SCHILY.xattr.user.mine", "1"}}) +
                directory("o") + file("o/.wh..wh..opq", ""),
            {.whiteouts = WhiteoutFormat::overlay, .user_xattr = true, .privileged = false});
    EXPECT_EQ(xattr("o", "user.overlay.opaque"), "y");
    EXPECT_EQ(xattr("o", "user.overlay.redirect"), "(none)");
    EXPECT_EQ(xattr("o", "user.mine"), "1");
  }
}

}  // namespace
}  // namespace lazypull
