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
  FailoverReader(std::shared_ptr<RegistryCore> core, Reference repository, Descriptor descriptor,
                 std::uint64_t offset)
      : core_(std::move(core)),
        repository_(std::move(repository)),
        descriptor_(std::move(descriptor)),
        trial_(core_->hosts.of(repository_), HostNeed::pull, core_->health,
               repository_.locator() + blob_path(descriptor_), descriptor_.digest),
        offset_(offset) {
    if (offset == 0) hasher_.emplace(descriptor_.digest.algorithm());
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
      give_up_reader();
      trial_.failed(failure);
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
        if (piece.empty() || offset_ == descriptor_.size) trial_.succeeded();
        co_return piece;
      }
      give_up_reader();
      trial_.failed(failure);
      co_await open();
    }
  }

 private:
  Awaitable<> open_at(RegistryHost host) {
    const bool is_last = trial_.is_last();
    origin_ = host.origin;
    if (reads_in_parts(*core_, host, descriptor_, offset_)) {
      reader_ = co_await open_in_parts(core_, std::move(host), is_last, repository_, descriptor_, offset_);
    } else {
      reader_ = co_await open_at_host(core_, std::move(host), is_last, repository_, descriptor_, offset_);
    }
    if (!is_last) from_mirror_ = true;
    const bool fits = offset_ == 0 && descriptor_.size <= max_verified_first;
    if (!is_last && fits) co_await read_all();
  }

  // Whatever goes wrong is then not too late for the next host.
  Awaitable<> read_all() {
    std::string bytes;
    bytes.reserve(static_cast<std::size_t>(descriptor_.size));
    for (;;) {
      const auto piece = co_await reader_->read();
      if (piece.empty()) break;
      bytes.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    }
    Hasher hasher(descriptor_.digest.algorithm());
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
    if (offset_ + piece.size() < descriptor_.size) return;
    const auto actual = hasher_->finish();
    hasher_.reset();
    check(actual);
  }

  void check(const Digest& actual) {
    if (actual == descriptor_.digest) return;
    core_->health.distrust(origin_, descriptor_.digest);
    for (const auto& origin : mirrors_) core_->health.distrust(origin, descriptor_.digest);
    throw mismatch(actual, descriptor_, origin_);
  }

  void give_up_reader() {
    if (reader_ && offset_ > 0) mirrors_.push_back(origin_);
    reader_.reset();
  }

  std::shared_ptr<RegistryCore> core_;
  Reference repository_;
  Descriptor descriptor_;
  HostTrial trial_;
  std::uint64_t offset_;
  std::unique_ptr<BlobReader> reader_;
  Origin origin_;                // of the reader
  std::vector<Origin> mirrors_;  // others that have contributed bytes
  bool from_mirror_ = false;
  std::optional<Hasher> hasher_;
};

}  // namespace

Awaitable<std::unique_ptr<BlobReader>> open_at_hosts(std::shared_ptr<RegistryCore> core, Reference repository,
                                                     Descriptor descriptor, std::uint64_t offset) {
  auto reader =
      std::make_unique<FailoverReader>(std::move(core), std::move(repository), std::move(descriptor), offset);
  co_await reader->open();
  co_return reader;
}

}  // namespace lazypull
