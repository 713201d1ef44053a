#include "snapshot/unpack/inflate.hpp"

#include "engine/error.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>
#include <zlib.h>
#include <zstd.h>

namespace lazypull {
namespace {

class Collected final : public ByteOutput {
 public:
  explicit Collected(std::size_t room) : room_(room) {}
  std::span<std::byte> room() override { return room_; }
  void produced(std::size_t bytes) override {
    text.append(reinterpret_cast<const char*>(room_.data()), bytes);
  }
  std::string text;

 private:
  std::vector<std::byte> room_;
};

std::string inflate_in_pieces(const std::string& compressed, std::size_t piece, std::size_t room,
                              InflateLimits limits = {}) {
  Collected output(room);
  Inflater inflater(output, limits);
  auto rest = std::as_bytes(std::span(compressed));
  while (!rest.empty()) {
    const auto part = rest.first(std::min(piece, rest.size()));
    inflater.write(part);
    rest = rest.subspan(part.size());
  }
  inflater.finish();
  return output.text;
}

// Through pieces and rooms of several sizes, always with the same result.
std::string inflated(const std::string& compressed) {
  const auto whole = inflate_in_pieces(compressed, compressed.size() + 1, 1 << 20);
  for (const std::size_t piece : {1U, 7U, 512U, 5000U}) {
    for (const std::size_t room : {1U, 333U, 1U << 16U}) {
      EXPECT_EQ(inflate_in_pieces(compressed, piece, room), whole) << piece << " " << room;
    }
  }
  return whole;
}

std::string refusal_of(const std::string& compressed) {
  std::string message;
  for (const std::size_t piece : {std::size_t{1}, std::size_t{100}, compressed.size() + 1}) {
    try {
      inflate_in_pieces(compressed, piece, 1 << 16);
      ADD_FAILURE() << "accepted in pieces of " << piece;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::invalid_image);
      message = error.message();
    }
  }
  return message;
}

std::string deflated(const std::string& text, int window_bits, int level, gz_header* header) {
  z_stream stream{};
  if (::deflateInit2(&stream, level, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    throw std::runtime_error("deflateInit2");
  }
  if (header != nullptr) ::deflateSetHeader(&stream, header);
  std::string bytes(::deflateBound(&stream, text.size()) + 100, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(bytes.data());
  stream.avail_out = static_cast<uInt>(bytes.size());
  const int result = ::deflate(&stream, Z_FINISH);
  bytes.resize(stream.total_out);
  ::deflateEnd(&stream);
  if (result != Z_STREAM_END) throw std::runtime_error("deflate");
  return bytes;
}

std::string gzip(const std::string& text, int level = 6, gz_header* header = nullptr) {
  return deflated(text, 31, level, header);
}

std::string zstd(const std::string& text, bool checksum = true, int window_log = 0) {
  ZSTD_CCtx* context = ::ZSTD_createCCtx();
  ::ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, checksum ? 1 : 0);
  if (window_log != 0) {
    ::ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
    ::ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  }
  std::string bytes(::ZSTD_compressBound(text.size()), '\0');
  ZSTD_inBuffer input{text.data(), text.size(), 0};
  ZSTD_outBuffer output{bytes.data(), bytes.size(), 0};
  // The size is not told in advance, so that the window is what was asked for.
  ::ZSTD_compressStream2(context, &output, &input, ZSTD_e_flush);
  const auto left = ::ZSTD_compressStream2(context, &output, &input, ZSTD_e_end);
  ::ZSTD_freeCCtx(context);
  if (left != 0) throw std::runtime_error("ZSTD_compressStream2");
  bytes.resize(output.pos);
  return bytes;
}

std::string skippable_frame(const std::string& content) {
  std::string frame("\x57\x2a\x4d\x18", 4);
  frame += static_cast<char>(content.size());
  frame += std::string("\0\0\0", 3);
  return frame + content;
}

// Compressible, and longer than a deflate window.
std::string sample(std::size_t size = 200'000) {
  std::string text;
  std::uint32_t state = 1;
  while (text.size() < size) {
    state = state * 1664525U + 1013904223U;
    text += "line " + std::to_string(state >> 20U) + (state % 3 == 0 ? "\n" : " and so on\n");
  }
  return text;
}

TEST(Inflater, PassesOnWhatIsNotCompressed) {
  EXPECT_EQ(inflated(""), "");
  EXPECT_EQ(inflated("a"), "a");
  EXPECT_EQ(inflated("\x1f\x8b"), "\x1f\x8b");
  EXPECT_EQ(inflated("\x28\xb5\x2f"), "\x28\xb5\x2f");
  EXPECT_EQ(inflated("\x50\x2a\x4d\x18"), "\x50\x2a\x4d\x18");
  EXPECT_EQ(inflated("BZh91AY&SY"), "BZh91AY&SY");
  EXPECT_EQ(inflated(sample()), sample());
}

TEST(Inflater, InflatesGzip) {
  for (const int level : {0, 1, 6, 9}) {
    EXPECT_EQ(inflated(gzip(sample(), level)), sample()) << level;
  }
  EXPECT_EQ(inflated(gzip("")), "");
  EXPECT_EQ(inflated(gzip("x")), "x");
}

TEST(Inflater, InflatesGzipOfAFewMebibytesInLargeRooms) {
  const auto text = sample(5'000'000);
  EXPECT_EQ(inflate_in_pieces(gzip(text), 1 << 16, 1 << 20), text);
  EXPECT_EQ(inflate_in_pieces(gzip(std::string(20'000'000, '\0')), 1 << 16, 1 << 19),
            std::string(20'000'000, '\0'));
}

TEST(Inflater, ReadsWholeGzipHeaders) {
  gz_header header{};
  std::string name(300, 'n');
  std::string comment = "a comment";
  std::string extra(70, 'e');
  header.name = reinterpret_cast<Bytef*>(name.data());
  header.comment = reinterpret_cast<Bytef*>(comment.data());
  header.extra = reinterpret_cast<Bytef*>(extra.data());
  header.extra_len = static_cast<uInt>(extra.size());
  header.hcrc = 1;
  auto bytes = gzip("text", 6, &header);
  EXPECT_EQ(inflated(bytes), "text");
  bytes[5] = static_cast<char>(bytes[5] ^ 1);  // the time
  refusal_of(bytes);
}

TEST(Inflater, InflatesSeveralGzipMembers) {
  EXPECT_EQ(inflated(gzip("one ") + gzip("two ", 0) + gzip(sample(1000)) + gzip("")),
            "one two " + sample(1000));
  // As in eStargz: a member for each file, and an empty one with a field of its own at the end.
  std::string many;
  std::string expected;
  for (int i = 0; i < 50; ++i) {
    expected += std::to_string(i);
    many += gzip(std::to_string(i));
  }
  gz_header footer{};
  std::string extra(
      "SG\x16\0"
      "0000000000001234STARGZ",
      26);
  footer.extra = reinterpret_cast<Bytef*>(extra.data());
  footer.extra_len = static_cast<uInt>(extra.size());
  EXPECT_EQ(inflated(many + gzip("", 0, &footer)), expected);
}

TEST(Inflater, RefusesWhatFollowsAGzipMember) {
  EXPECT_EQ(refusal_of(gzip("x") + "garbage, and more of it"),
            "what follows a gzip member is not another one");
  refusal_of(gzip("x") + std::string(512, '\0'));
  refusal_of(gzip("x") + "g");
  refusal_of(gzip("x") + std::string(1, '\0'));
  refusal_of(gzip("x") + "\x1f");
  refusal_of(gzip("x") + zstd("x"));
}

TEST(Inflater, RefusesGzipThatIsCutShort) {
  const auto bytes = gzip(sample(3000));
  for (std::size_t size = 3; size < bytes.size(); size += size < 20 || size + 20 > bytes.size() ? 1 : 37) {
    EXPECT_EQ(refusal_of(bytes.substr(0, size)), "the gzip stream is cut short") << size;
  }
}

TEST(Inflater, ChecksSumAndSizeOfGzip) {
  const auto good = gzip(sample(3000));
  for (std::size_t from_end = 1; from_end <= 8; ++from_end) {
    auto bad = good;
    auto& byte = bad[bad.size() - from_end];
    byte = static_cast<char>(byte ^ 4);
    EXPECT_EQ(refusal_of(bad), "gzip member with a wrong checksum or size") << from_end;
  }
}

TEST(Inflater, RefusesInvalidDeflateData) {
  auto bytes = gzip(sample(3000));
  bytes.replace(10, 20, std::string(20, '\xff'));
  EXPECT_EQ(refusal_of(bytes), "invalid deflate data");
}

TEST(Inflater, EveryDamagedByteIsNoticedOrHarmless) {
  const auto text = sample(2000);
  const auto good = gzip(text);
  for (std::size_t at = 10; at < good.size(); ++at) {
    auto bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    EXPECT_THROW(inflate_in_pieces(bad, 64, 512), Error) << at;
  }
}

TEST(Inflater, InflatesZstandard) {
  EXPECT_EQ(inflated(zstd(sample())), sample());
  EXPECT_EQ(inflated(zstd("")), "");
  EXPECT_EQ(inflated(zstd(sample(), false)), sample());
  EXPECT_EQ(inflated(zstd("one ") + zstd("two")), "one two");
}

TEST(Inflater, SkipsSkippableZstandardFrames) {
  EXPECT_EQ(inflated(skippable_frame("table of contents") + zstd("x") + skippable_frame("footer")), "x");
  EXPECT_EQ(inflated(skippable_frame("")), "");
}

TEST(Inflater, RefusesInvalidZstandard) {
  const auto good = zstd(sample(3000));
  for (std::size_t size = 4; size < good.size(); size += 29) {
    EXPECT_EQ(refusal_of(good.substr(0, size)), "the Zstandard stream is cut short") << size;
  }
  auto bad = good;
  bad.back() = static_cast<char>(bad.back() ^ 1);
  EXPECT_EQ(refusal_of(bad), "invalid Zstandard data: Restored data doesn't match checksum");
  refusal_of(good + "garbage, and more");
  refusal_of(good + std::string(512, '\0'));
}

TEST(Inflater, LimitsTheMemoryOfZstandard) {
  const auto bytes = zstd(sample(), true, 24);
  EXPECT_EQ(inflate_in_pieces(bytes, 1000, 1 << 16, {.zstd_window_log = 24}), sample());
  EXPECT_THROW(inflate_in_pieces(bytes, 1000, 1 << 16, {.zstd_window_log = 20}), Error);
}

TEST(Inflater, LimitsTheOutput) {
  for (const auto& bytes : {gzip(sample(5000)), zstd(sample(5000)), sample(5000)}) {
    const auto size = sample(5000).size();
    EXPECT_EQ(inflate_in_pieces(bytes, 1000, 999, {.output_bytes = size}).size(), size);
    EXPECT_THROW(inflate_in_pieces(bytes, 1000, 999, {.output_bytes = size - 1}), Error);
  }
}

}  // namespace
}  // namespace lazypull
