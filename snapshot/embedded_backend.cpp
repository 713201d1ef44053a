#include "snapshot/embedded_backend.hpp"

#include "snapshot/unpack/streaming_applier.hpp"

#include <exception>
#include <unistd.h>
#include <utility>

namespace lazypull {
namespace {

StreamingOptions streaming_options() {
  StreamingOptions options;
  options.required = true;
  options.privileged = ::geteuid() == 0;
  return options;
}

class EmbeddedLease final : public Lease {
 public:
  EmbeddedLease(const asio::any_io_executor& home, EmbeddedStore& store, StoreLease lease)
      : store_(store),
        lease_(std::move(lease)),
        content_(store.content_port(lease_.id())),
        snapshotter_(store.snapshotter_port(lease_.id())),
        images_(store.image_port()),
        applier_(home, *snapshotter_, nullptr, streaming_options()) {}

  ContentStore& content() override { return *content_; }
  Snapshotter& snapshotter() override { return *snapshotter_; }
  Applier& applier() override { return applier_; }
  ImageStore& images() override { return *images_; }

  Awaitable<void> protect_snapshot(const std::string& name) override {
    return store_.protect(lease_.id(), LeaseResource::snapshot, name);
  }
  Awaitable<void> protect_content(const Digest& digest) override {
    return store_.protect(lease_.id(), LeaseResource::content, digest.str());
  }
  Awaitable<void> release(bool synchronous) override {
    std::exception_ptr failure;
    try {
      co_await applier_.close();
    } catch (...) {
      failure = std::current_exception();
    }
    // Whatever the scratch snapshot's fate, nothing that is left may be protected any more.
    co_await store_.release(std::move(lease_));
    if (synchronous) co_await store_.collect();
    if (failure) std::rethrow_exception(failure);
  }

 private:
  EmbeddedStore& store_;
  StoreLease lease_;
  std::unique_ptr<ContentStore> content_;
  std::unique_ptr<Snapshotter> snapshotter_;
  std::unique_ptr<ImageStore> images_;
  StreamingApplier applier_;
};

}  // namespace

EmbeddedBackend::EmbeddedBackend(const std::filesystem::path& directory, const std::string& name_space)
    : store_(EmbeddedStore::open(directory, name_space)) {}

void EmbeddedBackend::use_storages(std::vector<std::filesystem::path> storages,
                                   std::function<void(const std::string&)> warn) {
  RemoteLayersOptions options;
  options.storages = std::move(storages);
  options.mounts = store_->layout().layer_mounts();
  options.warn = std::move(warn);
  store_->snapshots().use_remote_layers(std::make_shared<RemoteLayers>(std::move(options)));
}

Awaitable<std::unique_ptr<Lease>> EmbeddedBackend::acquire(std::chrono::seconds lifetime) {
  const auto home = co_await asio::this_coro::executor;
  auto lease = co_await store_->acquire_lease(lifetime);
  co_return std::make_unique<EmbeddedLease>(home, *store_, std::move(lease));
}

}  // namespace lazypull
