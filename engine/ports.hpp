#pragma once

#include "engine/awaitable.hpp"
#include "engine/descriptor.hpp"
#include "engine/reference.hpp"
#include "engine/trace.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

/// What the engine needs from the world. Each port has two real implementations or will have: the registry is
/// HTTP, the stores are containerd's or embedded. All functions throw lazypull::Error; outcomes that callers
/// branch on are values. Every call can be cancelled and has a deadline of its implementation's.
namespace lazypull {

/// Turns a reference into the descriptor of its manifest or index.
class Resolver {
 public:
  virtual ~Resolver() = default;
  /// Throws not_found, unauthorized, …, each naming the URL.
  virtual Awaitable<Descriptor> resolve(const Reference& reference) = 0;
};

/// The bytes of one blob, in order. Destroying it before the end drops the connection.
class BlobReader {
 public:
  virtual ~BlobReader() = default;
  /// The next bytes, empty at the end. Valid until the next call. Bytes are *not* verified here: the length
  /// is bounded by the descriptor (size_mismatch), the digest is the caller's to check.
  virtual Awaitable<std::span<const std::byte>> read() = 0;
  /// Bytes have come from another host than the registry. Whoever finds fault with them reads on, where it
  /// can: the fault is the host's if `read` throws digest_mismatch in the end, or the store does.
  virtual bool unproven() const noexcept { return false; }
};

/// Opens blobs and manifests of a repository.
class Fetcher {
 public:
  virtual ~Fetcher() = default;
  /// Starts at `offset` (a Range request); the reader's first byte is that of `offset`, also where the server
  /// ignores ranges. Manifest and index media types are fetched from /manifests/, all else from /blobs/, or
  /// first from the descriptor's own urls where it is a foreign layer. Where this or the reader throws
  /// digest_mismatch, a host has served something else than the digest says and is not asked for it again:
  /// opening it anew, from the start, may succeed.
  virtual Awaitable<std::unique_ptr<BlobReader>> open(const Reference& repository,
                                                      const Descriptor& descriptor, std::uint64_t offset) = 0;
};

struct ContentInfo {
  Digest digest;
  std::uint64_t size = 0;
  Labels labels;
};

enum class CommitOutcome { committed, already_exists };

/// One blob on its way into a content store. Destroying it without commit leaves the partial ingest, from
/// which a later `ContentStore::ingest` goes on.
class Ingest {
 public:
  virtual ~Ingest() = default;
  /// Bytes that the store has already from an earlier try.
  virtual std::uint64_t offset() const noexcept = 0;
  /// `bytes` need to stay valid only until it returns; it may return before the store has them all.
  virtual Awaitable<void> write(std::span<const std::byte> bytes) = 0;
  /// The store verifies size and digest: throws digest_mismatch or size_mismatch.
  virtual Awaitable<CommitOutcome> commit(const Labels& labels) = 0;
};

class ContentStore {
 public:
  virtual ~ContentStore() = default;
  virtual Awaitable<std::optional<ContentInfo>> info(const Digest& digest) = 0;
  /// Sets the given labels and leaves all others; an empty value removes a label.
  virtual Awaitable<void> update_labels(const Digest& digest, const Labels& labels) = 0;
  /// The whole blob; throws size_mismatch if it is longer than `limit`.
  virtual Awaitable<std::string> read(const Digest& digest, std::uint64_t limit) = 0;
  /// Reads a blob that may be large. Throws not_found.
  virtual Awaitable<std::unique_ptr<BlobReader>> open(const Digest& digest) = 0;
  /// Opens or resumes the ingest `ref`. Null if the content exists already. Throws locked while somebody else
  /// writes the same ref.
  virtual Awaitable<std::unique_ptr<Ingest>> ingest(const std::string& ref, const Descriptor& descriptor) = 0;
  /// Drops a partial ingest; no error if there is none.
  virtual Awaitable<void> abort(const std::string& ref) = 0;
};

struct Mount {
  std::string type;
  std::string source;
  std::string target;
  std::vector<std::string> options;

