#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Tar archives block by block, so that they can be as odd as a test wants.
namespace lazypull::test::raw_tar {

/// The fields as they are in the block. An empty size is filled in.
struct Header {
  std::string name;
  char type = '0';
  std::string mode = "0000644";
  std::string uid = "0000000";
  std::string gid = "0000000";
  std::string size = {};
  std::string mtime = "13727410000";  // 1600000000
  std::string link = {};
  std::string magic = std::string("ustar\00000", 8);
  std::string device_major = "0000000";
  std::string device_minor = "0000000";
  std::string rest = {};      // from byte 345: ustar's prefix, GNU's and star's further fields
  std::string checksum = {};  // filled in if empty
  bool signed_checksum = false;
};

inline const std::string gnu_magic = std::string("ustar  \0", 8);
inline const std::string v7_magic = std::string(8, '\0');

std::string block(const Header& header, std::uint64_t size = 0);
/// The header, and the content padded to whole blocks.
std::string entry(const Header& header, std::string_view content = {});
std::string padded(std::string_view content);
std::string octal(std::uint64_t value, std::size_t digits);
/// GNU's binary numbers.
std::string base_256(std::int64_t value, std::size_t bytes);

using Records = std::vector<std::pair<std::string, std::string>>;
std::string pax_text(const Records& records);
std::string pax(const Records& records, char type = 'x');
/// GNU long name ("L") or link ("K").
std::string gnu_long(char type, std::string_view text);
/// The two zero blocks.
std::string end();

inline std::string file(const std::string& name, std::string_view content) {
  return entry({.name = name}, content);
}
inline std::string directory(const std::string& name) {
  return entry({.name = name, .type = '5', .mode = "0000755"});
}
inline std::string symlink(const std::string& name, const std::string& target) {
  return entry({.name = name, .type = '2', .mode = "0000777", .link = target});
}
inline std::string hard_link(const std::string& name, const std::string& target) {
  return entry({.name = name, .type = '1', .link = target});
}

}  // namespace lazypull::test::raw_tar
