#include "transport/blob_part.hpp"

#include "engine/lock_wait.hpp"
#include "engine/retry_budget.hpp"
#include "transport/registry_error.hpp"

#include <array>
#include <utility>

namespace lazypull {

Awaitable<RegistryResponse> request_range(PartedBlob blob, RegistryHost host, bool is_last, ByteRange range) {
  auto call = co_await make_call(blob, std::move(host), is_last);
  call.fields = blob_fields(blob.descriptor, 0);
  call.fields.add("Range", "bytes=" + std::to_string(range.first) + "-" + std::to_string(range.last));
  auto response = co_await blob.core->transport.send(std::move(call));
  const int status = response.http->status();
  if (status == 200 || status == 206) co_return response;
  if (status == 416) {
    throw Error(Errc::size_mismatch, response.what + ": the blob does not reach to byte " +
                                         std::to_string(range.first) + ", but its descriptor says " +
                                         std::to_string(blob.descriptor.size) + " bytes");
  }
  const auto failure = co_await failure_of(*response.http, response.what);
  throw failure;
}

void check_range(const PartedBlob& blob, const Origin& host, const RegistryResponse& response,
                 ByteRange range) {
  try {
    check_partial(response.http->head(), range, blob.descriptor.size);
  } catch (const Error& error) {
    blob.core->rangeless.insert(host);
    throw error.with_context(response.what);
  }
}

Awaitable<> read_part(const RegistryResponse& response, BlobPart& part) {
  while (!part.complete()) {
    const auto got = co_await response.http->read(part.space());
    if (got == 0) {
      const auto missing = part.missing();
      throw Error(Errc::bad_response, response.what + ": the body ended, and bytes " +
                                          std::to_string(missing.first) + "-" + std::to_string(missing.last) +
                                          " are missing");
    }
    part.add(got);
  }
  // The end of a chunked body is to be seen too, so that the connection can be used again.
  std::array<std::byte, 1> beyond{};
  const auto got = co_await response.http->read(beyond);
  if (got > 0)
    throw Error(Errc::bad_response, response.what + ": the server sends more than it was asked for");
}

namespace {

/// What is missing of a part, at one host after another.
class PartFetch {
 public:
  PartFetch(const PartedBlob& blob, BlobPart& part) : blob_(blob), part_(part) {}

  /// `broken` is the failure that the first host has been found with already.
  Awaitable<> from_any_host(std::exception_ptr broken) {
    broke_off_ = broken != nullptr;
    HostTrial trial(blob_.core->hosts.of(blob_.repository), HostNeed::pull, blob_.core->health,
                    blob_.repository.locator() + blob_path(blob_.descriptor), blob_.descriptor.digest);
    trial.start_at(blob_.first_host);
    while (const auto* host = trial.next()) {
      auto failure = std::exchange(broken, nullptr);
      if (!failure || trial.is_last()) failure = co_await try_at(*host, trial.is_last());
      if (!failure) {
        trial.succeeded();
        co_return;
      }
      if (part_.complete()) std::rethrow_exception(failure);  // the body goes on where it should end
      trial.failed(failure, broke_off_);
    }
    trial.give_up();
  }

  /// The last host's connection was lost in the middle of what it was right to send.
  bool broke_off() const noexcept { return broke_off_; }

 private:
  Awaitable<std::exception_ptr> try_at(RegistryHost host, bool is_last) {
    std::exception_ptr failure;
    broke_off_ = false;
    RegistryResponse response;
    try {
      const auto origin = host.origin;
      const auto range = part_.missing();
      response = co_await request_range(blob_, std::move(host), is_last, range);
      check_range(blob_, origin, response, range);
      co_await read_part(response, part_);
    } catch (...) {
      failure = std::current_exception();
    }
    if (failure && response.http) broke_off_ = response.http->broke_off();
    co_return failure;
  }

  const PartedBlob& blob_;
  BlobPart& part_;
  bool broke_off_ = false;
};

}  // namespace

Awaitable<> fetch_part(PartedBlob blob, BlobPart& part, std::exception_ptr broken) {
  RetryBudget unlimited;
  DownloadRetry retry(blob.budget ? *blob.budget : unlimited);
  for (;;) {
    const auto before = part.bytes().size();
    PartFetch fetch(blob, part);
    std::exception_ptr failure;
    try {
      co_await fetch.from_any_host(std::exchange(broken, nullptr));
      co_return;
    } catch (...) {
      failure = std::current_exception();
    }
    if (part.complete() || !fetch.broke_off()) std::rethrow_exception(failure);
    retry.brought(part.bytes().size() - before);
    const auto pause = retry.pause_after(failure);
    if (pause.count() > 0) co_await sleep_for(pause);
  }
}

}  // namespace lazypull
