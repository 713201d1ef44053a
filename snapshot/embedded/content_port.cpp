#include "engine/error.hpp"
#include "engine/sha256_state.hpp"
#include "snapshot/embedded/files.hpp"
#include "snapshot/embedded/store.hpp"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

namespace lazypull {

namespace {

/// What one job of reading back does at most, so that a cancelled caller need not wait long.
constexpr std::size_t read_back_bytes = 4U << 20U;

/// Digests what it writes, and before its commit whatever it has not seen: the bytes of an earlier try,
/// unless that has left how far it had got with them.
class StoreIngest final : public Ingest {
 public:
  StoreIngest(std::shared_ptr<EmbeddedStore> store, std::unique_ptr<IngestFile> file)
      : store_(std::move(store)), file_(std::move(file)) {}

  std::uint64_t offset() const noexcept override { return file_->offset(); }

  Awaitable<void> write(std::span<const std::byte> bytes) override {
    co_await catch_up();
    auto job = [this, bytes] { append(bytes); };
    co_await store_->file_pool().run(std::move(job));
  }

  Awaitable<CommitOutcome> commit(const Labels& labels) override {
    Digest actual = file_->expected().digest;
    if (!file_->shared() || actual.empty()) actual = co_await digest();
    auto job = [this, &actual, &labels] { return file_->commit(actual, labels); };
    co_return co_await store_->file_pool().run(std::move(job));
  }

  Awaitable<void> catch_up() {
    if (!hasher_) {
      const auto& expected = file_->expected().digest;
      hasher_.emplace(expected.empty() ? "sha256" : expected.algorithm());
      hashed_ = 0;
      if (file_->offset() > 0 && !std::exchange(looked_for_state_, true)) {
        auto job = [this] { go_on_from_kept_state(); };
        co_await store_->file_pool().run(std::move(job));
      }
    }
    while (hashed_ < file_->offset()) {
      auto job = [this] {
        std::vector<std::byte> buffer(std::min<std::uint64_t>(read_back_bytes, file_->offset() - hashed_));
        const auto got = file_->read(hashed_, buffer);
        if (got == 0) throw Error(Errc::internal, "ingest " + file_->status().ref + " has shrunk");
        hasher_->update(std::span(buffer).first(got));
        hashed_ += got;
      };
      co_await store_->file_pool().run(std::move(job));
    }
  }

 private:
  /// Digested first, so that the record of the state comes as soon after the write as it can: whoever is
  /// killed in between has the whole to digest again.
  void append(std::span<const std::byte> bytes) {
    try {
      hasher_->update(bytes);
      file_->write(bytes);
    } catch (...) {
      hasher_.reset();
      throw;
    }
    hashed_ += bytes.size();
    if (const auto state = hasher_->state()) file_->keep_state(*state);
  }

  void go_on_from_kept_state() {
    const auto state = file_->kept_state();
    if (!state || !hasher_->resume(*state)) return;
    hashed_ = state->bytes;
    resumed_ = true;
  }

  Awaitable<Digest> digest() {
    co_await catch_up();
    auto actual = hasher_->finish();
    hasher_.reset();
    if (!std::exchange(resumed_, false) || actual == file_->expected().digest) co_return actual;
    // Either the bytes are wrong or the state was: the bytes tell.
    co_await catch_up();
    actual = hasher_->finish();
    hasher_.reset();
    co_return actual;
  }

  std::shared_ptr<EmbeddedStore> store_;
  std::unique_ptr<IngestFile> file_;  ///< before the store, which it uses
  std::optional<ResumableHasher> hasher_;
  std::uint64_t hashed_ = 0;
  bool looked_for_state_ = false;
  bool resumed_ = false;  ///< from the state that an earlier try has left
};

/// Reads a blob piece by piece.
class StoreBlob final : public BlobReader {
 public:
  StoreBlob(std::shared_ptr<EmbeddedStore> store, UniqueFd file, std::filesystem::path name)
      : store_(std::move(store)), file_(std::move(file)), name_(std::move(name)), buffer_(piece_bytes) {}

  Awaitable<std::span<const std::byte>> read() override {
    auto job = [this] { return read_at(file_, buffer_, offset_, name_); };
    const std::size_t got = co_await store_->file_pool().run(std::move(job));
    offset_ += got;
    co_return std::span<const std::byte>(buffer_).first(got);
  }

 private:
  static constexpr std::size_t piece_bytes = 1U << 20U;

  std::shared_ptr<EmbeddedStore> store_;
  UniqueFd file_;
  std::filesystem::path name_;
  std::vector<std::byte> buffer_;
  std::uint64_t offset_ = 0;
};

class ContentPort final : public ContentStore {
 public:
  ContentPort(std::shared_ptr<EmbeddedStore> store, std::string lease)
      : store_(std::move(store)), lease_(std::move(lease)) {}

  Awaitable<std::optional<ContentInfo>> info(const Digest& digest) override {
    auto job = [this, &digest] {
      std::optional<ContentInfo> found;
      if (auto stored = store_->content().info(digest)) found = std::move(stored->info);
      return found;
    };
    co_return co_await store_->database_pool().run(std::move(job));
  }

  Awaitable<void> update_labels(const Digest& digest, const Labels& labels) override {
    auto job = [this, &digest, &labels] { store_->content().update_labels(digest, labels); };
    co_await store_->database_pool().run(std::move(job));
  }

  Awaitable<std::string> read(const Digest& digest, std::uint64_t limit) override {
    auto job = [this, &digest, limit] { return store_->content().read(digest, limit); };
    co_return co_await store_->file_pool().run(std::move(job));
  }

  Awaitable<std::unique_ptr<BlobReader>> open(const Digest& digest) override {
    auto job = [this, &digest] { return store_->content().open(digest); };
    auto file = co_await store_->file_pool().run(std::move(job));
    co_return std::make_unique<StoreBlob>(store_, std::move(file), store_->layout().blob(digest));
  }

  Awaitable<std::unique_ptr<Ingest>> ingest(const std::string& ref, const Descriptor& descriptor) override {
    auto job = [this, &ref, &descriptor] {
      return store_->content().ingest(ref, {.digest = descriptor.digest, .size = descriptor.size}, lease_);
    };
    auto file = co_await store_->file_pool().run(std::move(job));
    if (!file) co_return nullptr;
    auto opened = std::make_unique<StoreIngest>(store_, std::move(file));
    if (opened->offset() < descriptor.size) co_await opened->catch_up();
    co_return opened;
  }

  Awaitable<void> abort(const std::string& ref) override {
    auto job = [this, &ref] { store_->content().abort(ref); };
    co_await store_->file_pool().run(std::move(job));
  }

 private:
  std::shared_ptr<EmbeddedStore> store_;
  std::string lease_;
};

}  // namespace

std::unique_ptr<ContentStore> EmbeddedStore::content_port(std::string lease) {
  return std::make_unique<ContentPort>(shared_from_this(), std::move(lease));
}

}  // namespace lazypull