  friend bool operator==(const Mount&, const Mount&) = default;
};

enum class SnapshotKind { unknown, view, active, committed };

struct SnapshotInfo {
  std::string name;
  std::string parent;
  SnapshotKind kind = SnapshotKind::unknown;
  Labels labels;
};

/// What Prepare answered: mounts to fill, or `already_exists`, by which a remote snapshotter says that it has
/// the target already.
struct PrepareOutcome {
  bool already_exists = false;
  std::vector<Mount> mounts;
};

class Snapshotter {
 public:
  virtual ~Snapshotter() = default;
  virtual const std::string& name() const noexcept = 0;
  virtual Awaitable<std::optional<SnapshotInfo>> stat(const std::string& key) = 0;
  virtual Awaitable<PrepareOutcome> prepare(const std::string& key, const std::string& parent,
                                            const Labels& labels) = 0;
  virtual Awaitable<CommitOutcome> commit(const std::string& name, const std::string& key,
                                          const Labels& labels) = 0;
  /// No error if it does not exist.
  virtual Awaitable<void> remove(const std::string& key) = 0;
};

struct AppliedLayer {
  Digest diff_id;  ///< of the uncompressed tar, as computed while extracting
  std::uint64_t size = 0;
  WorkTime inflate{};  ///< where the applier's own threads did it
  WorkTime extract{};
};

/// One layer that is extracted while its compressed bytes arrive, apart from any snapshot, so that it need
/// not wait for the layers below. Destroying it stops the work and drops what it has extracted.
class LayerUnpack {
 public:
  virtual ~LayerUnpack() = default;
  /// `bytes` need to stay valid only until it returns, which is when there is room for more. Throws what has
  /// gone wrong with the bytes before.
  virtual Awaitable<void> write(std::span<const std::byte> bytes) = 0;
  /// After the last byte: waits until all is extracted. Throws what is wrong with the archive and, if it was
  /// to verify them, digest_mismatch where the bytes are not the descriptor's.
  virtual Awaitable<AppliedLayer> finish() = 0;
  /// After `finish`: puts what was extracted into the mounts of a snapshot that was prepared on the layers
  /// below. False where these mounts cannot take it; then nothing has happened.
  virtual Awaitable<bool> place(const std::vector<Mount>& mounts) = 0;
};

struct UnpackTraits {
  bool lowest = false;  ///< no layer lies below
  bool verify = true;   ///< the blob's digest is to be checked, since no content store does
};

class Applier {
 public:
  virtual ~Applier() = default;
  /// Extracts a layer of the content store into mounts.
  virtual Awaitable<AppliedLayer> apply(const Descriptor& layer, const std::vector<Mount>& mounts) = 0;
  /// Begins to extract a layer whose bytes are still to come. Null if layers can only be applied from the
  /// content store. May wait until others have ended.
  virtual Awaitable<std::unique_ptr<LayerUnpack>> start(const Descriptor& layer, UnpackTraits traits) = 0;
};

struct ImageRecord {
  std::string name;
  Descriptor target;
  Labels labels;
};

class ImageStore {
 public:
  virtual ~ImageStore() = default;
  virtual Awaitable<std::optional<ImageRecord>> get(const std::string& name) = 0;
  /// Creates the record, or points an existing one at the new target (labels are replaced, as `ctr` does).
  virtual Awaitable<void> put(const ImageRecord& image) = 0;
};

/// A lease, and the stores as seen through it: whatever they create is safe from garbage collection until
/// `release`. The lease also expires by itself, so that nothing stays if the process dies.
class Lease {
 public:
  virtual ~Lease() = default;
  virtual ContentStore& content() = 0;
  virtual Snapshotter& snapshotter() = 0;
  virtual Applier& applier() = 0;
  virtual ImageStore& images() = 0;
  /// Protects what is there already; a mere Stat or Info does not.
  virtual Awaitable<void> protect_snapshot(const std::string& name) = 0;
  virtual Awaitable<void> protect_content(const Digest& digest) = 0;
  /// Ends the lease; garbage collection may run at once. `synchronous` waits for it.
  virtual Awaitable<void> release(bool synchronous) = 0;
};

class LeaseManager {
 public:
  virtual ~LeaseManager() = default;
  virtual Awaitable<std::unique_ptr<Lease>> acquire(std::chrono::seconds lifetime) = 0;
};

}  // namespace lazypull
