#include "snapshot/containerd_backend.hpp"

#include "engine/deadline.hpp"
#include "engine/error.hpp"
#include "snapshot/unpack/streaming_applier.hpp"

#include <exception>
#include <unistd.h>

namespace lazypull {

namespace {

// An ingest that belongs to a lease goes with it, so an interrupted download could never be resumed. Large
// ingests are therefore opened without the lease (containerd keeps those for a day), and the lease takes
// their content beforehand: a resource need not exist yet.
class LeasedContent final : public ContentStore {
 public:
  LeasedContent(const ContainerdClient& client, const ContainerdClient& leased, ContainerdLeases& leases,
                LocalContent* local)
      : lease_(leased.lease()), leases_(leases), leased_(leased), unleased_(client), local_(local) {}

  Awaitable<std::optional<ContentInfo>> info(const Digest& digest) override { return leased_.info(digest); }
  Awaitable<void> update_labels(const Digest& digest, const Labels& labels) override {
    return leased_.update_labels(digest, labels);
  }
  Awaitable<std::string> read(const Digest& digest, std::uint64_t limit) override {
    return leased_.read(digest, limit);
  }
  Awaitable<std::unique_ptr<BlobReader>> open(const Digest& digest) override { return leased_.open(digest); }
  Awaitable<void> abort(const std::string& ref) override { return leased_.abort(ref); }

  Awaitable<std::unique_ptr<Ingest>> ingest(const std::string& ref, const Descriptor& descriptor) override {
    if (descriptor.size < worth_resuming) {
      auto small = co_await leased_.ingest(ref, descriptor);
      co_return small;
    }
    const auto resource = LeasedResource::content(descriptor.digest);
    co_await leases_.add(lease_, resource);
    if (local_) co_return co_await local_->ingest(unleased_, ref, descriptor);
    co_return co_await unleased_.ingest(ref, descriptor);
  }

 private:
  static constexpr std::uint64_t worth_resuming = 1U << 20U;

  std::string lease_;
  ContainerdLeases& leases_;
  ContainerdContent leased_;
  ContainerdContent unleased_;
  LocalContent* local_;
};

class ContainerdLease final : public Lease {
 public:
  ContainerdLease(const ContainerdClient& client, const std::string& snapshotter, ContainerdLeases& leases,
                  std::string id, LocalContent* local)
      : leases_(leases),
        id_(std::move(id)),
        leased_(client.with_lease(id_)),
        content_(client, leased_, leases, local),
        snapshotter_(leased_, snapshotter),
        applier_(leased_),
        images_(leased_) {}

  void unpack_directly(const asio::any_io_executor& home, bool required) {
    StreamingOptions options;
    options.required = required;
    streaming_.emplace(home, snapshotter_, &applier_, options);
  }

  ContentStore& content() override { return content_; }
  Snapshotter& snapshotter() override { return snapshotter_; }
  Applier& applier() override {
    if (streaming_) return *streaming_;
    return applier_;
  }
  ImageStore& images() override { return images_; }

  Awaitable<void> protect_snapshot(const std::string& name) override {
    const auto resource = LeasedResource::snapshot(snapshotter_.name(), name);
    co_await leases_.add(id_, resource);
  }
  Awaitable<void> protect_content(const Digest& digest) override {
    const auto resource = LeasedResource::content(digest);
    co_await leases_.add(id_, resource);
  }
  Awaitable<void> release(bool synchronous) override {
    if (streaming_) co_await close_scratch();
    co_await leases_.remove(id_, synchronous);
  }

 private:
  Awaitable<> close_scratch() {
    constexpr std::chrono::milliseconds limit{500};
    std::exception_ptr failure;
    try {
      auto close = streaming_->close();
      co_await with_deadline(std::move(close), limit, "remove the scratch snapshot");
    } catch (...) {
      // Without the lease the garbage collector takes it.
      failure = std::current_exception();
    }
  }

  ContainerdLeases& leases_;
  std::string id_;
  ContainerdClient leased_;
  LeasedContent content_;
  ContainerdSnapshotter snapshotter_;
  ContainerdApplier applier_;
  std::optional<StreamingApplier> streaming_;
  ContainerdImages images_;
};

}  // namespace

ContainerdBackend::ContainerdBackend(asio::any_io_executor home, ContainerdClient client,
                                     SnapshotterInfo info, const std::string& content_root, UnpackMode unpack)
    : home_(std::move(home)),
      client_(std::move(client)),
      info_(std::move(info)),
      unpack_(unpack),
      content_(client_),
      snapshotter_(client_, info_.name),
      images_(client_),
      leases_(client_) {
  const bool may_write = ::geteuid() == 0 && unpack_ != UnpackMode::diff_service;
  if (may_write && !content_root.empty()) local_content_.emplace(content_root, client_.name_space());
}

Awaitable<std::unique_ptr<ContainerdBackend>> ContainerdBackend::connect(ContainerdOptions options,
                                                                         std::string snapshotter,
                                                                         UnpackMode unpack) {
  const auto home = co_await asio::this_coro::executor;
  const auto client = ContainerdClient::open(std::move(options));
  ServerPlugins plugins;
  std::exception_ptr failure;
  try {
    plugins = co_await list_plugins(client);
  } catch (...) {
    failure = std::current_exception();
  }
  if (failure) rethrow_with_context(failure, "connect to containerd at " + client.address());
  const auto& found = find_snapshotter(plugins.snapshotters, snapshotter);
  co_return std::unique_ptr<ContainerdBackend>(
      new ContainerdBackend(home, client, found, plugins.content_root, unpack));
}

bool ContainerdBackend::unpacks_directly() const {
  if (unpack_ != UnpackMode::automatic) return unpack_ == UnpackMode::direct;
  // Of containerd's own only overlayfs keeps each layer in a folder of its own; a proxy's mounts will tell.
  return ::geteuid() == 0 && (info_.is_proxy() || info_.name == "overlayfs");
}

Awaitable<std::unique_ptr<Lease>> ContainerdBackend::acquire(std::chrono::seconds lifetime) {
  auto id = co_await leases_.create(lifetime);
  auto lease = std::make_unique<ContainerdLease>(client_, info_.name, leases_, std::move(id),
                                                 local_content_ ? &*local_content_ : nullptr);
  if (unpacks_directly()) lease->unpack_directly(home_, unpack_ == UnpackMode::direct);
  co_return lease;
}

}  // namespace lazypull
