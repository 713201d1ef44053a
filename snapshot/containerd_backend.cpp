#include "snapshot/containerd_backend.hpp"

#include "engine/error.hpp"

#include <exception>

namespace lazypull {

namespace {

class ContainerdLease final : public Lease {
 public:
  ContainerdLease(const ContainerdClient& client, const std::string& snapshotter, ContainerdLeases& leases,
                  std::string id)
      : leases_(leases),
        id_(std::move(id)),
        leased_(client.with_lease(id_)),
        content_(leased_),
        snapshotter_(leased_, snapshotter),
        applier_(leased_),
        images_(leased_) {}

  ContentStore& content() override { return content_; }
  Snapshotter& snapshotter() override { return snapshotter_; }
  Applier& applier() override { return applier_; }
  ImageStore& images() override { return images_; }

  Awaitable<void> protect_snapshot(const std::string& name) override {
    const auto resource = LeasedResource::snapshot(snapshotter_.name(), name);
    co_await leases_.add(id_, resource);
  }
  Awaitable<void> protect_content(const Digest& digest) override {
    const auto resource = LeasedResource::content(digest);
    co_await leases_.add(id_, resource);
  }
  Awaitable<void> release(bool synchronous) override { return leases_.remove(id_, synchronous); }

 private:
  ContainerdLeases& leases_;
  std::string id_;
  ContainerdClient leased_;
  ContainerdContent content_;
  ContainerdSnapshotter snapshotter_;
  ContainerdApplier applier_;
  ContainerdImages images_;
};

}  // namespace

ContainerdBackend::ContainerdBackend(ContainerdClient client, SnapshotterInfo info)
    : client_(std::move(client)),
      info_(std::move(info)),
      content_(client_),
      snapshotter_(client_, info_.name),
      images_(client_),
      leases_(client_) {}

Awaitable<std::unique_ptr<ContainerdBackend>> ContainerdBackend::connect(ContainerdOptions options,
                                                                         std::string snapshotter) {
  const auto client = ContainerdClient::open(std::move(options));
  std::vector<SnapshotterInfo> all;
  std::exception_ptr failure;
  try {
    all = co_await list_snapshotters(client);
  } catch (...) {
    failure = std::current_exception();
  }
  if (failure) rethrow_with_context(failure, "connect to containerd at " + client.address());
  const auto& found = find_snapshotter(all, snapshotter);
  co_return std::unique_ptr<ContainerdBackend>(new ContainerdBackend(client, found));
}

Awaitable<std::unique_ptr<Lease>> ContainerdBackend::acquire(std::chrono::seconds lifetime) {
  auto id = co_await leases_.create(lifetime);
  co_return std::make_unique<ContainerdLease>(client_, info_.name, leases_, std::move(id));
}

}  // namespace lazypull
