#include "tests/integration/support/tar_corpus.hpp"

#include "tests/support/raw_tar.hpp"

#include <ostream>
#include <stdexcept>
#include <zlib.h>
#include <zstd.h>

namespace lazypull::test {
namespace {

using namespace raw_tar;

using Corpus = std::vector<CorpusCase>;

std::string gzip(const std::string& text) {
  z_stream stream{};
  constexpr int gzip_window = 31;
  if (::deflateInit2(&stream, 6, Z_DEFLATED, gzip_window, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    throw std::runtime_error("deflateInit2");
  }
  std::string bytes(::deflateBound(&stream, text.size()) + 64, '\0');
  std::string input = text;
  stream.next_in = reinterpret_cast<Bytef*>(input.data());
  stream.avail_in = static_cast<uInt>(input.size());
  stream.next_out = reinterpret_cast<Bytef*>(bytes.data());
  stream.avail_out = static_cast<uInt>(bytes.size());
  ::deflate(&stream, Z_FINISH);
  bytes.resize(stream.total_out);
  ::deflateEnd(&stream);
  return bytes;
}

std::string zstd(const std::string& text) {
  std::string bytes(::ZSTD_compressBound(text.size()), '\0');
  bytes.resize(::ZSTD_compress(bytes.data(), bytes.size(), text.data(), text.size(), 3));
  return bytes;
}

std::string skippable_frame() {
  return std::string("\x50\x2a\x4d\x18\4\0\0\0skip", 12);
}

std::string file_of(const std::string& name, const std::string& mode, const std::string& uid = "0000000") {
  return entry({.name = name, .mode = mode, .uid = uid}, "content");
}

std::string directory_of(const std::string& name, const std::string& mode,
                         const std::string& uid = "0000000") {
  return entry({.name = name, .type = '5', .mode = mode, .uid = uid});
}

std::string device(const std::string& name, char type, const std::string& major, const std::string& minor) {
  return entry({.name = name, .type = type, .device_major = major, .device_minor = minor});
}

void add_names(Corpus& all) {
  all.push_back({"Empty", ""});
  all.push_back({"OnlyZeroBlocks", end()});
  all.push_back({"RootEntry", directory_of("./", "0000700", "0000005") + file("./f", "x") + end()});
  all.push_back({"RootEntryWithoutSlash", directory_of(".", "0000700") + file("f", "x")});
  all.push_back({"EmptyName", file("", "x") + file("f", "x")});
  all.push_back({"SlashAsName", directory_of("/", "0000700") + file("f", "x")});
  all.push_back({"DotDotAsName", directory_of("..", "0000700") + file("f", "x")});
  all.push_back({"AbsoluteNames", directory("/a/") + file("/a/f", "x") + file("//b//f", "y")});
  all.push_back({"NamesWithDotDot",
                 file("../a", "1") + file("a/../b", "2") + file("c/../../../d", "3") + directory("../e")});
  all.push_back({"NamesWithDots", file("./a/./b", "1") + file("a//c", "2") + directory("./a/.")});
  all.push_back({"FileWithTrailingSlash", entry({.name = "f/"}, "x")});
  all.push_back({"DirectoryWithoutTrailingSlash", directory("a") + file("a/f", "")});
  all.push_back({"NamesThatAreNoText", file("caf\xc3\xa9", "1") + file("\xff\xfe", "2") +
                                           file("new\nline", "3") + file("sp ace", "")});
  all.push_back({"LongestComponent", pax({{"path", std::string(255, 'n')}}) + file("x", "")});
  all.push_back({"TooLongComponent", pax({{"path", std::string(256, 'n')}}) + file("x", ""), Fate::refused});
  std::string deep = "d";
  for (int i = 0; i < 300; ++i) deep += "/d";
  all.push_back({"DeepFolders", pax({{"path", deep}}) + file("x", "1")});
  all.push_back({"TooLongPath", pax({{"path", std::string(4096, 'n')}}) + file("x", ""), Fate::refused});
}

void add_kinds(Corpus& all) {
  all.push_back({"EveryKind", directory("d") + file("d/f", "1") + symlink("d/l", "f") +
                                  hard_link("d/h", "d/f") + entry({.name = "d/p", .type = '6'}) +
                                  device("d/null", '3', "0000001", "0000003") +
                                  device("d/disk", '4', "0000010", "0000000") + end()});
  all.push_back({"LargeDeviceNumbers",
                 device("a", '3', "0007777", "3777777") + device("b", '4', "0010000", "0000001")});
  all.push_back({"DeviceThatIsAWhiteout", device("a", '3', "0000000", "0000000")});
  all.push_back({"OldRegularType", entry({.name = "a", .type = '\0', .magic = v7_magic}, "x") +
                                       entry({.name = "d/", .type = '\0', .magic = v7_magic})});
  all.push_back({"ContiguousFile", entry({.name = "a", .type = '7'}), Fate::refused});
  all.push_back({"UnknownType", entry({.name = "a", .type = 'Z'}), Fate::refused});
  all.push_back({"GnuDumpDirectory", entry({.name = "a/", .type = 'D', .magic = gnu_magic}), Fate::refused});
  all.push_back({"GnuVolumeLabel", entry({.name = "label", .type = 'V', .magic = gnu_magic}), Fate::refused});
  all.push_back(
      {"DirectoryWithSize",
       entry({.name = "d", .type = '5', .mode = "0000755", .size = "00000001000"}) + file("f", "")});
  all.push_back({"SocketMode", entry({.name = "a", .mode = "0140644"}, "x")});
}

void add_attributes(Corpus& all) {
  all.push_back({"SpecialModes", file_of("su", "0004755", "0000012") + file_of("sg", "0002711", "0000012") +
                                     directory_of("t", "0001777") + directory_of("g", "0002775", "0000012") +
                                     file("g/f", "") + directory("g/d") + file("g/i/f", "") +
                                     file_of("none", "0000000")});
  all.push_back({"LargeIds", entry({.name = "a", .uid = "7777777", .gid = "7777777"}) +
                                 pax({{"uid", "4294967294"}, {"gid", "3000000000"}}) + file("b", "") +
                                 pax({{"uid", "4294967301"}}) + file("c", "")});
  all.push_back(
      {"IdsThatMeanUnchanged", pax({{"uid", "4294967295"}, {"gid", "4294967295"}}) + file("a", "") +
                                   entry({.name = "b", .uid = base_256(-1, 8), .magic = gnu_magic})});
  all.push_back({"TimesWithFractions", pax({{"mtime", "1500000000.123456789"}}) + file("a", "") +
                                           pax({{"mtime", "1500000000.9999999999"}}) + file("b", "") +
                                           pax({{"mtime", "1500000000.5"}}) + symlink("l", "x")});
  all.push_back({"TimesBeforeTheEpoch",
                 pax({{"mtime", "-1"}}) + file("a", "") + pax({{"mtime", "-0.5"}}) + directory("d") +
                     entry({.name = "b", .mtime = base_256(-100, 12), .magic = gnu_magic})});
  all.push_back({"TimesFarAhead", pax({{"mtime", "9223372036"}}) + file("a", "") +
                                      pax({{"mtime", "9223372037"}}) + file("b", "") +
                                      pax({{"mtime", "9223372036854775807"}}) + file("c", "")});
  all.push_back(
      {"AccessTimes", pax({{"atime", "1650000000"}}) + file("a", "") + pax({{"atime", "5"}}) + file("b", "") +
                          pax({{"atime", "1650000000"}}) + directory("d") +
                          entry({.name = "g", .magic = gnu_magic, .rest = octal(1650000000, 11) + " "})});
  all.push_back({"DirectoryTimes", directory("d") + directory("d/e") + file("d/e/f", "") + file("d/g", "")});
  const std::string capability("\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
  all.push_back({"Capabilities", pax({{"SCHILY.xattr.security.capability", capability}}) +
                                     file_of("a", "0000755", "0000005")});
  all.push_back({"LinkTakesCapabilities", pax({{"SCHILY.xattr.security.capability", capability}}) +
                                              file_of("a", "0000755") + hard_link("b", "a")});
  all.push_back({"UserAttributes",
                 pax({{"SCHILY.xattr.user.a", std::string("v\0w", 3)}, {"SCHILY.xattr.user.empty", ""}}) +
                     file("a", "") + pax({{"SCHILY.xattr.user.d", "1"}}) + directory("d") +
                     pax({{"SCHILY.xattr.user.l", "1"}}) + symlink("l", "a") +
                     pax({{"SCHILY.xattr.user.p", "1"}}) + entry({.name = "p", .type = '6'})});
  all.push_back({"AttributesThatAreIgnored",
                 pax({{"SCHILY.xattr.trusted.overlay.opaque", "y"}, {"SCHILY.xattr.unknown.x", "1"}}) +
                     directory("d") + pax({{"LIBARCHIVE.xattr.user.x", "MQ=="}}) + file("f", "")});
  all.push_back({"AttributeWithoutName", pax({{"SCHILY.xattr.", "x"}}) + file("a", ""), Fate::refused});
  all.push_back({"AttributeNameTooLong",
                 pax({{"SCHILY.xattr.user." + std::string(300, 'n'), "x"}}) + file("a", ""), Fate::refused});
  all.push_back({"RepeatedAttribute",
                 pax({{"SCHILY.xattr.user.a", "1"}, {"SCHILY.xattr.user.a", "2"}}) + file("a", "")});
  const std::string acl("\2\0\0\0\1\0\7\0\xff\xff\xff\xff\4\0\7\0\xff\xff\xff\xff\x20\0\5\0\xff\xff\xff\xff",
                        28);
  all.push_back({"DefaultAccessList", pax({{"SCHILY.xattr.system.posix_acl_default", acl}}) + directory("d") +
                                          file("d/f", "") + directory("d/e") + file("d/i/f", "") +
                                          entry({.name = "d/p", .type = '6'})});
}

void add_replacing(Corpus& all) {
  all.push_back({"FileTwice", file("a", "old and longer") + file("a", "new")});
  all.push_back({"FileForDirectory",
                 directory("d") + file("d/f", "") + pax({{"mtime", "1400000000"}}) + file("d", "file")});
  all.push_back({"DirectoryForFile", file("d", "") + directory("d") + file("d/f", "")});
  all.push_back({"DirectoryForLink", directory("e") + symlink("d", "e") + directory("d") + file("d/f", "")});
  all.push_back({"LinkForDirectory",
                 directory("e") + directory("d") + file("d/f", "") + symlink("d", "e") + file("d/g", "")});
  all.push_back({"LinkToNothingForDirectory", directory("d") + symlink("d", "nowhere"), Fate::refused});
  all.push_back(
      {"DirectoryTwice", directory("d") + file("d/f", "") + directory_of("d", "0000700", "0000005")});
  all.push_back({"HardLinkReplaced", file("a", "1") + hard_link("b", "a") + file("a", "2")});
  all.push_back({"FolderThatIsAFile", file("a", "") + file("a/b", ""), Fate::refused});
  all.push_back({"FolderBelowAFile", file("a", "") + file("a/b/c", ""), Fate::refused});
  all.push_back(
      {"FolderNamedLater", file("d/e/f", "1") + directory_of("d/e", "0000711", "0000003") + directory("d")});
  all.push_back({"FolderNamedLaterWithLowerAttributes",
                 file("etc/f", "1") + directory_of("etc", "0000711", "0000003")});
  all.push_back({"FoldersOfTheLowerLayer", file("etc/new", "1") + file("usr/bin/new", "2") +
                                               file("usr/new/deep/f", "3") + file("lib/f", "4")});
  all.push_back({"FoldersThatAreFilesBelow", file("file/x", "1") + file("etc/passwd/x", "2")});
}

void add_links(Corpus& all) {
  all.push_back({"LinkedFolder",
                 directory("usr/lib") + symlink("lib", "usr/lib") + file("lib/f", "x") + directory("lib/d")});
  all.push_back({"AbsoluteLinkedFolder", symlink("l", "/a/b") + file("l/f", "x")});
  all.push_back(
      {"LinkOutOfTheRoot", symlink("up", "../../../../tmp") + file("up/f", "x") + directory("up/d")});
  all.push_back(
      {"LinkOfLinks", symlink("a", "b") + symlink("b", "c") + symlink("c", "d/e") + file("a/f", "x")});
  all.push_back({"LinkInALinkedFolder",
                 directory("d") + symlink("l", "d") + symlink("d/m", "../e") + file("l/m/f", "x")});
  all.push_back({"LinkInAChainOfLinks", symlink("a", "b") + symlink("b", "c/d") + directory("c/d") +
                                            symlink("c/d/m", "../e") + file("a/m/f", "x")});
  all.push_back({"LinkWithDotDotAfterALink",
                 directory("x/y") + symlink("s", "x/y") + symlink("l", "s/../z") + file("l/f", "1")});
  all.push_back({"LinkWithDotDotAfterALinkDeeper", directory("x/y") + symlink("k/s", "../x/y") +
                                                       symlink("k/l", "s/../z") + file("k/l/f", "1")});
  all.push_back({"AbsoluteLinkWithDotDot",
                 directory("x/y") + symlink("s", "x/y") + symlink("l", "/s/../z") + file("l/f", "1")});
  all.push_back({"LinkLoop", symlink("a", "b") + symlink("b", "a") + file("a/f", ""), Fate::refused});
  all.push_back({"LinkToItself", symlink("a", "a") + file("a/f", ""), Fate::refused});
  std::string chain;
  for (int i = 0; i < 60; ++i) chain += symlink("l" + std::to_string(i), "l" + std::to_string(i + 1));
  all.push_back({"LongChainOfLinks", chain + directory("l60") + file("l0/f", "x")});
  for (int i = 60; i < 300; ++i) chain += symlink("l" + std::to_string(i), "l" + std::to_string(i + 1));
  all.push_back({"TooLongChainOfLinks", chain + file("l0/f", ""), Fate::refused});
  all.push_back({"LinkToAFileAsFolder", file("f", "") + symlink("l", "f") + file("l/x", ""), Fate::refused});
  all.push_back({"LinkIsReplaced", symlink("l", "/etc/passwd") + file("l", "mine")});
  all.push_back({"EmptyLink", symlink("l", ""), Fate::refused});
  all.push_back(
      {"DirectoryNamedThroughALink", directory("e") + symlink("l", "e") + directory_of("l/d", "0000711")});

  all.push_back({"HardLinkToALink", symlink("l", "nowhere") + hard_link("h", "l")});
  all.push_back({"HardLinkChangesAttributes", file("a", "x") + entry({.name = "b",
                                                                      .type = '1',
                                                                      .mode = "0004700",
                                                                      .uid = "0000007",
                                                                      .mtime = "13000000000",
                                                                      .link = "a"})});
  all.push_back(
      {"HardLinkAbsolute", file("d/a", "x") + hard_link("b", "/d/a") + hard_link("c", "./d/../d/a")});
  all.push_back({"HardLinkThroughALink",
                 file("d/a", "x") + symlink("l", "/d") + hard_link("b", "l/a") + hard_link("c", "l/../d/a")});
  all.push_back({"HardLinkToNothing", hard_link("b", "missing"), Fate::refused});
  all.push_back({"HardLinkToItself", file("a", "x") + hard_link("a", "a"), Fate::refused});
  all.push_back({"HardLinkToADirectory", directory("d") + hard_link("b", "d"), Fate::refused});
  all.push_back({"HardLinkToTheRoot", hard_link("b", "/"), Fate::refused});
  all.push_back({"HardLinkUpwards", hard_link("b", "../../../../../../etc/passwd"), Fate::refused});
  all.push_back({"HardLinkOutThroughALink", symlink("l", "/") + hard_link("b", "l/root"), Fate::refused});
  all.push_back({"HardLinkOfAFifo", entry({.name = "p", .type = '6'}) + hard_link("q", "p")});
  all.push_back({"HardLinkToALowerFile", hard_link("b", "etc/passwd"), Fate::refused});
  all.push_back({"HardLinkReplacesItsFolder", file("d/a", "x") + hard_link("d", "d/a"), Fate::refused});
}

void add_whiteouts(Corpus& all) {
  all.push_back(
      {"Whiteouts", file(".wh.file", "") + file("etc/.wh.passwd", "") + file("new/.wh.nothing", "")});
  all.push_back({"WhiteoutAndBack", file(".wh.file", "") + file("file", "back")});
  all.push_back({"WhiteoutOfOwnFile", file("a", "") + file(".wh.a", ""), Fate::refused_on_top});
  all.push_back({"WhiteoutTwice", file(".wh.a", "") + file(".wh.a", ""), Fate::refused_on_top});
  all.push_back({"WhiteoutOfOwnDirectory",
                 directory("x") + file("d/e/f", "") + file("d/.wh.e", "") + file("x/.wh.y", ""),
                 Fate::refused_on_top});
  all.push_back({"WhiteoutOfNamedDirectory", directory("x/d") + file("x/.wh.d", ""), Fate::refused});
  all.push_back(
      {"WhiteoutWithOwnerAndContent",
       entry({.name = "d/.wh.x", .mode = "0004755", .uid = "0000005", .gid = "0000006"}, "content") +
           file("f", "")});
  all.push_back({"WhiteoutThatIsADirectory", directory("d/.wh.x") + symlink(".wh.y", "z")});
  all.push_back({"WhiteoutThroughALink", symlink("l", "etc") + file("l/.wh.passwd", "")});
  all.push_back({"Opaque", file("etc/.wh..wh..opq", "") + file("etc/new", "")});
  all.push_back({"OpaqueNamed", directory_of("etc", "0000700") + file("etc/.wh..wh..opq", "")});
  all.push_back({"OpaqueLate", file("etc/new", "") + directory("etc/d") + file("etc/d/f", "") +
                                   file("etc/i/f", "") + file("etc/.wh..wh..opq", "") +
                                   file("etc/late", "")});
  all.push_back({"OpaqueRoot", file(".wh..wh..opq", "") + file("f", "")});
  all.push_back({"WhiteoutWithoutName", file(".wh.", ""), Fate::refused});
  all.push_back({"WhiteoutOfDot", file("d/.wh..", ""), Fate::refused});
  all.push_back({"WhiteoutOfDotDot", file("d/.wh...", ""), Fate::refused});
  all.push_back(
      {"AufsMetadata", file(".wh..wh.plnk", "") + file(".wh..wh.aufs", "") + directory(".wh..wh.orph")});
  all.push_back({"FilesInAWhiteout", file(".wh.d/f", "x")});
}

void add_formats(Corpus& all) {
  all.push_back({"NoZeroBlocks", file("a", "x")});
  all.push_back({"OneZeroBlock", file("a", "x") + std::string(512, '\0')});
  all.push_back(
      {"ZeroBlockAmongOthers", file("a", "x") + std::string(512, '\0') + file("b", ""), Fate::refused});
  all.push_back({"GarbageAfterTheEnd", file("a", "x") + end() + "garbage" + file("b", "")});
  all.push_back({"CutInTheHeader", file("a", "").substr(0, 100), Fate::refused});
  all.push_back({"CutInTheContent", file("a", std::string(600, 'x')).substr(0, 1000), Fate::refused});
  all.push_back({"CutInThePadding", file("a", "x").substr(0, 600)});
  all.push_back({"CutAfterAnExtendedHeader", file("a", "x") + pax({{"path", "b"}})});
  all.push_back({"WrongChecksum", entry({.name = "a", .checksum = "0000000"}), Fate::refused});
  all.push_back({"SignedChecksum", entry({.name = "caf\xc3\xa9", .signed_checksum = true})});
  all.push_back({"InvalidNumber", entry({.name = "a", .mode = "0000x44"}), Fate::refused});
  all.push_back({"InvalidDeviceOfAFile", entry({.name = "a", .device_major = "x"}), Fate::refused});
  all.push_back(
      {"NegativeSize", entry({.name = "a", .size = base_256(-1, 12), .magic = gnu_magic}), Fate::refused});
  all.push_back(
      {"NegativeSizeOfADirectory",
       entry({.name = "a", .type = '5', .mode = "0000755", .size = base_256(-1, 12), .magic = gnu_magic})});
  all.push_back({"HugeSize", entry({.name = "a", .size = "77777777777"}), Fate::refused});
  all.push_back({"UstarPrefix", entry({.name = "name", .rest = "prefix/more"}, "x")});
  all.push_back({"PrefixInAGnuHeader", entry({.name = "name", .magic = gnu_magic, .rest = "prefix"}, "x")});
  all.push_back({"GnuLongNames", gnu_long('L', std::string(150, 'n') + "/f") + gnu_long('K', "target") +
                                     entry({.name = "x", .type = '2', .link = "y", .magic = gnu_magic})});
  all.push_back({"PaxAndGnuNames", pax({{"path", "pax"}}) + gnu_long('L', "gnu") + file("a", "")});
  all.push_back({"PaxSize", pax({{"size", "4"}}) + block({.name = "a"}) + padded("abcd") + file("b", "")});
  all.push_back({"PaxEmptyValues", pax({{"path", ""}, {"uid", ""}, {"mtime", ""}}) + file("a", "")});
  all.push_back({"PaxInvalid", entry({.name = "x", .type = 'x'}, "garbage") + file("a", ""), Fate::refused});
  all.push_back({"PaxNulInPath", pax({{"path", std::string("a\0b", 3)}}) + file("a", ""), Fate::refused});
  all.push_back({"PaxInvalidTime", pax({{"mtime", "yesterday"}}) + file("a", ""), Fate::refused});
  all.push_back(
      {"PaxTooLarge", pax({{"comment", std::string(1 << 20, 'c')}}) + file("a", ""), Fate::refused});
  all.push_back(
      {"GlobalHeader", pax({{"comment", "x"}, {"path", "pax_global_header"}}, 'g') + file("a", "")});
  all.push_back({"GlobalHeaderReplaces", file("a", "x") + file("d/e", "x") + pax({{"path", "a"}}, 'g') +
                                             pax({{"path", "d"}}, 'g') + file("b", "")});
  all.push_back({"GlobalHeaderMakesFolders", pax({{"path", "new/global"}}, 'g') + file("b", "")});
  all.push_back({"GlobalHeaderChangesNothing", pax({{"mtime", "5"}, {"uid", "5"}}, 'g') + file("b", "")});
  const Records text{{"GNU.sparse.major", "1"},
                     {"GNU.sparse.minor", "0"},
                     {"GNU.sparse.name", "real"},
                     {"GNU.sparse.realsize", "10000"}};
  all.push_back({"SparseInContent", pax(text) + file("s", padded("2\n0\n5\n8000\n3\n") + "abcdefgh")});
  all.push_back(
      {"SparseInHeader",
       pax({{"GNU.sparse.size", "10000"}, {"GNU.sparse.numblocks", "1"}, {"GNU.sparse.map", "9000,3"}}) +
           file("s", "abc")});
  all.push_back(
      {"SparseOfZeros",
       pax({{"GNU.sparse.size", "10000"}, {"GNU.sparse.numblocks", "1"}, {"GNU.sparse.map", "10000,0"}}) +
           file("s", "")});
  all.push_back(
      {"SparseTooMuchContent",
       pax({{"GNU.sparse.size", "10000"}, {"GNU.sparse.numblocks", "1"}, {"GNU.sparse.map", "9000,3"}}) +
           file("s", "abcd"),
       Fate::refused});
  all.push_back(
      {"SparseTooLittleContent",
       pax({{"GNU.sparse.size", "10000"}, {"GNU.sparse.numblocks", "1"}, {"GNU.sparse.map", "9000,3"}}) +
           file("s", "ab"),
       Fate::refused});
  all.push_back(
      {"SparseOverlapping",
       pax({{"GNU.sparse.size", "10000"}, {"GNU.sparse.numblocks", "2"}, {"GNU.sparse.map", "0,5,4,3"}}) +
           file("s", "abcdefgh"),
       Fate::refused});
  all.push_back(
      {"SparseOldGnu",
       entry({.name = "s", .type = 'S', .magic = gnu_magic, .rest = std::string(138, '\0') + octal(25, 11)}),
       Fate::refused});
}

void add_compressed(Corpus& all) {
  const auto tar = file("a", "x") + directory("d") + end();
  const auto half = tar.size() / 2;
  all.push_back({"Gzip", gzip(tar)});
  all.push_back({"GzipOfTwoMembers", gzip(tar.substr(0, half)) + gzip(tar.substr(half)) + gzip("")});
  all.push_back({"GzipThenZeros", gzip(tar) + std::string(512, '\0'), Fate::refused});
  all.push_back({"GzipThenOneZero", gzip(tar) + std::string(1, '\0'), Fate::refused});
  all.push_back({"GzipThenGarbage", gzip(tar) + "garbage garbage", Fate::refused});
  all.push_back({"GzipCutShort", gzip(tar).substr(0, gzip(tar).size() - 4), Fate::refused});
  auto wrong_sum = gzip(tar);
  wrong_sum[wrong_sum.size() - 6] = static_cast<char>(wrong_sum[wrong_sum.size() - 6] ^ 1);
  all.push_back({"GzipWrongChecksum", wrong_sum, Fate::refused});
  all.push_back({"GzipOfNothing", gzip("")});
  all.push_back({"Zstd", zstd(tar)});
  all.push_back({"ZstdOfSeveralFrames",
                 skippable_frame() + zstd(tar.substr(0, half)) + skippable_frame() + zstd(tar.substr(half))});
  all.push_back({"ZstdCutShort", zstd(tar).substr(0, zstd(tar).size() - 4), Fate::refused});
  all.push_back({"ZstdThenGarbage", zstd(tar) + "garbage garbage", Fate::refused});
}

Corpus make_corpus() {
  Corpus all;
  add_names(all);
  add_kinds(all);
  add_attributes(all);
  add_replacing(all);
  add_links(all);
  add_whiteouts(all);
  add_formats(all);
  add_compressed(all);
  return all;
}

}  // namespace

void PrintTo(const CorpusCase& one, std::ostream* out) {
  *out << one.name;
}

const std::vector<CorpusCase>& tar_corpus() {
  static const Corpus corpus = make_corpus();
  return corpus;
}

std::string corpus_lower_layer() {
  return pax({{"SCHILY.xattr.user.colour", "red"}, {"mtime", "1400000000"}}) +
         directory_of("etc", "0001750", "0000007") + file("etc/passwd", "root") +
         directory_of("usr", "0000711") + directory_of("usr/bin", "0002775", "0000005") +
         file("usr/bin/tool", "tool") + directory("usr/lib") + symlink("lib", "usr/lib") +
         file("file", "lower") + end();
}

}  // namespace lazypull::test
