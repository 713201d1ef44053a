#include "snapshot/unpack/inflate.hpp"

#include "engine/error.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <isa-l/igzip_lib.h>
#include <limits>
#include <string>
#include <zstd.h>

namespace lazypull {

class Inflater::Decoder {
 public:
  Decoder(ByteOutput& output, std::uint64_t limit) : output_(output), left_(limit) {}
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  virtual ~Decoder() = default;

  virtual void write(std::span<const std::byte> compressed) = 0;
  virtual void finish() = 0;

 protected:
  [[noreturn]] static void fail(const std::string& why) { throw Error(Errc::invalid_image, why); }

  std::span<std::byte> room() { return output_.room(); }
  void produced(std::size_t bytes) {
    if (bytes == 0) return;
    if (bytes > left_) fail("the layer is larger than allowed when it is decompressed");
    left_ -= bytes;
    output_.produced(bytes);
  }

 private:
  ByteOutput& output_;
  std::uint64_t left_;
};

namespace {

class PlainDecoder final : public Inflater::Decoder {
 public:
  using Decoder::Decoder;

  void write(std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      const auto free = room();
      const auto part = std::min(free.size(), bytes.size());
      std::memcpy(free.data(), bytes.data(), part);
      produced(part);
      bytes = bytes.subspan(part);
    }
  }
  void finish() override {}
};

const char* gzip_problem(int code) {
  switch (code) {
    case ISAL_INVALID_WRAPPER:
      return "what follows a gzip member is not another one";
    case ISAL_UNSUPPORTED_METHOD:
      return "gzip member with an unknown compression method";
    case ISAL_INCORRECT_CHECKSUM:
      return "gzip member with a wrong checksum or size";
    default:
      return "invalid deflate data";
  }
}

/// Go's compress/gzip, which containerd uses, is the measure of what is accepted: members one after another
/// and nothing else, not even zeros.
class GzipDecoder final : public Inflater::Decoder {
 public:
  GzipDecoder(ByteOutput& output, std::uint64_t limit)
      : Decoder(output, limit), state_(std::make_unique<inflate_state>()) {
    isal_inflate_init(state_.get());
    expect_member();
  }

  void write(std::span<const std::byte> bytes) override {
    constexpr std::size_t most = std::numeric_limits<std::uint32_t>::max() / 2;
    while (!bytes.empty()) {
      const auto part = bytes.first(std::min(bytes.size(), most));
      write_part(part);
      bytes = bytes.subspan(part.size());
    }
  }

  void finish() override {
    if (phase_ != Phase::between) fail("the gzip stream is cut short");
  }

 private:
  enum class Phase { between, header, body };

  void expect_member() {
    isal_inflate_reset(state_.get());
    isal_gzip_header_init(&header_);
    phase_ = Phase::between;
  }

  void write_part(std::span<const std::byte> bytes) {
    // The library does not write through this pointer; its interface is C without const.
    state_->next_in = reinterpret_cast<std::uint8_t*>(const_cast<std::byte*>(bytes.data()));
    state_->avail_in = static_cast<std::uint32_t>(bytes.size());
    bool more_output = false;
    while (state_->avail_in > 0 || more_output) {
      if (phase_ == Phase::body) {
        more_output = inflate_body();
      } else {
        read_header();
      }
    }
  }

  void read_header() {
    phase_ = Phase::header;
    const int result = isal_read_gzip_header(state_.get(), &header_);
    if (result == ISAL_END_INPUT) return;
    if (result != ISAL_DECOMP_OK) fail(gzip_problem(result));
    state_->crc_flag = ISAL_GZIP_NO_HDR_VER;
    phase_ = Phase::body;
  }

  /// True if there may be more output without more input.
  bool inflate_body() {
    const auto free = room();
    constexpr std::size_t most = std::numeric_limits<std::uint32_t>::max() / 2;
    const auto size = static_cast<std::uint32_t>(std::min(free.size(), most));
    state_->next_out = reinterpret_cast<std::uint8_t*>(free.data());
    state_->avail_out = size;
    const auto input = state_->avail_in;
    const int result = isal_inflate(state_.get());
    const auto filled = size - state_->avail_out;
    produced(filled);
    if (result < 0 || result == ISAL_NEED_DICT) fail(gzip_problem(result));
    if (state_->block_state == ISAL_BLOCK_FINISH) {
      expect_member();
      return false;
    }
    if (filled == 0 && input == state_->avail_in && input > 0) fail("invalid deflate data");
    return state_->avail_out == 0;
  }

