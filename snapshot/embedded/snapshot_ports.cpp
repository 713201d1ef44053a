#include "snapshot/embedded/remote_snapshots.hpp"
#include "snapshot/embedded/store.hpp"

#include <utility>

namespace lazypull {

namespace {

class SnapshotterPort final : public Snapshotter {
 public:
  SnapshotterPort(std::shared_ptr<EmbeddedStore> store, std::string lease)
      : store_(std::move(store)), lease_(std::move(lease)) {}

  const std::string& name() const noexcept override { return name_; }

  Awaitable<std::optional<SnapshotInfo>> stat(const std::string& key) override {
    auto job = [this, &key] {
      std::optional<SnapshotInfo> found;
      if (auto stored = store_->snapshots().stat(key)) found = std::move(stored->info);
      return found;
    };
    co_return co_await store_->database_pool().run(std::move(job));
  }

  Awaitable<PrepareOutcome> prepare(const std::string& key, const std::string& parent,
                                    const Labels& labels) override {
    auto job = [this, &key, &parent, &labels] {
      return store_->snapshots().prepare(key, parent, labels, lease_);
    };
    // Shared storage may take its time.
    const bool asks_storage = remote_request(labels).has_value();
    auto& pool = asks_storage ? store_->file_pool() : store_->database_pool();
    co_return co_await pool.run(std::move(job));
  }

  Awaitable<CommitOutcome> commit(const std::string& name, const std::string& key,
                                  const Labels& labels) override {
    auto job = [this, &name, &key, &labels] { return store_->snapshots().commit(name, key, labels, lease_); };
    co_return co_await store_->database_pool().run(std::move(job));
  }

  Awaitable<void> remove(const std::string& key) override {
    auto job = [this, &key] { store_->snapshots().remove(key); };
    co_await store_->file_pool().run(std::move(job));
  }

 private:
  std::shared_ptr<EmbeddedStore> store_;
  std::string lease_;
  std::string name_{embedded_snapshotter};
};

class ImagePort final : public ImageStore {
 public:
  explicit ImagePort(std::shared_ptr<EmbeddedStore> store) : store_(std::move(store)) {}

  Awaitable<std::optional<ImageRecord>> get(const std::string& name) override {
    auto job = [this, &name] {
      std::optional<ImageRecord> found;
      if (auto stored = store_->images().find(name)) found = std::move(stored->record);
      return found;
    };
    co_return co_await store_->database_pool().run(std::move(job));
  }

  Awaitable<void> put(const ImageRecord& image) override {
    auto job = [this, &image] { store_->images().put(image); };
    co_await store_->file_pool().run(std::move(job));
  }

 private:
  std::shared_ptr<EmbeddedStore> store_;
};

}  // namespace

std::unique_ptr<Snapshotter> EmbeddedStore::snapshotter_port(std::string lease) {
  return std::make_unique<SnapshotterPort>(shared_from_this(), std::move(lease));
}

std::unique_ptr<ImageStore> EmbeddedStore::image_port() {
  return std::make_unique<ImagePort>(shared_from_this());
}

}  // namespace lazypull
