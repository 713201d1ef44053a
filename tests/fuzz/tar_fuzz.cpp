#include "engine/error.hpp"
#include "snapshot/unpack/tar_reader.hpp"
#include "tests/fuzz/fuzz_target.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace lazypull::fuzz {

namespace {

// Writes down what it is told, so that two readings can be compared.
class Protocol : public TarVisitor {
 public:
  bool entry(const TarEntry& entry) override {
    require(!open_, "one entry at a time");
    ++entries_;
    const bool wanted = entries_ % 5 != 4;  // some are skipped
    open_ = wanted;
    text_ += entry.type;
    for (const auto* part : {&entry.name, &entry.link}) text_.append(*part).append("\n");
    for (const auto number : {entry.mode, entry.uid, entry.gid, entry.device_major, entry.device_minor,
                              entry.size, entry.modified.seconds, entry.accessed.seconds}) {
      text_.append(std::to_string(number)).append(" ");
    }
    require(entry.modified.nanoseconds < 1'000'000'000, "nanoseconds are a part of a second");
    require(!wanted || !has_content(entry.type) || entry.size >= 0, "content has a size");
    for (const auto& xattr : entry.xattrs) text_.append(xattr.name).append("=").append(xattr.value);
    size_ = entry.size;
    filled_ = 0;
    return wanted;
  }
  void data(std::span<const std::byte> bytes) override {
    require(open_, "content belongs to an entry");
    data_bytes_ += bytes.size();
    filled_ += bytes.size();
    for (const auto byte : bytes) sum_ = sum_ * 31 + std::to_integer<std::uint64_t>(byte);
  }
  void hole(std::uint64_t bytes) override {
    require(open_, "a hole belongs to an entry");
    filled_ += bytes;
    sum_ = sum_ * 31 + bytes % 7;  // holes come whole, whatever the pieces
  }
  void end_of_entry() override {
    require(open_, "only an entry ends");
    open_ = false;
    text_.append(std::to_string(sum_)).append(";");
    require(filled_ == 0 || filled_ == static_cast<std::uint64_t>(size_),
            "content is as long as it was said");
  }

  const std::string& text() const { return text_; }
  std::size_t data_bytes() const { return data_bytes_; }
  std::size_t entries() const { return entries_; }

 private:
  std::string text_;
  std::uint64_t sum_ = 0;
  std::uint64_t filled_ = 0;
  std::int64_t size_ = 0;
  std::size_t data_bytes_ = 0;
  std::size_t entries_ = 0;
  bool open_ = false;
};

struct Reading {
  std::string text;
  std::string failure;
};

Reading read(Bytes archive, std::size_t piece) {
  Protocol protocol;
  Reading reading;
  try {
    TarReader reader(protocol);
    for (auto rest = archive; !rest.empty();) {
      const auto now = rest.first(std::min(piece, rest.size()));
      reader.write(now);
      rest = rest.subspan(now.size());
    }
    reader.finish();
  } catch (const Error& error) {
    require(error.code() == Errc::invalid_image, "refused as an image", error.message());
    require_message(error.message());
    reading.failure = error.message();
  }
  require(protocol.data_bytes() <= archive.size(), "no more content than there is");
  require(protocol.entries() <= archive.size() / tar_block_bytes + 1, "no more entries than headers");
  reading.text = protocol.text();
  return reading;
}

// Mutation would hardly ever find a checksum: the fields where one could be are corrected.
std::string with_checksums(Bytes input) {
  std::string archive(text_of(input));
  for (std::size_t at = 0; at + tar_block_bytes <= archive.size(); at += tar_block_bytes) {
    const auto header = std::span(archive).subspan(at, tar_block_bytes);
    if (header[154] != 0 || header[155] != ' ') continue;
    std::ranges::fill(header.subspan(148, 8), ' ');
    unsigned sum = 0;
    for (const char c : header) sum += static_cast<unsigned char>(c);
    std::array<char, 8> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), sum, 8).ptr;
    const auto count = static_cast<std::size_t>(end - digits.data());
    std::ranges::fill(header.subspan(148, 6), '0');
    std::copy_n(digits.data(), count, header.subspan(154 - count).data());
    header[154] = 0;
  }
  return archive;
}

}  // namespace

void fuzz_tar(Bytes input) {
  if (input.empty()) return;
  const auto piece = std::to_integer<std::size_t>(input.front()) * 3 + 1;
  const auto text = with_checksums(input.subspan(1));
  const auto archive = std::as_bytes(std::span(text));
  const auto whole = read(archive, archive.size() + 1);
  const auto pieces = read(archive, piece);
  require(whole.text == pieces.text, "pieces make no difference to what is seen", whole.failure);
  require(whole.failure == pieces.failure, "nor to what is refused", whole.failure + " / " + pieces.failure);
}

}  // namespace lazypull::fuzz
