#pragma once

#include "snapshot/unpack/pax_records.hpp"
#include "snapshot/unpack/sparse_map.hpp"
#include "snapshot/unpack/tar_entry.hpp"
#include "snapshot/unpack/tar_header.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace lazypull {

/// Is told what an archive holds, in its order.
class TarVisitor {
 public:
  virtual ~TarVisitor() = default;
  /// `entry` and all it points to stay as they are until end_of_entry. False: nothing more of this entry is
  /// wanted, and its content is skipped without the calls below.
  virtual bool entry(const TarEntry& entry) = 0;
  virtual void data(std::span<const std::byte> bytes) = 0;
  /// So many zeros, of a sparse file.
  virtual void hole(std::uint64_t bytes) = 0;
  virtual void end_of_entry() = 0;
};

struct TarLimits {
  std::uint64_t entries = 5'000'000;
  /// Of content that nobody wants, and of what follows the archive's end: they fill no disk, and so would
  /// have no other bound.
  std::uint64_t idle_bytes = std::uint64_t{1} << 30U;
};

/// Reads a tar archive that arrives in pieces of any size. It accepts what Go's archive/tar accepts, and so
/// what containerd does: v7, ustar, star and GNU headers, pax extended headers (up to 1 MiB), GNU long names
/// (up to 1 MiB), all of GNU's sparse formats, base-256 numbers, signed checksums, an end without zero blocks
/// or without the last padding. What follows two zero blocks is ignored. A global pax header is an entry of
/// its own and says nothing about others. Errors are Error{invalid_image} and say where in the archive.
class TarReader {
 public:
  /// `visitor` must outlive this.
  explicit TarReader(TarVisitor& visitor, TarLimits limits = {});

  void write(std::span<const std::byte> bytes);
  /// The archive has ended. Throws where it is cut short.
  void finish() const;

 private:
  enum class State {
    header,            ///< expects a header block or the first zero block
    second_zero,       ///< has seen one zero block
    special,           ///< the content of an extended header or a long name
    sparse_extension,  ///< a block of the old GNU sparse map
    sparse_text,       ///< a block of the map before the content
    content,
    skipped,
    padding,
    ended,
  };
  /// What a block leads to.
  enum class Next { block, special, entry };

  void take(std::span<const char>& bytes);
  void on_block(TarBlock block);
  Next parse(TarBlock block);
  Next parse_header(TarBlock block);
  Next parse_sparse(TarBlock header);
  Next mapped();
  void merge_extended();
  void on_special_end();
  void begin_entry();
  void on_content(std::span<const char> bytes);
  void on_content_end();
  void after_content();
  void begin(State state, std::int64_t bytes);
  void count_idle(std::uint64_t bytes);
  [[noreturn]] void fail(const std::string& why) const;

  TarVisitor& visitor_;
  TarLimits limits_;
  State state_ = State::header;
  std::array<char, tar_block_bytes> block_;
  std::size_t block_filled_ = 0;
  std::uint64_t offset_ = 0;         ///< in the archive
  std::uint64_t header_offset_ = 0;  ///< of the current header
  std::uint64_t entries_ = 0;
  std::uint64_t idle_bytes_ = 0;

  TarEntry entry_;
  TarFormat format_ = TarFormat::v7;
  std::uint64_t left_ = 0;     ///< bytes to come in this state
  std::uint64_t padding_ = 0;  ///< bytes after the content

  // Of the headers before an entry's own.
  char special_type_ = 0;
  std::string special_;
  std::string pax_text_;  ///< `pax_` points into it
  PaxRecords pax_;
  std::string long_name_;
  std::string long_link_;

  SparseMap map_;
  SparseText sparse_text_{map_};
  bool sparse_ = false;
  std::uint64_t mapped_ = 0;        ///< how many bytes of content the map tells the place of
  std::size_t fragment_ = 0;        ///< the next one
  std::int64_t fragment_left_ = 0;  ///< bytes to come of the one before
  std::int64_t position_ = 0;       ///< in the file, with holes
};

}  // namespace lazypull
