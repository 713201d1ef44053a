#include "snapshot/service/snapshot_service.hpp"

#include "engine/error.hpp"
#include "transport/grpc_status.hpp"

#include <boost/asio/post.hpp>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <utility>

namespace lazypull {

namespace {

namespace api = ::containerd::services::snapshots::v1;

/// Refusals that are part of the contract. containerd asks for what is not there, and removes it twice.
bool is_expected(Errc code) noexcept {
  switch (code) {
    case Errc::invalid_argument:
    case Errc::not_found:
    case Errc::already_exists:
    case Errc::cancelled:
      return true;
    default:
      return false;
  }
}

grpc::Status status_of(const Error& error, const std::string& what) {
  auto message = bounded_message(what) + ": " + error.message();
  constexpr std::string_view full = "no space left on device";
  // The one thing that clients know a full disk by where containerd stands between.
  if (error.code() == Errc::out_of_space) message = std::string(full) + ": " + message;
  return {code_of(error.code()), bounded_message(std::move(message))};
}

}  // namespace

grpc::Status SnapshotService::status_after(const grpc::CallbackServerContext& context,
                                           const std::string& what, const std::function<void()>& call) {
  if (context.IsCancelled()) return grpc::Status::CANCELLED;
  try {
    call();
    return grpc::Status::OK;
  } catch (...) {
    const Error error = as_error(std::current_exception());
    auto status = status_of(error, what);
    if (!is_expected(error.code())) log_(status.error_message());
    return status;
  }
}

grpc::ServerUnaryReactor* SnapshotService::answer(grpc::CallbackServerContext* context, std::string what,
                                                  std::function<void()> call) {
  auto* reactor = context->DefaultReactor();
  asio::post(threads_, [this, context, reactor, what = std::move(what), call = std::move(call)] {
    reactor->Finish(status_after(*context, what, call));
  });
  return reactor;
}

grpc::ServerUnaryReactor* SnapshotService::Prepare(grpc::CallbackServerContext* context,
                                                   const api::PrepareSnapshotRequest* request,
                                                   api::PrepareSnapshotResponse* response) {
  return answer(context, "prepare " + request->key(),
                [this, request, response] { *response = calls_.prepare(*request); });
}

grpc::ServerUnaryReactor* SnapshotService::View(grpc::CallbackServerContext* context,
                                                const api::ViewSnapshotRequest* request,
                                                api::ViewSnapshotResponse* response) {
  return answer(context, "view " + request->key(),
                [this, request, response] { *response = calls_.view(*request); });
}

grpc::ServerUnaryReactor* SnapshotService::Mounts(grpc::CallbackServerContext* context,
                                                  const api::MountsRequest* request,
                                                  api::MountsResponse* response) {
  return answer(context, "mounts of " + request->key(),
                [this, request, response] { *response = calls_.mounts(*request); });
}

grpc::ServerUnaryReactor* SnapshotService::Commit(grpc::CallbackServerContext* context,
                                                  const api::CommitSnapshotRequest* request,
                                                  google::protobuf::Empty*) {
  return answer(context, "commit " + request->key() + " as " + request->name(),
                [this, request] { calls_.commit(*request); });
}

grpc::ServerUnaryReactor* SnapshotService::Remove(grpc::CallbackServerContext* context,
                                                  const api::RemoveSnapshotRequest* request,
                                                  google::protobuf::Empty*) {
  return answer(context, "remove " + request->key(), [this, request] { calls_.remove(*request); });
}

grpc::ServerUnaryReactor* SnapshotService::Stat(grpc::CallbackServerContext* context,
                                                const api::StatSnapshotRequest* request,
                                                api::StatSnapshotResponse* response) {
  return answer(context, "stat " + request->key(),
                [this, request, response] { *response = calls_.stat(*request); });
}

grpc::ServerUnaryReactor* SnapshotService::Update(grpc::CallbackServerContext* context,
                                                  const api::UpdateSnapshotRequest* request,
                                                  api::UpdateSnapshotResponse* response) {
  return answer(context, "update " + request->info().name(),
                [this, request, response] { *response = calls_.update(*request); });
}

grpc::ServerUnaryReactor* SnapshotService::Usage(grpc::CallbackServerContext* context,
                                                 const api::UsageRequest* request,
                                                 api::UsageResponse* response) {
  return answer(context, "usage of " + request->key(),
                [this, request, response] { *response = calls_.usage(*request); });
}

grpc::ServerUnaryReactor* SnapshotService::Cleanup(grpc::CallbackServerContext* context,
                                                   const api::CleanupRequest*, google::protobuf::Empty*) {
  return answer(context, "cleanup", [this] { calls_.cleanup(); });
}

/// Snapshots on their way to one client, in messages of a bounded size. Deletes itself in the end.
class SnapshotService::Listing final : public grpc::ServerWriteReactor<api::ListSnapshotsResponse> {
 public:
  void start(std::vector<StoredSnapshot> all) {
    all_ = std::move(all);
    write_next();
  }
  void OnWriteDone(bool sent) override {
    if (sent) {
      write_next();
    } else {
      Finish(grpc::Status::CANCELLED);
    }
  }
  void OnDone() override { delete this; }

 private:
  void write_next() {
    constexpr int most = 100;
    constexpr std::size_t enough_bytes = std::size_t{512} << 10U;
    message_.Clear();
    std::size_t bytes = 0;
    for (; next_ < all_.size() && message_.info_size() < most && bytes < enough_bytes; ++next_) {
      auto& info = *message_.add_info();
      info = info_of(all_[next_]);
      bytes += info.ByteSizeLong();
    }
    if (message_.info().empty()) {
      Finish(grpc::Status::OK);
    } else {
      StartWrite(&message_);
    }
  }

  std::vector<StoredSnapshot> all_;
  std::size_t next_ = 0;
  api::ListSnapshotsResponse message_;
};

grpc::ServerWriteReactor<api::ListSnapshotsResponse>* SnapshotService::List(
    grpc::CallbackServerContext* context, const api::ListSnapshotsRequest* request) {
  auto* listing = new Listing;  // gRPC's reactors end with their call
  asio::post(threads_, [this, context, request, listing] {
    std::vector<StoredSnapshot> all;
    const auto status = status_after(*context, "list", [&] { all = calls_.list(*request); });
    if (status.ok()) {
      listing->start(std::move(all));
    } else {
      listing->Finish(status);
    }
  });
  return listing;
}

}  // namespace lazypull
