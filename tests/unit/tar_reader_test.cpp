#include "snapshot/unpack/tar_reader.hpp"

#include "engine/error.hpp"
#include "tests/support/raw_tar.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

namespace lazypull {
namespace {

using namespace test::raw_tar;

// What was read: entries with their content, holes filled.
struct Seen {
  TarEntry entry;
  std::vector<std::pair<std::string, std::string>> xattrs;
  std::string content;
  std::uint64_t holes = 0;
  bool ended = false;
};

class Collector final : public TarVisitor {
 public:
  bool entry(const TarEntry& entry) override {
    Seen seen{entry, {}, {}, 0, false};
    for (const auto& xattr : entry.xattrs) seen.xattrs.emplace_back(xattr.name, xattr.value);
    seen.entry.xattrs.clear();
    all.push_back(std::move(seen));
    return !skip(entry);
  }
  void data(std::span<const std::byte> bytes) override {
    all.back().content.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  void hole(std::uint64_t bytes) override {
    all.back().content.append(bytes, '\0');
    all.back().holes += bytes;
  }
  void end_of_entry() override { all.back().ended = true; }

  std::vector<Seen> all;
  std::function<bool(const TarEntry&)> skip = [](const TarEntry&) { return false; };
};

std::vector<Seen> read_in_pieces(const std::string& archive, std::size_t piece, TarLimits limits = {}) {
  Collector collector;
  TarReader reader(collector, limits);
  auto rest = std::as_bytes(std::span(archive));
  while (!rest.empty()) {
    const auto part = rest.first(std::min(piece, rest.size()));
    reader.write(part);
    rest = rest.subspan(part.size());
  }
  reader.finish();
  return std::move(collector.all);
}

// Reads in pieces of several sizes and wants the same each time.
std::vector<Seen> read(const std::string& archive) {
  const auto whole = read_in_pieces(archive, archive.size() + 1);
  for (const std::size_t piece : {1U, 7U, 511U, 512U, 513U, 4096U}) {
    const auto again = read_in_pieces(archive, piece);
    EXPECT_EQ(again.size(), whole.size()) << piece;
    for (std::size_t i = 0; i < std::min(again.size(), whole.size()); ++i) {
      EXPECT_EQ(again[i].entry.name, whole[i].entry.name) << piece;
      EXPECT_EQ(again[i].content, whole[i].content) << piece;
      EXPECT_EQ(again[i].xattrs, whole[i].xattrs) << piece;
      EXPECT_EQ(again[i].ended, whole[i].ended) << piece;
    }
  }
  return whole;
}

TarEntry only(const std::string& archive) {
  const auto all = read(archive);
  EXPECT_EQ(all.size(), 1U);
  return all.empty() ? TarEntry{} : all.front().entry;
}

std::string refusal_of(const std::string& archive) {
  std::string message;
  for (const std::size_t piece : {std::size_t{1}, std::size_t{512}, archive.size() + 1}) {
    try {
      read_in_pieces(archive, piece);
      ADD_FAILURE() << "accepted in pieces of " << piece;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::invalid_image);
      if (!message.empty()) {
        EXPECT_EQ(error.message(), message);
      }
      message = error.message();
    }
  }
  return message;
}

TEST(TarReader, GivesEntriesWithTheirContent) {
  const auto all = read(directory("etc/") + file("etc/motd", "hello") + file("empty", "") +
                        file("large", std::string(5000, 'x')) + symlink("l", "etc/motd") +
                        hard_link("h", "large") + end());
  ASSERT_EQ(all.size(), 6U);
  EXPECT_EQ(all[0].entry.type, tar_type::directory);
  EXPECT_EQ(all[0].entry.name, "etc/");
  EXPECT_EQ(all[0].entry.mode, 0755);
  EXPECT_EQ(all[1].content, "hello");
  EXPECT_EQ(all[1].entry.size, 5);
  EXPECT_EQ(all[1].entry.modified, (TarTime{1'600'000'000, 0}));
  EXPECT_EQ(all[1].entry.accessed, never);
  EXPECT_EQ(all[2].content, "");
  EXPECT_TRUE(all[2].ended);
  EXPECT_EQ(all[3].content, std::string(5000, 'x'));
  EXPECT_EQ(all[4].entry.link, "etc/motd");
  EXPECT_EQ(all[5].entry.type, tar_type::hard_link);
}

TEST(TarReader, SkipsTheContentOfEntriesThatAreNotWanted) {
  Collector collector;
  collector.skip = [](const TarEntry& entry) { return entry.name == "a"; };
  TarReader reader(collector);
  const auto archive = file("a", std::string(3000, 'a')) + file("b", "b") + end();
  reader.write(std::as_bytes(std::span(archive)));
  reader.finish();
  ASSERT_EQ(collector.all.size(), 2U);
  EXPECT_EQ(collector.all[0].content, "");
  EXPECT_FALSE(collector.all[0].ended);
  EXPECT_EQ(collector.all[1].content, "b");
}

TEST(TarReader, AnEmptyArchiveNeedsNothing) {
  EXPECT_TRUE(read("").empty());
  EXPECT_TRUE(read(std::string(512, '\0')).empty());
  EXPECT_TRUE(read(end()).empty());
}

TEST(TarReader, MayEndWithoutZeroBlocksOrPadding) {
  EXPECT_EQ(read(file("a", "1234")).size(), 1U);
  EXPECT_EQ(read(file("a", "1234").substr(0, 516)).size(), 1U);
  EXPECT_EQ(read(file("a", "1234").substr(0, 700)).size(), 1U);
  EXPECT_EQ(read(file("a", "") + pax({{"path", "b"}})).size(), 1U) << "an extended header of nothing";
}

TEST(TarReader, IgnoresWhatFollowsTwoZeroBlocks) {
  EXPECT_EQ(read(file("a", "") + end() + "anything" + file("b", "")).size(), 1U);
}

TEST(TarReader, RefusesAnArchiveThatIsCutShort) {
  EXPECT_EQ(refusal_of(file("a", "1234").substr(0, 515)), "tar archive at byte 0: the archive is cut short");
  refusal_of(file("a", "").substr(0, 100));
  refusal_of(file("a", "") + std::string(600, '\0'));
  refusal_of(pax({{"path", "b"}}).substr(0, 514));
}

TEST(TarReader, RefusesOneZeroBlockAmongOthers) {
  EXPECT_EQ(refusal_of(file("a", "") + std::string(512, '\0') + file("b", "")),
            "tar archive at byte 512: one zero block where there should be two");
}

TEST(TarReader, RefusesWrongChecksums) {
  EXPECT_EQ(refusal_of(entry({.name = "a", .checksum = std::string("0000000\0", 8)})),
            "tar archive at byte 0: a header with a wrong checksum");
  refusal_of(entry({.name = "a", .checksum = "garbage!"}));
  refusal_of(std::string(512, 'x'));
}

TEST(TarReader, TakesChecksumsOfSignedBytes) {
  EXPECT_EQ(only(entry({.name = "caf\xc3\xa9", .signed_checksum = true})).name, "caf\xc3\xa9");
}

TEST(TarReader, ReadsOldHeaders) {
  const auto old = only(entry({.name = "a", .type = '\0', .magic = v7_magic, .rest = "no prefix"}));
  EXPECT_EQ(old.type, tar_type::regular);
  EXPECT_EQ(old.name, "a");
  EXPECT_EQ(only(entry({.name = "a/", .type = '\0', .magic = v7_magic})).type, tar_type::directory);
  EXPECT_EQ(only(entry({.name = "a/", .type = '0'})).type, tar_type::regular) << "only in the old format";
}

TEST(TarReader, PutsThePrefixBeforeTheName) {
  EXPECT_EQ(only(entry({.name = "name", .rest = "some/folder"})).name, "some/folder/name");
}

TEST(TarReader, ReadsStarHeaders) {
  const std::string rest = std::string("folder").append(125, '\0') + octal(1700000000, 11) + " " +
                           octal(5, 11) + " " + std::string(8, '\0') + std::string("tar\0", 4);
  const auto star = only(entry({.name = "name", .rest = rest}));
  EXPECT_EQ(star.name, "folder/name");
  EXPECT_EQ(star.accessed, (TarTime{1'700'000'000, 0}));
}

TEST(TarReader, ReadsGnuAccessTimes) {
  const auto gnu = only(entry({.name = "a", .magic = gnu_magic, .rest = octal(1700000000, 11) + " "}));
  EXPECT_EQ(gnu.accessed, (TarTime{1'700'000'000, 0}));
  const auto prefix = only(entry({.name = "a", .magic = gnu_magic, .rest = "old/go"}));
  EXPECT_EQ(prefix.name, "old/go/a") << "what Go wrote before 1.8";
  EXPECT_EQ(prefix.accessed, never);
}

TEST(TarReader, ReadsBinaryNumbers) {
  const auto found = only(entry({.name = "a",
                                 .uid = base_256(3'000'000'000, 8),
                                 .gid = base_256(-2, 8),
                                 .mtime = base_256(-5, 12),
                                 .magic = gnu_magic}));
  EXPECT_EQ(found.uid, 3'000'000'000);
  EXPECT_EQ(found.gid, -2);
  EXPECT_EQ(found.modified, (TarTime{-5, 0}));
  refusal_of(entry({.name = "a", .mtime = std::string("\x80\x01") + std::string(10, '\xff')}));
}

TEST(TarReader, NumbersMayBePadded) {
  const auto found =
      only(entry({.name = "a", .mode = "   644 ", .uid = std::string(8, '\0'), .gid = "7\0junk"}));
  EXPECT_EQ(found.mode, 0644);
  EXPECT_EQ(found.uid, 0);
  EXPECT_EQ(found.gid, 7);
}

TEST(TarReader, RefusesInvalidNumbers) {
  EXPECT_EQ(refusal_of(entry({.name = "a", .mode = "0000648"})),
            "tar archive at byte 0: a header with an invalid number");
  refusal_of(entry({.name = "a", .uid = "-000001"}));
  refusal_of(entry({.name = "a", .gid = "12 34"}));
  refusal_of(entry({.name = "a", .device_major = "x"}));
}

TEST(TarReader, RefusesNegativeSizesOfWhatHasContent) {
  EXPECT_EQ(refusal_of(entry({.name = "a", .size = base_256(-1, 12), .magic = gnu_magic})),
            "tar archive at byte 0: a negative size");
  refusal_of(pax({{"size", "-1"}}) + file("a", ""));
  refusal_of(entry({.name = "a", .type = 'x', .size = base_256(-1, 12), .magic = gnu_magic}));
  only(entry({.name = "a", .type = '5', .size = base_256(-1, 12), .magic = gnu_magic}));
}

TEST(TarReader, LinksAndDirectoriesHaveNoContent) {
  for (const char type : {'1', '2', '3', '4', '5', '6'}) {
    EXPECT_EQ(read(entry({.name = "a", .type = type, .size = "00000001000"}) + file("b", "")).size(), 2U)
        << type;
  }
}

TEST(TarReader, PaxRecordsOverrideTheHeader) {
  const auto all = read(pax({{"path", "long/name"},
                             {"uid", "4000000000"},
                             {"gid", "+7"},
                             {"mtime", "1500000000.25"},
                             {"atime", "-1.5"},
                             {"size", "3"},
                             {"comment", "ignored"},
                             {"SCHILY.xattr.user.a", std::string("v\0w", 3)},
                             {"SCHILY.xattr.user.b", ""}}) +
                        block({.name = "short", .size = "00000000000"}) + padded("abc") +
                        pax({{"linkpath", "target"}}) + symlink("l", "x"));
  ASSERT_EQ(all.size(), 2U);
  const auto& entry = all[0].entry;
  EXPECT_EQ(entry.name, "long/name");
  EXPECT_EQ(entry.uid, 4'000'000'000);
  EXPECT_EQ(entry.gid, 7);
  EXPECT_EQ(entry.modified, (TarTime{1'500'000'000, 250'000'000}));
  EXPECT_EQ(entry.accessed, (TarTime{-2, 500'000'000}));
  EXPECT_EQ(all[0].content, "abc");
  const std::vector<std::pair<std::string, std::string>> xattrs{{"user.a", std::string("v\0w", 3)},
                                                                {"user.b", ""}};
  EXPECT_EQ(all[0].xattrs, xattrs);
  EXPECT_EQ(all[1].entry.link, "target");
  EXPECT_EQ(all[1].entry.name, "l");
  EXPECT_TRUE(all[1].xattrs.empty()) << "records are for one entry";
}

TEST(TarReader, OfRepeatedRecordsTheLastCounts) {
  const auto all =
      read(pax({{"SCHILY.xattr.user.a", "1"}, {"path", "x"}, {"SCHILY.xattr.user.a", "2"}, {"path", "y"}}) +
           file("a", ""));
  EXPECT_EQ(all[0].entry.name, "y");
  const std::vector<std::pair<std::string, std::string>> xattrs{{"user.a", "2"}};
  EXPECT_EQ(all[0].xattrs, xattrs);
  EXPECT_EQ(only(pax({{"path", "x"}, {"path", ""}}) + file("a", "")).name, "a") << "empty is as good as none";
  EXPECT_EQ(only(pax({{"path", "x"}}) + pax({{"uid", "5"}}) + file("a", "")).name, "a")
      << "a header replaces another";
}

TEST(TarReader, RefusesInvalidPaxRecords) {
  const auto with = [](const std::string& text) {
    return entry({.name = "x", .type = 'x'}, text) + file("a", "");
  };
  EXPECT_EQ(refusal_of(with("garbage")), "tar archive at byte 0: an invalid pax header");
  refusal_of(with("9 a=b\n"));
  refusal_of(with("6 a=b\nx"));
  refusal_of(with("6 a=bx"));
  refusal_of(with("5 =b\n"));
  refusal_of(with("7 path\n"));
  refusal_of(with("-6 a=b\n"));
  refusal_of(with("99999999999999999999 a=b\n"));
  refusal_of(pax({{"path", std::string("a\0b", 3)}}) + file("a", ""));
  refusal_of(pax({{std::string("SCHILY.xattr.a\0b", 16), "v"}}) + file("a", ""));
  for (const auto* key : {"uid", "gid", "size", "mtime", "atime", "ctime"}) {
    refusal_of(pax({{key, "x"}}) + file("a", ""));
    refusal_of(pax({{key, "99999999999999999999"}}) + file("a", ""));
  }
  refusal_of(pax({{"mtime", "1.5x"}}) + file("a", ""));
  refusal_of(pax({{"mtime", ".5"}}) + file("a", ""));
}

TEST(TarReader, ATimeThatNoClockHoldsIsNone) {
  EXPECT_EQ(only(pax({{"mtime", "9223372036854775807"}}) + file("a", "")).modified, never);
}

TEST(TarReader, AGlobalHeaderIsAnEntryAndSaysNothingAboutOthers) {
  const auto all =
      read(pax({{"path", "lost"}}) + pax({{"path", "global"}, {"mtime", "5"}}, 'g') + file("a", "x"));
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].entry.type, tar_type::global_header);
  EXPECT_EQ(all[0].entry.name, "global");
  EXPECT_EQ(all[1].entry.name, "a");
  EXPECT_EQ(all[1].entry.modified, (TarTime{1'600'000'000, 0}));
}

TEST(TarReader, ReadsGnuLongNames) {
  const std::string name = std::string(300, 'n') + "/x";
  const auto all = read(gnu_long('L', name) + gnu_long('K', "target") +
                        entry({.name = "n", .type = '2', .link = "t", .magic = gnu_magic}) + file("a", ""));
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].entry.name, name);
  EXPECT_EQ(all[0].entry.link, "target");
  EXPECT_EQ(all[1].entry.name, "a");
  EXPECT_EQ(only(gnu_long('L', std::string("ab\0cd", 5)) + file("a", "")).name, "ab");
  EXPECT_EQ(only(gnu_long('L', "") + file("a", "")).name, "a");
  EXPECT_EQ(only(pax({{"path", "pax"}}) + gnu_long('L', "gnu") + file("a", "")).name, "gnu");
}

TEST(TarReader, ExtendedHeadersMayHaveOneMebibyte) {
  const std::string large((1 << 20) - 1, 'n');
  EXPECT_EQ(read_in_pieces(gnu_long('L', large) + file("a", ""), 1 << 16)[0].entry.name, large);
  EXPECT_EQ(refusal_of(gnu_long('L', large + "n") + file("a", "")),
            "tar archive at byte 0: an extended header that is too large");
}

TEST(TarReader, LimitsTheNumberOfEntries) {
  const auto archive = file("a", "") + file("b", "") + pax({}, 'g') + end();
  EXPECT_EQ(read_in_pieces(archive, 512, {.entries = 3}).size(), 3U);
  EXPECT_THROW(read_in_pieces(archive, 512, {.entries = 2}), Error);
}

// ---- sparse files ----

const std::string dense = "abcdefgh";
const std::string with_holes =
    std::string("\0\0abcde", 7) + std::string(11, '\0') + "fgh" + std::string(4, '\0');

void expect_sparse(const std::string& archive, const std::string& name) {
  const auto all = read(archive + file("next", "n"));
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].entry.name, name);
  EXPECT_EQ(all[0].entry.size, 25);
  EXPECT_EQ(all[0].content, with_holes);
  EXPECT_EQ(all[0].holes, 17U);
  EXPECT_EQ(all[1].content, "n");
}

TEST(TarReader, ReadsSparseFilesWhoseMapIsInPaxRecords) {
  expect_sparse(pax({{"GNU.sparse.size", "25"},
                     {"GNU.sparse.numblocks", "2"},
                     {"GNU.sparse.offset", "2"},
                     {"GNU.sparse.numbytes", "5"},
                     {"GNU.sparse.offset", "18"},
                     {"GNU.sparse.numbytes", "3"}}) +
                    file("s", dense),
                "s");
  expect_sparse(pax({{"GNU.sparse.major", "0"},
                     {"GNU.sparse.minor", "1"},
                     {"GNU.sparse.name", "real"},
                     {"GNU.sparse.size", "25"},
                     {"GNU.sparse.numblocks", "2"},
                     {"GNU.sparse.map", "2,5,18,3"}}) +
                    file("s", dense),
                "real");
}

TEST(TarReader, ReadsSparseFilesWhoseMapIsInTheContent) {
  const Records records{{"GNU.sparse.major", "1"},
                        {"GNU.sparse.minor", "0"},
                        {"GNU.sparse.name", "real"},
                        {"GNU.sparse.realsize", "25"}};
  expect_sparse(pax(records) + file("s", padded("2\n2\n5\n18\n3\n") + dense), "real");
  // A map of more than one block.
  const std::string map = "2\n2\n5\n" + std::string(700, '0') + "18\n3\n";
  expect_sparse(pax(records) + file("s", padded(map) + dense), "real");
}

TEST(TarReader, ReadsOldGnuSparseFiles) {
  const auto fields = [](std::uint64_t offset, std::uint64_t length) {
    return octal(offset, 11) + std::string(1, '\0') + octal(length, 11) + std::string(1, '\0');
  };
  std::string rest(41, '\0');
  rest += fields(2, 5) + fields(18, 3) + std::string(48, '\0') + std::string(1, '\0') + octal(25, 11);
  expect_sparse(entry({.name = "s", .type = 'S', .magic = gnu_magic, .rest = rest}, dense), "s");
  // The second fragment in a block of its own.
  rest = std::string(41, '\0') + fields(2, 5) + std::string(72, '\0') + "\1" + octal(25, 11);
  expect_sparse(block({.name = "s", .type = 'S', .magic = gnu_magic, .rest = rest}, dense.size()) +
                    padded(fields(18, 3)) + padded(dense),
                "s");
}

TEST(TarReader, RefusesInvalidSparseMaps) {
  const auto with = [](const std::string& blocks, const std::string& map, const std::string& size = "25") {
    return pax({{"GNU.sparse.major", "0"},
                {"GNU.sparse.minor", "1"},
                {"GNU.sparse.size", size},
                {"GNU.sparse.numblocks", blocks},
                {"GNU.sparse.map", map}}) +
           file("s", dense);
  };
  read(with("2", "2,5,18,3"));
  EXPECT_EQ(refusal_of(with("1", "2,5,18,3")), "tar archive at byte 1024: an invalid map of a sparse file");
  refusal_of(with("2", "2,5,18"));
  refusal_of(with("2", "2,5,6,3"));
  refusal_of(with("2", "2,5,18,8"));
  refusal_of(with("2", "-2,5,18,3"));
  refusal_of(with("2", "2,-5,18,13"));
  refusal_of(with("1", "9223372036854775807,8"));
  refusal_of(with("2", "2,5,x,3"));
  refusal_of(with("", "2,5,18,3"));
  refusal_of(with("2", "2,5,18,3", "-1"));
  refusal_of(with("2", "2,5,18,3", "x"));
  EXPECT_EQ(refusal_of(with("2", "2,5,18,2")),
            "tar archive at byte 1024: a sparse file whose content does not fit its map");
  const Records text{{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.realsize", "25"}};
  refusal_of(pax(text) + file("s", "1\n2\n8\n"));
  refusal_of(pax(text) + file("s", padded("99999999999\n") + dense));
  refusal_of(pax(text) + file("s", padded("-1\n") + dense));
  refusal_of(pax(text) + file("s", padded("1\n2\n") + dense));
  refusal_of(pax(text) + directory("s"));
}

TEST(TarReader, ASparseFileMayBeAllHole) {
  const auto all = read(pax({{"GNU.sparse.major", "0"},
                             {"GNU.sparse.minor", "1"},
                             {"GNU.sparse.size", "25"},
                             {"GNU.sparse.numblocks", "0"},
                             {"GNU.sparse.map", ""}}) +
                        file("s", ""));
  EXPECT_EQ(all[0].content, std::string(25, '\0'));
}

TEST(TarReader, UnknownSparseVersionsAreOrdinaryFiles) {
  const auto all =
      read(pax({{"GNU.sparse.major", "2"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.size", "25"}}) +
           file("s", dense));
  EXPECT_EQ(all[0].content, dense);
  EXPECT_EQ(all[0].entry.size, 8);
}

}  // namespace
}  // namespace lazypull
