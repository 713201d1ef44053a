// Layers that are made to do harm: to fill memory or time, or to reach outside of their folder. Each has the
// error that it must give; where an archive only seems to lead outside, as containerd sees it too, it is
// shown to stay inside.
#include "engine/error.hpp"
#include "snapshot/unpack/extractor.hpp"
#include "snapshot/unpack/inflate.hpp"
#include "snapshot/unpack/tar_reader.hpp"
#include "tests/support/raw_tar.hpp"
#include "tests/support/temp_dir.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <fcntl.h>
#include <functional>
#include <unistd.h>
#include <vector>
#include <zlib.h>
#include <zstd.h>

namespace lazypull {
namespace {

namespace fs = std::filesystem;
using namespace test::raw_tar;

void expect_refused(const std::function<void()>& work, Errc code, const std::string& message) {
  try {
    work();
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.message();
    EXPECT_EQ(error.message(), message);
  }
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

// ---- decompression ----

/// Counts, and keeps nothing.
class Counted final : public ByteOutput {
 public:
  std::span<std::byte> room() override { return room_; }
  void produced(std::size_t bytes) override { total += bytes; }
  std::uint64_t total = 0;

 private:
  std::vector<std::byte> room_{std::size_t{1} << 20U};
};

std::string gzip_of_zeros(std::size_t size) {
  z_stream stream{};
  if (deflateInit2(&stream, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    throw std::runtime_error("zlib");
  std::string zeros(size, '\0');
  std::string compressed(deflateBound(&stream, size), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(zeros.data());
  stream.avail_in = static_cast<uInt>(zeros.size());
  stream.next_out = reinterpret_cast<Bytef*>(compressed.data());
  stream.avail_out = static_cast<uInt>(compressed.size());
  deflate(&stream, Z_FINISH);
  compressed.resize(stream.total_out);
  deflateEnd(&stream);
  return compressed;
}

std::string zstd_of_zeros(std::size_t size) {
  const std::string zeros(size, '\0');
  std::string compressed(ZSTD_compressBound(size), '\0');
  compressed.resize(ZSTD_compress(compressed.data(), compressed.size(), zeros.data(), size, 3));
  return compressed;
}

void inflate(const std::string& compressed, InflateLimits limits) {
  Counted output;
  Inflater inflater(output, limits);
  try {
    inflater.write(bytes_of(compressed));
    inflater.finish();
  } catch (...) {
    EXPECT_LE(output.total, limits.output_bytes);
    throw;
  }
}

TEST(CompressedBomb, OfGzipEndsAtTheLimit) {
  const auto bomb = gzip_of_zeros(32U << 20U);
  ASSERT_LT(bomb.size(), 40'000U) << "1000 times smaller";
  expect_refused([&] { inflate(bomb, {.output_bytes = 8U << 20U}); }, Errc::invalid_image,
                 "the layer is larger than allowed when it is decompressed");
}

TEST(CompressedBomb, OfManyGzipMembersEndsAtTheLimit) {
  const auto member = gzip_of_zeros(1U << 20U);
  std::string bomb;
  for (int i = 0; i < 20; ++i) bomb += member;
  expect_refused([&] { inflate(bomb, {.output_bytes = 8U << 20U}); }, Errc::invalid_image,
                 "the layer is larger than allowed when it is decompressed");
}

TEST(CompressedBomb, OfZstandardEndsAtTheLimit) {
  const auto bomb = zstd_of_zeros(32U << 20U);
  ASSERT_LT(bomb.size(), 10'000U) << "more than 6000 times smaller";
  expect_refused([&] { inflate(bomb, {.output_bytes = 8U << 20U}); }, Errc::invalid_image,
                 "the layer is larger than allowed when it is decompressed");
}

TEST(CompressedBomb, OfAWindowThatNeedsMuchMemoryIsRefused) {
  // A frame header with a window of 2 GiB (RFC 8878, section 3.1.1.1.2), then an empty last block.
  const std::string frame("\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00", 9);
  expect_refused([&] { inflate(frame, {}); }, Errc::invalid_image,
                 "invalid Zstandard data: Frame requires too much memory for decoding");
}

// ---- tar ----

class Ignored final : public TarVisitor {
 public:
  explicit Ignored(bool wants) : wants_(wants) {}
  bool entry(const TarEntry&) override { return wants_; }
  void data(std::span<const std::byte>) override {}
  void hole(std::uint64_t) override {}
  void end_of_entry() override {}

 private:
  bool wants_;
};

void read_archive(const std::string& archive, TarLimits limits, bool wanted = true) {
  Ignored visitor(wanted);
  TarReader reader(visitor, limits);
  reader.write(bytes_of(archive));
  reader.finish();
}

TEST(TarBomb, OfTooManyEntriesIsRefused) {
  std::string archive;
  for (int i = 0; i < 11; ++i) archive += file("f" + std::to_string(i), "");
  expect_refused([&] { read_archive(archive, {.entries = 10}); }, Errc::invalid_image,
                 "tar archive at byte 5120: more entries than allowed");
}

TEST(TarBomb, OfBytesAfterItsEndIsRefused) {
  const auto archive = file("f", "x") + end();
  read_archive(archive + std::string(1'000'000, '\0'), {.idle_bytes = 1'000'000});
  expect_refused([&] { read_archive(archive + std::string(1'000'001, '\0'), {.idle_bytes = 1'000'000}); },
                 Errc::invalid_image,
                 "tar archive at byte 1024: more than 1000000 bytes in it are of no file");
}

TEST(TarBomb, OfContentThatNobodyWantsIsRefused) {
  const auto whiteout = file("d/.wh.f", std::string(600'000, 'x'));
  read_archive(whiteout, {.idle_bytes = 1'000'000}, false);
  expect_refused([&] { read_archive(whiteout + whiteout, {.idle_bytes = 1'000'000}, false); },
                 Errc::invalid_image,
                 "tar archive at byte 600576: more than 1000000 bytes in it are of no file");
}

TEST(TarBomb, OfALongHeaderIsRefused) {
  const auto header = pax({{"comment", std::string(2U << 20U, 'x')}}) + file("f", "");
  expect_refused([&] { read_archive(header, {}); }, Errc::invalid_image,
                 "tar archive at byte 0: an extended header that is too large");
  const auto name = gnu_long('L', std::string(2U << 20U, 'x')) + file("f", "");
  expect_refused([&] { read_archive(name, {}); }, Errc::invalid_image,
                 "tar archive at byte 0: an extended header that is too large");
}

// ---- files ----

/// The layer's folder is beside one that must never change.
class HostileLayer : public testing::Test {
 protected:
  HostileLayer() {
    fs::create_directory(root());
    test::write_file(outside() / "secret", "untouched");
    ::chmod((outside() / "secret").c_str(), 0640);
  }
  ~HostileLayer() override {
    EXPECT_EQ(test::read_file(outside() / "secret"), "untouched");
    EXPECT_EQ(std::distance(fs::directory_iterator(outside()), {}), 1);
    EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), {}), 2);
    struct stat info{};
    EXPECT_EQ(::lstat((outside() / "secret").c_str(), &info), 0);
    EXPECT_EQ(info.st_nlink, 1U);
    EXPECT_EQ(info.st_mode & 07777U, 0640U);
  }

  fs::path root() const { return folder_ / "root"; }
  fs::path outside() const { return folder_ / "outside"; }

  void extract(const std::string& archive, ExtractOptions options = {}) const {
    const int descriptor = ::open(root().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    Extractor extractor(descriptor, options);
    ::close(descriptor);
    extractor.write(bytes_of(archive));
    extractor.finish();
  }
  void expect_layer_refused(const std::string& archive, const std::string& message,
                            ExtractOptions options = {}) const {
    expect_refused([&] { extract(archive, options); }, Errc::invalid_image, message);
  }
  static ExtractOptions limited(ExtractLimits limits) {
    ExtractOptions options;
    options.limits = limits;
    return options;
  }
  bool exists(const std::string& name) const {
    return fs::symlink_status(root() / name).type() != fs::file_type::not_found;
  }

  test::TempDir folder_{"hostile"};
};

TEST_F(HostileLayer, APathThatLeadsUpStaysInside) {
  extract(file("../outside/secret", "1") + file("a/../../../outside/secret", "2") +
          file("/outside/new", "3"));
  EXPECT_EQ(test::read_file(root() / "outside/secret"), "2");
  EXPECT_EQ(test::read_file(root() / "outside/new"), "3");
}

TEST_F(HostileLayer, ASymbolicLinkThatLeadsOutIsFollowedInside) {
  extract(symlink("relative", "../../../../../../" + outside().string()) +
          symlink("absolute", outside().string()) + file("relative/secret", "1") +
          file("absolute/other", "2"));
  EXPECT_EQ(test::read_file(root().string() + outside().string() + "/secret"), "1");
  EXPECT_EQ(test::read_file(root().string() + outside().string() + "/other"), "2");
}

TEST_F(HostileLayer, AFolderThatBecomesALinkIsNotWrittenThrough) {
  extract(directory("d") + file("d/f", "1") + symlink("d", outside().string()) + file("d/secret", "2"));
  EXPECT_EQ(test::read_file(root().string() + outside().string() + "/secret"), "2");
}

TEST_F(HostileLayer, AHardLinkOutOfTheTreeIsRefused) {
  for (const auto& target : {outside().string() + "/secret", std::string("../outside/secret"),
                             std::string("../../../../../../etc/passwd"), std::string("/etc/passwd")}) {
    expect_layer_refused(hard_link("h", target), "h: link it: No such file or directory");
  }
}

TEST_F(HostileLayer, AHardLinkThroughASymbolicLinkIsRefused) {
  expect_layer_refused(symlink("out", outside().string()) + hard_link("h", "out/secret"),
                       "h: link it: No such file or directory");
}

TEST_F(HostileLayer, AHardLinkToALinkIsALinkAndNotWhatItPointsTo) {
  extract(symlink("l", (outside() / "secret").string()) + hard_link("h", "l") + file("h", "mine"));
  EXPECT_EQ(test::read_file(root() / "h"), "mine");
}

TEST_F(HostileLayer, AWhiteoutThatLeadsUpIsRefused) {
  expect_layer_refused(file("d/.wh...", ""), "d/.wh...: an invalid whiteout");
  expect_layer_refused(file("d/.wh..", ""), "d/.wh..: an invalid whiteout");
}

TEST_F(HostileLayer, AWhiteoutThroughALinkRemovesNothingOutside) {
  extract(symlink("out", outside().string()) + file("out/.wh.secret", ""));
}

TEST_F(HostileLayer, ALoopOfLinksIsRefused) {
  expect_layer_refused(symlink("a", "b") + symlink("b", "a") + file("a/f", ""), "b: too many symbolic links");
}

TEST_F(HostileLayer, ADeviceIsLeftOutWhereItMayNotBeMade) {
  extract(entry({.name = "disk", .type = '4', .device_major = "0000010", .device_minor = "0000000"}) +
              entry({.name = "null", .type = '3', .device_major = "0000001", .device_minor = "0000003"}) +
              file("f", "x"),
          {.privileged = false});
  EXPECT_FALSE(exists("disk"));
  EXPECT_FALSE(exists("null"));
  EXPECT_TRUE(exists("f"));
}

TEST_F(HostileLayer, OverlayfsOwnAttributesOfAnArchiveAreLeftOut) {
  extract(pax({{"SCHILY.xattr.trusted.overlay.redirect", "/outside"},
               {"SCHILY.xattr.trusted.overlay.metacopy", ""}}) +
          directory("d"));
  EXPECT_LT(::getxattr((root() / "d").c_str(), "trusted.overlay.redirect", nullptr, 0), 0);
  EXPECT_LT(::getxattr((root() / "d").c_str(), "trusted.overlay.metacopy", nullptr, 0), 0);
}

TEST_F(HostileLayer, OfTooManyBytesIsRefused) {
  expect_layer_refused(file("a", std::string(600, 'x')) + file("b", std::string(600, 'x')),
                       "b: the layer is larger than allowed", limited({.bytes = 1000}));
}

TEST_F(HostileLayer, OfASparseFileThatIsLargerThanAnyDiskIsRefused) {
  const auto sparse = pax({{"GNU.sparse.major", "1"},
                           {"GNU.sparse.minor", "0"},
                           {"GNU.sparse.realsize", "9223372036854775807"}}) +
                      file("s", padded("0\n"));
  expect_layer_refused(sparse, "s: the layer is larger than allowed");
}

TEST_F(HostileLayer, OfFoldersThatAreNestedTooDeepIsRefused) {
  std::string name = "d";
  for (int i = 0; i < 20; ++i) name += "/d";
  expect_layer_refused(file(name, ""), name + ": directories that are nested too deeply",
                       limited({.depth = 10}));
}

TEST_F(HostileLayer, OfAPathThatIsTooLongIsRefused) {
  std::string name;
  for (int i = 0; i < 100; ++i) name += std::string(50, 'n') + "/";
  expect_layer_refused(pax({{"path", name + "f"}}) + file("x", ""),
                       name.substr(0, 100) + "…: a path that is too long");
}

TEST_F(HostileLayer, OfMorePathsThanMemoryShouldHoldIsRefused) {
  std::string archive;
  for (int i = 0; i < 30; ++i) archive += directory(std::to_string(1000 + i));
  expect_layer_refused(archive, "1025: more directories than allowed", limited({.directory_bytes = 100}));
}

TEST_F(HostileLayer, OfEntriesWithoutEndIsRefused) {
  std::string archive;
  for (int i = 0; i < 30; ++i) archive += file(std::to_string(i), "");
  expect_layer_refused(archive, "tar archive at byte 5120: more entries than allowed",
                       limited({.entries = 10}));
}

TEST_F(HostileLayer, OfAnUnknownTypeIsRefused) {
  expect_layer_refused(entry({.name = "a", .type = '7'}), "a: an entry of the unknown type 55");
}

}  // namespace
}  // namespace lazypull
