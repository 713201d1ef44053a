#pragma once

#include "snapshot/service/snapshot_calls.hpp"

#include <boost/asio/thread_pool.hpp>
#include <containerd/services/snapshots.grpc.pb.h>

#include <cstddef>
#include <functional>
#include <string>

namespace lazypull {

/// The most of a message that is taken. Snapshots have a few dozen labels of up to 4 KiB.
inline constexpr int max_request_bytes = 2 << 20;

/// SnapshotCalls as a gRPC service. gRPC's own threads only hand requests over; the calls block on threads
/// of a pool. Must outlive the server, which must have been shut down before.
class SnapshotService final : public containerd::services::snapshots::v1::Snapshots::CallbackService {
 public:
  SnapshotService(SnapshotRoot& root, std::size_t threads, std::function<void(const std::string&)> log)
      : calls_(root, log), log_(std::move(log)), threads_(threads) {}
  ~SnapshotService() override { threads_.join(); }
  SnapshotService(const SnapshotService&) = delete;
  SnapshotService& operator=(const SnapshotService&) = delete;

  grpc::ServerUnaryReactor* Prepare(
      grpc::CallbackServerContext* context,
      const containerd::services::snapshots::v1::PrepareSnapshotRequest* request,
      containerd::services::snapshots::v1::PrepareSnapshotResponse* response) override;
  grpc::ServerUnaryReactor* View(
      grpc::CallbackServerContext* context,
      const containerd::services::snapshots::v1::ViewSnapshotRequest* request,
      containerd::services::snapshots::v1::ViewSnapshotResponse* response) override;
  grpc::ServerUnaryReactor* Mounts(grpc::CallbackServerContext* context,
                                   const containerd::services::snapshots::v1::MountsRequest* request,
                                   containerd::services::snapshots::v1::MountsResponse* response) override;
  grpc::ServerUnaryReactor* Commit(grpc::CallbackServerContext* context,
                                   const containerd::services::snapshots::v1::CommitSnapshotRequest* request,
                                   google::protobuf::Empty* response) override;
  grpc::ServerUnaryReactor* Remove(grpc::CallbackServerContext* context,
                                   const containerd::services::snapshots::v1::RemoveSnapshotRequest* request,
                                   google::protobuf::Empty* response) override;
  grpc::ServerUnaryReactor* Stat(
      grpc::CallbackServerContext* context,
      const containerd::services::snapshots::v1::StatSnapshotRequest* request,
      containerd::services::snapshots::v1::StatSnapshotResponse* response) override;
  grpc::ServerUnaryReactor* Update(
      grpc::CallbackServerContext* context,
      const containerd::services::snapshots::v1::UpdateSnapshotRequest* request,
      containerd::services::snapshots::v1::UpdateSnapshotResponse* response) override;
  grpc::ServerWriteReactor<containerd::services::snapshots::v1::ListSnapshotsResponse>* List(
      grpc::CallbackServerContext* context,
      const containerd::services::snapshots::v1::ListSnapshotsRequest* request) override;
  grpc::ServerUnaryReactor* Usage(grpc::CallbackServerContext* context,
                                  const containerd::services::snapshots::v1::UsageRequest* request,
                                  containerd::services::snapshots::v1::UsageResponse* response) override;
  grpc::ServerUnaryReactor* Cleanup(grpc::CallbackServerContext* context,
                                    const containerd::services::snapshots::v1::CleanupRequest* request,
                                    google::protobuf::Empty* response) override;

 private:
  class Listing;

  /// Runs `call` on a thread of the pool and answers with what it threw. `what` is for messages.
  grpc::ServerUnaryReactor* answer(grpc::CallbackServerContext* context, std::string what,
                                   std::function<void()> call);
  /// What `call` throws, as a status; written to the log if it is no refusal that clients expect.
  grpc::Status status_after(const grpc::CallbackServerContext& context, const std::string& what,
                            const std::function<void()>& call);

  SnapshotCalls calls_;
  std::function<void(const std::string&)> log_;
  boost::asio::thread_pool threads_;
};

}  // namespace lazypull
