#include "transport/failover_reader.hpp"

#include "transport/blob_reader.hpp"
#include "transport/host_blob.hpp"
#include "transport/range_reader.hpp"

#include <optional>

namespace lazypull {

namespace {

constexpr std::uint64_t max_verified_first = 4U << 20U;

Error mismatch(const Digest& actual, const Descriptor& descriptor, const Origin& origin) {
  return {Errc::digest_mismatch, origin.str() + " serves content with the digest " + actual.str() + " for " +
                                     descriptor.digest.str()};
}

class FailoverReader : public BlobReader {
 public:
  FailoverReader(RemoteBlob blob, std::uint64_t offset)
      : blob_(std::move(blob)),
        trial_(blob_.core->hosts.of(blob_.repository), HostNeed::pull, blob_.core->health,
               blob_.repository.locator() + blob_path(blob_.descriptor), blob_.descriptor.digest),
        offset_(offset),
        tail_(blob_.core->interrupted.tail(blob_.descriptor.digest, offset)) {
    if (offset == 0) hasher_.emplace(blob_.descriptor.digest.algorithm());
  }
  ~FailoverReader() override {
    if (offset_ < size() && !tail_.bytes.empty()) interrupted().broke_off(digest(), std::move(tail_));
  }

  /// Finds the first host that serves it.
  Awaitable<> open() {
    while (const auto* host = trial_.next()) {
      std::exception_ptr failure;
      try {
        co_await open_at(*host);
        co_return;
      } catch (...) {
        failure = std::current_exception();
      }
      const bool answered = reader_ != nullptr;
      give_up_reader();
      trial_.failed(failure, answered);
    }
    trial_.give_up();
  }

  Awaitable<std::span<const std::byte>> read() override {
    for (;;) {
      std::span<const std::byte> piece;
      std::exception_ptr failure;
      try {
        piece = co_await reader_->read();
      } catch (...) {
        failure = std::current_exception();
      }
      if (!failure) {
        verify(piece);
        offset_ += piece.size();
        tail_.add(piece);
        if (offset_ == size()) interrupted().complete(digest());
        if (piece.empty() || offset_ == size()) trial_.succeeded();
        co_return piece;
      }
      give_up_reader();
      trial_.failed(failure, true);
      co_await open();
    }
  }

  bool unproven() const noexcept override { return from_mirror_; }

 private:
  Awaitable<> open_at(RegistryHost host) {
    const bool is_last = trial_.is_last();
    origin_ = host.origin;
    if (reads_in_parts(*blob_.core, host, blob_.descriptor, offset_)) {
      reader_ = co_await open_in_parts(blob_, std::move(host), is_last, offset_, tail_.bytes);
    } else {
      reader_ = co_await open_at_host(blob_, std::move(host), is_last, offset_, tail_.bytes);
    }
    if (!is_last) from_mirror_ = true;
    const bool fits = offset_ == 0 && size() <= max_verified_first;
    if (!is_last && fits) co_await read_all();
  }

  // Whatever goes wrong is then not too late for the next host.
  Awaitable<> read_all() {
    std::string bytes;
    bytes.reserve(static_cast<std::size_t>(size()));
    for (;;) {
      const auto piece = co_await reader_->read();
      if (piece.empty()) break;
      bytes.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    }
    Hasher hasher(blob_.descriptor.digest.algorithm());
    hasher.update(std::as_bytes(std::span(bytes)));
    check(hasher.finish());
    hasher_.reset();
    reader_ = make_inline_reader(std::move(bytes), 0);
  }

  // The last host is the registry, whose bytes the caller verifies like all others.
  void verify(std::span<const std::byte> piece) {
    if (!hasher_) return;
    if (!from_mirror_) {
      hasher_.reset();  // nothing has come from a mirror yet, nor will it
      return;
    }
    hasher_->update(piece);
    if (offset_ + piece.size() < size()) return;
    const auto actual = hasher_->finish();
    hasher_.reset();
    check(actual);
  }

  void check(const Digest& actual) {
    if (actual == digest()) return;
    auto& health = blob_.core->health;
    health.distrust(origin_, digest());
    for (const auto& origin : mirrors_) health.distrust(origin, digest());
    throw mismatch(actual, blob_.descriptor, origin_);
  }

  void give_up_reader() {
    if (reader_ && offset_ > 0) mirrors_.push_back(origin_);
    reader_.reset();
  }

  std::uint64_t size() const noexcept { return blob_.descriptor.size; }
  const Digest& digest() const noexcept { return blob_.descriptor.digest; }
  InterruptedBlobs& interrupted() noexcept { return blob_.core->interrupted; }

  RemoteBlob blob_;
  HostTrial trial_;
  std::uint64_t offset_;
  BlobTail tail_;  // of what has come
  std::unique_ptr<BlobReader> reader_;
  Origin origin_;                // of the reader
  std::vector<Origin> mirrors_;  // others that have contributed bytes
  bool from_mirror_ = false;
  std::optional<Hasher> hasher_;
};

}  // namespace

Awaitable<std::unique_ptr<BlobReader>> open_at_hosts(RemoteBlob blob, std::uint64_t offset) {
  auto reader = std::make_unique<FailoverReader>(std::move(blob), offset);
  co_await reader->open();
  co_return reader;
}

}  // namespace lazypull
