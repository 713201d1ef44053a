#include "snapshot/unpack/pax_records.hpp"

#include "engine/error.hpp"
#include "snapshot/unpack/tar_number.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <utility>

namespace lazypull {
namespace {

constexpr std::string_view xattr_prefix = "SCHILY.xattr.";
constexpr std::string_view sparse_offset = "GNU.sparse.offset";
constexpr std::string_view sparse_bytes = "GNU.sparse.numbytes";

constexpr std::array<std::pair<std::string_view, std::string_view PaxRecords::*>, 15> known_keys{{
    {"path", &PaxRecords::path},
    {"linkpath", &PaxRecords::link_path},
    {"uid", &PaxRecords::uid},
    {"gid", &PaxRecords::gid},
    {"atime", &PaxRecords::accessed},
    {"ctime", &PaxRecords::changed},
    {"mtime", &PaxRecords::modified},
    {"size", &PaxRecords::size},
    {"GNU.sparse.major", &PaxRecords::sparse_major},
    {"GNU.sparse.minor", &PaxRecords::sparse_minor},
    {"GNU.sparse.name", &PaxRecords::sparse_name},
    {"GNU.sparse.size", &PaxRecords::sparse_size},
    {"GNU.sparse.realsize", &PaxRecords::sparse_real_size},
    {"GNU.sparse.numblocks", &PaxRecords::sparse_blocks},
    {"GNU.sparse.map", &PaxRecords::sparse_map},
}};

[[noreturn]] void fail() {
  throw Error(Errc::invalid_image, "an invalid pax header");
}

struct Record {
  std::string_view key;
  std::string_view value;
};

/// Takes "LENGTH KEY=VALUE\n" off the front, where LENGTH counts all of it.
Record take_record(std::string_view& text) {
  const auto space = text.find(' ');
  if (space == std::string_view::npos) fail();
  const auto length = decimal(text.substr(0, space));
  if (!length || *length < 5 || static_cast<std::uint64_t>(*length) > text.size()) fail();
  const auto size = static_cast<std::size_t>(*length);
  if (size <= space + 1) fail();
  auto line = text.substr(space + 1, size - space - 1);
  text.remove_prefix(size);
  if (!line.ends_with('\n')) fail();
  line.remove_suffix(1);
  const auto equals = line.find('=');
  if (equals == std::string_view::npos || equals == 0) fail();
  const Record record{line.substr(0, equals), line.substr(equals + 1)};
  const bool names_something =
      record.key == "path" || record.key == "linkpath" || record.key == "uname" || record.key == "gname";
  const auto checked = names_something ? record.value : record.key;
  if (checked.find('\0') != std::string_view::npos) fail();
  return record;
}

void add_old_sparse(const Record& record, std::size_t& count, std::string& map) {
  const bool expects_offset = count % 2 == 0;
  if (record.key != (expects_offset ? sparse_offset : sparse_bytes)) fail();
  if (record.value.find(',') != std::string_view::npos) fail();
  if (count++ > 0) map += ',';
  map += record.value;
}

/// The last value of each name.
void keep_last(std::vector<TarXattr>& xattrs) {
  if (xattrs.size() < 2) return;
  std::ranges::sort(xattrs, [](const TarXattr& left, const TarXattr& right) {
    if (left.name != right.name) return left.name < right.name;
    return std::greater<>()(left.value.data(), right.value.data());  // later in the text comes first
  });
  const auto repeated = std::ranges::unique(xattrs, {}, &TarXattr::name);
  xattrs.erase(repeated.begin(), repeated.end());
}

std::int64_t number(std::string_view text) {
  const auto value = decimal(text);
  if (!value) fail();
  return *value;
}

TarTime time(std::string_view text) {
  const auto value = pax_time(text);
  if (!value) fail();
  return *value;
}

}  // namespace

void PaxRecords::clear() {
  for (const auto& [key, member] : known_keys) this->*member = {};
  xattrs.clear();
  old_sparse_map.clear();
}

void parse_pax(std::string_view text, PaxRecords& records) {
  records.clear();
  std::size_t old_sparse_values = 0;
  while (!text.empty()) {
    const auto record = take_record(text);
    if (record.key.starts_with(xattr_prefix)) {
      records.xattrs.push_back({record.key.substr(xattr_prefix.size()), record.value});
    } else if (record.key == sparse_offset || record.key == sparse_bytes) {
      add_old_sparse(record, old_sparse_values, records.old_sparse_map);
    } else {
      const auto known = std::ranges::find(known_keys, record.key, [](const auto& key) { return key.first; });
      if (known != known_keys.end()) records.*(known->second) = record.value;
    }
  }
  if (old_sparse_values > 0) records.sparse_map = records.old_sparse_map;
  keep_last(records.xattrs);
}

void apply_pax(const PaxRecords& records, TarEntry& entry) {
  if (!records.path.empty()) entry.name = records.path;
  if (!records.link_path.empty()) entry.link = records.link_path;
  if (!records.uid.empty()) entry.uid = number(records.uid);
  if (!records.gid.empty()) entry.gid = number(records.gid);
  if (!records.accessed.empty()) entry.accessed = time(records.accessed);
  if (!records.changed.empty()) time(records.changed);
  if (!records.modified.empty()) entry.modified = time(records.modified);
  if (!records.size.empty()) entry.size = number(records.size);
  entry.xattrs.assign(records.xattrs.begin(), records.xattrs.end());
}

}  // namespace lazypull
