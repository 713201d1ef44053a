#include "tools/tar_writer.hpp"

#include "engine/error.hpp"

#include <algorithm>
#include <array>

namespace lazypull {

namespace {

constexpr std::size_t block = 512;
constexpr std::size_t longest_name = 100;
using Block = std::array<char, block>;

void put(Block& header, std::size_t at, std::size_t length, std::string_view text) {
  std::ranges::copy(text.substr(0, length), header.begin() + static_cast<std::ptrdiff_t>(at));
}

/// Octal digits and a zero byte, as POSIX has it; numbers too large for that in base 256, as GNU has it.
void put_number(Block& header, std::size_t at, std::size_t length, std::uint64_t number) {
  if (number >> (3 * (length - 1)) == 0) {
    for (std::size_t i = length - 1; i-- > 0; number >>= 3U) {
      header.at(at + i) = static_cast<char>('0' + static_cast<int>(number & 7U));
    }
    return;
  }
  for (std::size_t i = length; i-- > 0; number >>= 8U) header.at(at + i) = static_cast<char>(number & 0xffU);
  header.at(at) = static_cast<char>(0x80);
}

}  // namespace

namespace {

/// A record of a pax header, which begins with its own length in decimal.
std::string pax_record(const std::string& text) {
  std::size_t length = text.size() + 1;
  while (length != text.size() + 2 + std::to_string(length).size()) ++length;
  return std::to_string(length) + " " + text + "\n";
}

}  // namespace

void TarWriter::header(const std::string& name, char type, unsigned mode, std::uint64_t size) {
  if (name.size() > longest_name) {
    const auto record = pax_record("path=" + name);
    header("pax", 'x', 0644, record.size());
    sink_(std::as_bytes(std::span(record)));
    pad(record.size());
  }
  Block head{};
  put(head, 0, longest_name, name);
  put_number(head, 100, 8, mode);
  put_number(head, 108, 8, 0);
  put_number(head, 116, 8, 0);
  put_number(head, 124, 12, size);
  put_number(head, 136, 12, 0);
  put(head, 148, 8, "        ");
  head.at(156) = type;
  put(head, 257, 6, std::string_view("ustar\0", 6));
  put(head, 263, 2, "00");
  put_number(head, 329, 8, 0);
  put_number(head, 337, 8, 0);
  unsigned sum = 0;
  for (const char byte : head) sum += static_cast<unsigned char>(byte);
  put_number(head, 148, 7, sum);
  head.at(154) = '\0';
  sink_(std::as_bytes(std::span(head)));
}

void TarWriter::pad(std::uint64_t written) {
  const Block zeros{};
  const auto rest = static_cast<std::size_t>(written % block);
  if (rest != 0) sink_(std::as_bytes(std::span(zeros)).first(block - rest));
}

void TarWriter::add_directory(const std::string& name) {
  header(name, '5', 0755, 0);
}

void TarWriter::add_file(const std::string& name, std::string_view text) {
  begin_file(name, text.size());
  write(std::as_bytes(std::span(text)));
  end_file();
}

void TarWriter::begin_file(const std::string& name, std::uint64_t size) {
  header(name, '0', 0444, size);
  size_ = size;
  written_ = 0;
}

void TarWriter::write(std::span<const std::byte> bytes) {
  written_ += bytes.size();
  if (written_ > size_) throw Error(Errc::size_mismatch, "tar: a file is longer than its header says");
  sink_(bytes);
}

void TarWriter::end_file() {
  if (written_ != size_) throw Error(Errc::size_mismatch, "tar: a file is shorter than its header says");
  pad(written_);
}

void TarWriter::finish() {
  const Block zeros{};
  for (int i = 0; i < 2; ++i) sink_(std::as_bytes(std::span(zeros)));
}

}  // namespace lazypull
