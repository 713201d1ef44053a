#pragma once

#include "engine/ports.hpp"
#include "engine/sha256_state.hpp"
#include "snapshot/embedded/ingest_checkpoint.hpp"
#include "snapshot/embedded/layout.hpp"
#include "snapshot/embedded/metadata.hpp"
#include "snapshot/embedded/store_time.hpp"
#include "snapshot/unpack/unique_fd.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace lazypull {

/// What an ingest is to become; what is left open is not checked.
struct ExpectedContent {
  Digest digest;
  std::optional<std::uint64_t> size;
};

struct IngestStatus {
  std::string ref;
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> total;
  StoreTime started;
  StoreTime updated;
};

/// One blob on its way into the store, held under an exclusive lock for as long as this lives. Blocking; to
/// be used by one thread at a time. Destroying it without a commit leaves the partial ingest.
class IngestFile {
 public:
  ~IngestFile();
  IngestFile(const IngestFile&) = delete;
  IngestFile& operator=(const IngestFile&) = delete;

  /// Bytes that are there, from an earlier try too.
  std::uint64_t offset() const noexcept { return offset_; }
  IngestStatus status() const;
  const ExpectedContent& expected() const noexcept;
  /// The bytes are those of a blob that another namespace has, and so verified.
  bool shared() const noexcept { return shared_; }

  /// The SHA-256 of what is there, as far as an earlier try has got; none if there is any doubt about it.
  std::optional<Sha256State> kept_state();
  /// Keeps it for later tries, at once and for when this is destroyed. To be called right after `write`.
  void keep_state(const Sha256State& state);

  /// What `commit` is to check from now on.
  void expect(ExpectedContent expected);

  void write(std::span<const std::byte> bytes);
  /// Drops what is there.
  void truncate();
  /// What is there, from `position` on, as far as `into` reaches: for whoever digests or inflates the bytes
  /// of an earlier try.
  std::size_t read(std::uint64_t position, std::span<std::byte> into) const;

  /// Makes the ingest a blob. `actual` is the digest of all its bytes, which the caller has computed; nothing
  /// is read back. Throws size_mismatch or digest_mismatch, and then the ingest stays. Afterwards the ingest
  /// is over, also where the namespace has the content already. The blob is there for all processes once
  /// this returns; see `EmbeddedStore` for what survives a power failure.
  CommitOutcome commit(const Digest& actual, const Labels& labels);

 private:
  friend class ContentDirectory;
  struct Place;
  IngestFile(std::unique_ptr<Place> place, UniqueFd data, std::optional<std::uint64_t> shared_size);

  void require_open() const;
  void verify(const Digest& actual) const;
  CommitOutcome record(Rows& rows, const Digest& actual, const Labels& labels);
  void copy_shared();

  std::unique_ptr<Place> place_;
  UniqueFd data_;
  std::uint64_t offset_ = 0;
  StoreTime started_;
  StoreTime updated_;
  bool shared_ = false;
  IngestCheckpoint checkpoint_;
  std::optional<Sha256State> kept_;
};

/// Blobs and ingests of one namespace, with their records. Blocking; for several threads.
class ContentDirectory {
 public:
  ContentDirectory(StoreLayout layout, Metadata& metadata, std::string name_space);

  std::optional<StoredContent> info(const Digest& digest) const;
  std::vector<StoredContent> list() const;
  /// As ContentStore::update_labels. Throws not_found.
  void update_labels(const Digest& digest, const Labels& labels);
  /// Throws not_found, and size_mismatch if it is longer than `limit`.
  std::string read(const Digest& digest, std::uint64_t limit) const;
  /// The blob's file, for reading. Throws not_found.
  UniqueFd open(const Digest& digest) const;
  /// Forgets the content in this namespace; the bytes go with the next garbage collection. False if there
  /// is none.
  bool remove(const Digest& digest);

  /// Opens or resumes the ingest `ref`. Null if the namespace has the content already. Where another
  /// namespace has it, the ingest is complete at once and only wants its commit; writing more appends to a
  /// copy. Throws locked while somebody else has the same ref open. Under a lease (unless that is empty) the
  /// ingest and its content are protected.
  std::unique_ptr<IngestFile> ingest(const std::string& ref, ExpectedContent expected,
                                     const std::string& lease);
  std::vector<IngestStatus> ingests() const;
  /// Drops a partial ingest; no error if there is none. Throws locked while somebody writes it.
  void abort(const std::string& ref);

 private:
  StoreLayout layout_;
  Metadata& metadata_;
  std::string name_space_;
};

}  // namespace lazypull
