#include "tests/integration/support/tar.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <random>
#include <span>
#include <stdexcept>
#include <utility>

namespace lazypull::test::tar {

namespace {

constexpr std::size_t block_size = 512;

// Fields of the ustar header (POSIX.1-2017, pax, "ustar Interchange Format").
struct Field {
  std::size_t offset;
  std::size_t length;
};
constexpr Field name_field{0, 100};
constexpr Field mode_field{100, 8};
constexpr Field uid_field{108, 8};
constexpr Field gid_field{116, 8};
constexpr Field size_field{124, 12};
constexpr Field mtime_field{136, 12};
constexpr Field checksum_field{148, 8};
constexpr Field link_field{157, 100};
constexpr Field major_field{329, 8};
constexpr Field minor_field{337, 8};
constexpr std::size_t type_offset = 156;
constexpr std::size_t magic_offset = 257;

using Header = std::array<char, block_size>;

bool fits(std::uint64_t value, Field field) {
  return value >> (3 * (field.length - 1)) == 0;
}

void put_text(Header& header, Field field, std::string_view text) {
  std::copy_n(text.begin(), std::min(text.size(), field.length),
              header.begin() + static_cast<long>(field.offset));
}

void put_octal(Header& header, Field field, std::uint64_t value) {
  std::array<char, 32> digits{};
  const int length = static_cast<int>(field.length) - 1;
  std::snprintf(digits.data(), digits.size(), "%0*llo", length, static_cast<unsigned long long>(value));
  put_text(header, field, std::string_view(digits.data(), field.length - 1));
}

void pad(std::string& archive) {
  archive.resize((archive.size() + block_size - 1) / block_size * block_size);
}

Header header_of(const Entry& entry, std::size_t size) {
  Header header{};
  put_text(header, name_field, entry.path_);
  put_octal(header, mode_field, entry.mode_);
  put_octal(header, uid_field, fits(entry.uid_, uid_field) ? entry.uid_ : 0);
  put_octal(header, gid_field, fits(entry.gid_, gid_field) ? entry.gid_ : 0);
  put_octal(header, size_field, size);
  put_octal(header, mtime_field, static_cast<std::uint64_t>(std::max<std::int64_t>(entry.mtime_, 0)));
  header[type_offset] = entry.type_;
  put_text(header, link_field, entry.link_);
  put_text(header, {magic_offset, 8}, std::string_view("ustar\00000", 8));
  put_octal(header, major_field, entry.major_);
  put_octal(header, minor_field, entry.minor_);
  put_text(header, checksum_field, "        ");
  unsigned sum = 0;
  for (const char byte : header) sum += static_cast<unsigned char>(byte);
  put_octal(header, {checksum_field.offset, 7}, sum);
  header[checksum_field.offset + 6] = '\0';
  return header;
}

void put(std::string& archive, const Entry& entry) {
  const auto header = header_of(entry, entry.content_.size());
  archive.append(header.data(), header.size());
  archive += entry.content_;
  pad(archive);
}

// "LENGTH KEY=VALUE\n", where LENGTH counts itself.
std::string pax_record(const std::string& key, const std::string& value) {
  const std::string rest = " " + key + "=" + value + "\n";
  std::size_t length = rest.size();
  while (std::to_string(length).size() + rest.size() != length) {
    length = std::to_string(length).size() + rest.size();
  }
  return std::to_string(length) + rest;
}

std::string mtime_text(const Entry& entry) {
  // With a fraction the decimal number is that of the sum: -1 s and 250 ms is -0.75.
  const bool negative = entry.mtime_ < 0;
  std::int64_t seconds = entry.mtime_;
  std::uint32_t ns = entry.mtime_ns_;
  if (negative && ns != 0) {
    ++seconds;
    ns = 1'000'000'000 - ns;
  }
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%s%lld.%09u", negative ? "-" : "",
                static_cast<long long>(negative ? -seconds : seconds), ns);
  return text.data();
}

std::map<std::string, std::string> pax_records(const Entry& entry) {
  auto records = entry.pax_;
  if (entry.path_.size() > name_field.length) records.emplace("path", entry.path_);
  if (entry.link_.size() > link_field.length) records.emplace("linkpath", entry.link_);
  if (!fits(entry.uid_, uid_field)) records.emplace("uid", std::to_string(entry.uid_));
  if (!fits(entry.gid_, gid_field)) records.emplace("gid", std::to_string(entry.gid_));
  if (entry.mtime_ < 0 || entry.mtime_ns_ != 0) records.emplace("mtime", mtime_text(entry));
  for (const auto& [name, value] : entry.xattrs_) records.emplace("SCHILY.xattr." + name, value);
  return records;
}

Entry make(char type, std::string path, std::uint32_t mode) {
  Entry entry;
  entry.type_ = type;
  entry.path_ = std::move(path);
  entry.mode_ = mode;
  return entry;
}

}  // namespace