  std::unique_ptr<inflate_state> state_;
  isal_gzip_header header_{};
  Phase phase_ = Phase::between;
};

class ZstdDecoder final : public Inflater::Decoder {
 public:
  ZstdDecoder(ByteOutput& output, std::uint64_t limit, int window_log)
      : Decoder(output, limit), context_(ZSTD_createDCtx()) {
    if (!context_) throw Error(Errc::internal, "no memory for a Zstandard decoder");
    ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, window_log);
  }

  void write(std::span<const std::byte> bytes) override {
    ZSTD_inBuffer input{bytes.data(), bytes.size(), 0};
    bool more_output = false;
    while (input.pos < input.size || more_output) {
      const auto free = room();
      ZSTD_outBuffer out{free.data(), free.size(), 0};
      const auto before = input.pos;
      const auto result = ZSTD_decompressStream(context_.get(), &out, &input);
      produced(out.pos);
      if (ZSTD_isError(result) != 0)
        fail(std::string("invalid Zstandard data: ") + ZSTD_getErrorName(result));
      in_frame_ = result != 0;
      more_output = in_frame_ && out.pos == out.size;
      if (out.pos == 0 && input.pos == before && input.pos < input.size) fail("invalid Zstandard data");
    }
  }

  void finish() override {
    if (in_frame_) fail("the Zstandard stream is cut short");
  }

 private:
  struct Free {
    void operator()(ZSTD_DCtx* context) const noexcept { ZSTD_freeDCtx(context); }
  };
  std::unique_ptr<ZSTD_DCtx, Free> context_;
  bool in_frame_ = false;
};

enum class Compression { unknown_yet, none, gzip, zstd };

constexpr std::array<std::uint8_t, 3> gzip_magic{0x1f, 0x8b, 0x08};
constexpr std::array<std::uint8_t, 4> zstd_magic{0x28, 0xb5, 0x2f, 0xfd};
constexpr std::array<std::uint8_t, 3> skippable_tail{0x2a, 0x4d, 0x18};  // after 0x50 to 0x5f

bool starts_with(std::span<const std::byte> head, std::span<const std::uint8_t> magic) {
  return head.size() >= magic.size() && std::memcmp(head.data(), magic.data(), magic.size()) == 0;
}

Compression compression_of(std::span<const std::byte> head, std::size_t enough) {
  if (starts_with(head, gzip_magic)) return Compression::gzip;
  if (starts_with(head, zstd_magic)) return Compression::zstd;
  if (head.size() < enough) return Compression::unknown_yet;
  const bool skippable =
      (head.front() & std::byte{0xf0}) == std::byte{0x50} && starts_with(head.subspan(1), skippable_tail);
  return skippable ? Compression::zstd : Compression::none;
}

}  // namespace

Inflater::Inflater(ByteOutput& output, InflateLimits limits) : output_(output), limits_(limits) {}

Inflater::~Inflater() = default;

void Inflater::write(std::span<const std::byte> compressed) {
  if (!decoder_) {
    const auto part = std::min(sizeof head_ - head_bytes_, compressed.size());
    std::memcpy(head_ + head_bytes_, compressed.data(), part);
    head_bytes_ += part;
    compressed = compressed.subspan(part);
    decide();
    if (!decoder_) return;
    decoder_->write(std::span(head_).first(head_bytes_));
  }
  if (!compressed.empty()) decoder_->write(compressed);
}

void Inflater::decide() {
  switch (compression_of(std::span(head_).first(head_bytes_), sizeof head_)) {
    case Compression::unknown_yet:
      break;
    case Compression::none:
      decoder_ = std::make_unique<PlainDecoder>(output_, limits_.output_bytes);
      break;
    case Compression::gzip:
      decoder_ = std::make_unique<GzipDecoder>(output_, limits_.output_bytes);
      break;
    case Compression::zstd:
      decoder_ = std::make_unique<ZstdDecoder>(output_, limits_.output_bytes, limits_.zstd_window_log);
      break;
  }
}

void Inflater::finish() {
  if (!decoder_) {
    // Less than any magic number needs: as it is.
    decoder_ = std::make_unique<PlainDecoder>(output_, limits_.output_bytes);
    decoder_->write(std::span(head_).first(head_bytes_));
  }
  decoder_->finish();
}

}  // namespace lazypull
