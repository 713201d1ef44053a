#include "transport/blob_part.hpp"

#include "transport/host_blob.hpp"
#include "transport/registry_error.hpp"

#include <array>

namespace lazypull {

Awaitable<RegistryResponse> request_range(PartedBlob blob, RegistryHost host, bool is_last, ByteRange range) {
  auto path = blob_path(blob.descriptor);
  auto call =
      co_await blob.core->make_call(std::move(host), blob.repository, "GET", std::move(path), is_last);
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

Awaitable<> fetch_at(PartedBlob blob, RegistryHost host, bool is_last, BlobPart& part) {
  const auto origin = host.origin;
  const auto range = part.missing();
  auto response = co_await request_range(blob, std::move(host), is_last, range);
  check_range(blob, origin, response, range);
  co_await read_part(response, part);
}

}  // namespace

Awaitable<> fetch_part(PartedBlob blob, BlobPart& part) {
  auto& core = *blob.core;
  HostTrial trial(core.hosts.of(blob.repository), HostNeed::pull, core.health,
                  blob.repository.locator() + blob_path(blob.descriptor), blob.descriptor.digest);
  trial.start_at(blob.first_host);
  while (const auto* host = trial.next()) {
    std::exception_ptr failure;
    try {
      co_await fetch_at(blob, *host, trial.is_last(), part);
      trial.succeeded();
      co_return;
    } catch (...) {
      failure = std::current_exception();
    }
    if (part.complete()) std::rethrow_exception(failure);  // the body goes on where it should end
    trial.failed(failure);
  }
  trial.give_up();
}

}  // namespace lazypull
