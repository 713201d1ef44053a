#include "snapshot/unpack/tar_reader.hpp"

#include "engine/error.hpp"
#include "snapshot/unpack/tar_number.hpp"

#include <algorithm>
#include <cstring>

namespace lazypull {
namespace {

constexpr std::uint64_t most_special_bytes = 1 << 20;  // as Go and libarchive
constexpr char pax_header = 'x';
constexpr char gnu_long_name = 'L';
constexpr char gnu_long_link = 'K';
constexpr char old_regular = '\0';

bool is_special(char type) noexcept {
  return type == pax_header || type == tar_type::global_header || type == gnu_long_name ||
         type == gnu_long_link;
}

std::uint64_t padding_after(std::uint64_t bytes) noexcept {
  return (0 - bytes) % tar_block_bytes;
}

}  // namespace

TarReader::TarReader(TarVisitor& visitor, TarLimits limits) : visitor_(visitor), limits_(limits) {}

void TarReader::fail(const std::string& why) const {
  throw Error(Errc::invalid_image, "tar archive at byte " + std::to_string(header_offset_) + ": " + why);
}

void TarReader::write(std::span<const std::byte> bytes) {
  std::span<const char> rest(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  while (!rest.empty() && state_ != State::ended) {
    const auto before = rest.size();
    take(rest);
    offset_ += before - rest.size();
  }
  if (!rest.empty()) count_idle(rest.size());
}

void TarReader::count_idle(std::uint64_t bytes) {
  if (bytes > limits_.idle_bytes - idle_bytes_)
    fail("more than " + std::to_string(limits_.idle_bytes) + " bytes in it are of no file");
  idle_bytes_ += bytes;
}

void TarReader::finish() const {
  const bool at_boundary = state_ == State::header || state_ == State::second_zero;
  if (state_ == State::ended || state_ == State::padding || (at_boundary && block_filled_ == 0)) return;
  fail("the archive is cut short");
}

// Takes as much as the state can use, and at least one byte.
void TarReader::take(std::span<const char>& bytes) {
  switch (state_) {
    case State::header:
    case State::second_zero:
    case State::sparse_extension:
    case State::sparse_text: {
      if (block_filled_ == 0 && state_ == State::header) header_offset_ = offset_;
      if (block_filled_ == 0 && bytes.size() >= tar_block_bytes) {
        const auto block = bytes.first<tar_block_bytes>();
        bytes = bytes.subspan(tar_block_bytes);
        on_block(block);
        return;
      }
      const auto part = std::min(bytes.size(), block_.size() - block_filled_);
      std::memcpy(block_.data() + block_filled_, bytes.data(), part);
      block_filled_ += part;
      bytes = bytes.subspan(part);
      if (block_filled_ < block_.size()) return;
      block_filled_ = 0;
      on_block(TarBlock(block_));
      return;
    }
    case State::special:
    case State::content:
    case State::skipped:
    case State::padding: {
      const auto part = bytes.first(static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), left_)));
      bytes = bytes.subspan(part.size());
      left_ -= part.size();
      if (state_ == State::special) special_.append(part.data(), part.size());
      if (state_ == State::content) on_content(part);
      if (left_ == 0) on_content_end();
      return;
    }
    case State::ended:
      return;
  }
}

// Enters a state of so many bytes, which may be none.
void TarReader::begin(State state, std::int64_t bytes) {
  state_ = state;
  left_ = static_cast<std::uint64_t>(bytes);
  if (left_ == 0) on_content_end();
}

void TarReader::on_content_end() {
  switch (state_) {
    case State::special:
      on_special_end();
      after_content();
      return;
    case State::content:
      if (sparse_ && entry_.size > position_) {
        visitor_.hole(static_cast<std::uint64_t>(entry_.size - position_));
      }
      visitor_.end_of_entry();
      after_content();
      return;
    case State::skipped:
      after_content();
      return;
    default:
      state_ = State::header;
  }
}

void TarReader::after_content() {
  state_ = padding_ > 0 ? State::padding : State::header;
  left_ = padding_;
}

void TarReader::on_block(TarBlock block) {
  Next next = Next::block;
  try {
    next = parse(block);
  } catch (const Error& error) {
    fail(error.message());
  }
  // The visitor's own errors are not this archive's.
  if (next == Next::special) begin(State::special, entry_.size);
  if (next == Next::entry) begin_entry();
}

TarReader::Next TarReader::parse(TarBlock block) {
  switch (state_) {
    case State::header:
      if (!is_zero(block)) return parse_header(block);
      state_ = State::second_zero;
      return Next::block;
    case State::second_zero:
      if (!is_zero(block)) throw Error(Errc::invalid_image, "one zero block where there should be two");
      state_ = State::ended;
      return Next::block;
    case State::sparse_extension: {
      const auto fields = gnu_sparse_in_extension(block);
      append_gnu_sparse(fields, map_);
      return fields.extended ? Next::block : mapped();
    }
    default:
      if (left_ < tar_block_bytes) throw Error(Errc::invalid_image, "an invalid map of a sparse file");
      left_ -= tar_block_bytes;
      return sparse_text_.take(block) ? mapped() : Next::block;
  }
}

