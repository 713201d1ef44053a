#include "tests/support/raw_tar.hpp"

#include <algorithm>

namespace lazypull::test::raw_tar {
namespace {

constexpr std::size_t block_bytes = 512;
constexpr std::size_t checksum_offset = 148;

void put(std::string& block, std::size_t offset, std::size_t size, std::string_view text) {
  block.replace(offset, std::min(size, text.size()), text.substr(0, size));
}

}  // namespace

std::string octal(std::uint64_t value, std::size_t digits) {
  std::string text(digits, '0');
  for (auto digit = text.rbegin(); digit != text.rend() && value != 0; ++digit, value >>= 3U) {
    *digit = static_cast<char>('0' + (value & 7U));
  }
  return text;
}

std::string base_256(std::int64_t value, std::size_t bytes) {
  std::string text(bytes, value < 0 ? '\xff' : '\0');
  auto rest = value;
  for (auto byte = text.rbegin(); byte != text.rend() && rest != 0 && rest != -1; ++byte, rest >>= 8) {
    *byte = static_cast<char>(rest & 0xff);
  }
  text.front() = static_cast<char>(text.front() | '\x80');
  return text;
}

std::string block(const Header& header, std::uint64_t size) {
  std::string text(block_bytes, '\0');
  put(text, 0, 100, header.name);
  put(text, 100, 8, header.mode);
  put(text, 108, 8, header.uid);
  put(text, 116, 8, header.gid);
  put(text, 124, 12, header.size.empty() ? octal(size, 11) : header.size);
  put(text, 136, 12, header.mtime);
  put(text, 156, 1, std::string(1, header.type));
  put(text, 157, 100, header.link);
  put(text, 257, 8, header.magic);
  if (header.magic != v7_magic) {
    put(text, 329, 8, header.device_major);
    put(text, 337, 8, header.device_minor);
  }
  put(text, 345, 167, header.rest);
  put(text, checksum_offset, 8, "        ");
  std::int64_t sum = 0;
  for (const char c : text)
    sum += header.signed_checksum ? static_cast<signed char>(c) : static_cast<unsigned char>(c);
  put(text, checksum_offset, 8, octal(static_cast<std::uint64_t>(sum), 6) + std::string("\0 ", 2));
  if (!header.checksum.empty()) put(text, checksum_offset, 8, header.checksum);
  return text;
}

std::string padded(std::string_view content) {
  std::string text(content);
  text.resize((text.size() + block_bytes - 1) / block_bytes * block_bytes);
  return text;
}

std::string entry(const Header& header, std::string_view content) {
  return block(header, content.size()) + padded(content);
}

std::string pax_text(const Records& records) {
  std::string text;
  for (const auto& [key, value] : records) {
    const std::string rest = " " + key + "=" + value + "\n";
    std::size_t length = rest.size();
    while (std::to_string(length).size() + rest.size() != length) {
      length = std::to_string(length).size() + rest.size();
    }
    text += std::to_string(length) + rest;
  }
  return text;
}

std::string pax(const Records& records, char type) {
  return entry({.name = "PaxHeaders/x", .type = type}, pax_text(records));
}

std::string gnu_long(char type, std::string_view text) {
  return entry({.name = "././@LongLink", .type = type, .magic = gnu_magic}, std::string(text) + '\0');
}

std::string end() {
  return std::string(2 * block_bytes, '\0');
}

}  // namespace lazypull::test::raw_tar