Entry file(std::string path, std::string content) {
  Entry entry = make('0', std::move(path), 0644);
  entry.content_ = std::move(content);
  return entry;
}

Entry directory(std::string path) {
  if (!path.ends_with('/')) path += '/';
  return make('5', std::move(path), 0755);
}

Entry symlink(std::string path, std::string target) {
  Entry entry = make('2', std::move(path), 0777);
  entry.link_ = std::move(target);
  return entry;
}

Entry hard_link(std::string path, std::string target) {
  Entry entry = make('1', std::move(path), 0644);
  entry.link_ = std::move(target);
  return entry;
}

Entry char_device(std::string path, std::uint32_t major, std::uint32_t minor) {
  Entry entry = make('3', std::move(path), 0644);
  entry.major_ = major;
  entry.minor_ = minor;
  return entry;
}

Entry block_device(std::string path, std::uint32_t major, std::uint32_t minor) {
  Entry entry = char_device(std::move(path), major, minor);
  entry.type_ = '4';
  return entry;
}

Entry fifo(std::string path) {
  return make('6', std::move(path), 0644);
}

Entry whiteout(std::string_view path) {
  const auto slash = path.rfind('/');
  const auto name = slash == std::string_view::npos ? 0 : slash + 1;
  return file(std::string(path.substr(0, name)) + ".wh." + std::string(path.substr(name)), "");
}

Entry opaque(std::string_view folder) {
  std::string path(folder);
  if (!path.empty() && !path.ends_with('/')) path += '/';
  return file(path + ".wh..wh..opq", "");
}

std::string archive(const std::vector<Entry>& entries) {
  std::string result;
  for (const auto& entry : entries) {
    const auto records = pax_records(entry);
    if (!records.empty()) {
      Entry extended = make('x', "PaxHeaders/entry", 0644);
      for (const auto& [key, value] : records) extended.content_ += pax_record(key, value);
      put(result, extended);
    }
    put(result, entry);
  }
  result.resize(result.size() + 2 * block_size);
  return result;
}

std::vector<Entry> one_of_each() {
  return {
      directory("bin").mode(01777),
      file("bin/su", "#!").mode(04755).owner(1000, 2000),
      file("bin/fine", "f").mtime(1'700'000'000, 123456789),
      file("bin/old", "o").mtime(-2, 250000000),
      hard_link("bin/also", "bin/su").mode(04755).owner(1000, 2000),
      symlink("bin/link", "../target"),
      char_device("bin/null", 1, 3),
      fifo("bin/pipe"),
      file("bin/" + std::string(180, 'n'), "long name"),
      file("bin/attributes", "").xattr("user.colour", std::string("g\0een", 5)),
      file("bin/huge-id", "").owner(4'000'000'000, 4'000'000'001),
  };
}

std::string noise(std::size_t size, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string bytes((size + 7) / 8 * 8, '\0');
  for (std::size_t at = 0; at < bytes.size(); at += 8) {
    const std::uint64_t word = random();
    std::memcpy(bytes.data() + at, &word, sizeof word);
  }
  bytes.resize(size);
  return bytes;
}

}  // namespace lazypull::test::tar