TarReader::Next TarReader::parse_header(TarBlock block) {
  format_ = parse_tar_header(block, entry_);
  entry_.xattrs.clear();
  const bool special = is_special(entry_.type);
  if (!special) merge_extended();
  if (has_content(entry_.type) && entry_.size < 0) throw Error(Errc::invalid_image, "a negative size");
  left_ = has_content(entry_.type) ? static_cast<std::uint64_t>(entry_.size) : 0;
  padding_ = padding_after(left_);
  if (!special) return parse_sparse(block);
  if (left_ > most_special_bytes) throw Error(Errc::invalid_image, "an extended header that is too large");
  special_type_ = entry_.type;
  special_.clear();
  return Next::special;
}

void TarReader::on_special_end() {
  const auto text = tar_text(special_);
  switch (special_type_) {
    case gnu_long_name:
      long_name_ = text;
      return;
    case gnu_long_link:
      long_link_ = text;
      return;
    default:
      std::swap(special_, pax_text_);
      try {
        parse_pax(pax_text_, pax_);
      } catch (const Error& error) {
        fail(error.message());
      }
  }
  if (special_type_ == pax_header) return;
  // A global header: of it only a name matters, since an entry of that name takes the place of others.
  if (!pax_.path.empty()) entry_.name = pax_.path;
  entry_.size = 0;
  pax_.clear();
  long_name_.clear();
  long_link_.clear();
  if (++entries_ > limits_.entries) fail("more entries than allowed");
  if (visitor_.entry(entry_)) visitor_.end_of_entry();
}

void TarReader::merge_extended() {
  apply_pax(pax_, entry_);
  if (!long_name_.empty()) entry_.name = long_name_;
  if (!long_link_.empty()) entry_.link = long_link_;
  if (entry_.type == old_regular) {
    entry_.type = entry_.name.ends_with('/') ? tar_type::directory : tar_type::regular;
  }
  long_name_.clear();
  long_link_.clear();
}

// The content's size in the archive is known; a sparse map may change the entry's.
TarReader::Next TarReader::parse_sparse(TarBlock header) {
  map_.clear();
  mapped_ = left_;
  sparse_ = entry_.type == tar_type::gnu_sparse;
  if (sparse_) {
    const auto size = tar_numeric(gnu_real_size(header));
    if (format_ != TarFormat::gnu || !size) throw Error(Errc::invalid_image, "an invalid sparse file");
    entry_.size = *size;
    const auto fields = gnu_sparse_in_header(header);
    append_gnu_sparse(fields, map_);
    if (!fields.extended) return mapped();
    state_ = State::sparse_extension;
    return Next::block;
  }
  const auto kind = announced_sparse(pax_, entry_);
  sparse_ = kind != PaxSparse::none;
  if (!sparse_) return Next::entry;
  if (!has_content(entry_.type)) throw Error(Errc::invalid_image, "a sparse file without content");
  if (kind == PaxSparse::in_header) {
    parse_pax_sparse(pax_, map_);
    return mapped();
  }
  sparse_text_.restart();
  state_ = State::sparse_text;
  return Next::block;
}

// The sparse map is complete.
TarReader::Next TarReader::mapped() {
  mapped_ = static_cast<std::uint64_t>(check_sparse_map(map_, entry_.size));
  return Next::entry;
}

void TarReader::begin_entry() {
  if (++entries_ > limits_.entries) fail("more entries than allowed");
  pax_.clear();
  fragment_ = 0;
  fragment_left_ = 0;
  position_ = 0;
  const bool wanted = visitor_.entry(entry_);
  if (wanted && mapped_ != left_) fail("a sparse file whose content does not fit its map");
  if (!wanted) count_idle(left_);
  begin(wanted ? State::content : State::skipped, static_cast<std::int64_t>(left_));
}

void TarReader::on_content(std::span<const char> bytes) {
  if (!sparse_) {
    visitor_.data(std::as_bytes(bytes));
    return;
  }
  while (!bytes.empty()) {
    while (fragment_left_ == 0) {
      const auto& next = map_[fragment_++];
      if (next.length == 0) continue;
      if (next.offset > position_) visitor_.hole(static_cast<std::uint64_t>(next.offset - position_));
      position_ = next.offset;
      fragment_left_ = next.length;
    }
    const auto part = std::min<std::uint64_t>(bytes.size(), static_cast<std::uint64_t>(fragment_left_));
    visitor_.data(std::as_bytes(bytes.first(static_cast<std::size_t>(part))));
    bytes = bytes.subspan(static_cast<std::size_t>(part));
    position_ += static_cast<std::int64_t>(part);
    fragment_left_ -= static_cast<std::int64_t>(part);
  }
}

}  // namespace lazypull
