#include "engine/pull_shared.hpp"

#include "engine/error.hpp"

namespace lazypull {

PullShared::PullShared(const PullLimits& limits)
    : downloads_(limits.downloads), unpacks_(PermitLimits{limits.unpacks, 0, 0}) {}

Awaitable<bool> PullShared::fetch_once(BlobWish& wish, const std::string& repository,
                                       std::function<Awaitable<>()> work) {
  for (;;) {
    bool mine = false;
    const auto lead = [&] {
      mine = true;
      wish.wished().leader = repository;
      return work();
    };
    std::exception_ptr failure;
    try {
      co_return co_await blobs_.run(wish.digest(), lead);
    } catch (...) {
      failure = std::current_exception();
    }
    const bool of_another = !mine && wish.wished().leader != repository && depends_on_repository(failure);
    if (!of_another) std::rethrow_exception(failure);
  }
}

BlobWish::BlobWish(PullShared& shared, const Digest& digest, PullRank rank)
    : shared_(shared), digest_(digest), wished_(&shared.wished_[digest]) {
  auto& wish = *wished_;
  const bool raises = wish.wishes == 0 || rank < wish.rank;
  ++wish.wishes;
  if (!raises) return;
  wish.rank = rank;
  for (const auto ticket : wish.downloads) shared_.downloads_.promote(ticket, rank);
  for (const auto ticket : wish.unpacks) shared_.unpacks_.promote(ticket, rank);
}

BlobWish::~BlobWish() {
  if (--wished_->wishes == 0) shared_.wished_.erase(digest_);
}

GatePermit BlobWish::join_downloads(const std::string& registry, std::uint64_t bytes) {
  auto permit = shared_.downloads_.join(rank(), registry, bytes);
  wished().downloads.insert(permit.ticket());
  return permit;
}

GatePermit BlobWish::join_unpacks() {
  auto permit = shared_.unpacks_.join(rank(), {}, 0);
  wished().unpacks.insert(permit.ticket());
  return permit;
}

bool depends_on_repository(const std::exception_ptr& failure) {
  switch (as_error(failure).code()) {
    case Errc::not_found:
    case Errc::unauthorized:
    case Errc::forbidden:
    case Errc::too_many_requests:
    case Errc::server_error:
    case Errc::bad_response:
    case Errc::digest_mismatch:
    case Errc::size_mismatch:
    case Errc::host_not_found:
    case Errc::unavailable:
    case Errc::tls_failure:
    case Errc::timed_out:
      return true;
    default:
      return false;
  }
}

}  // namespace lazypull
