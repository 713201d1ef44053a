#include "transport/host_blob.hpp"

#include "transport/blob_reader.hpp"
#include "transport/registry_error.hpp"

namespace lazypull {

std::string blob_path(const Descriptor& descriptor) {
  const bool manifest =
      media_type::is_manifest(descriptor.media_type) || media_type::is_index(descriptor.media_type);
  return (manifest ? "/manifests/" : "/blobs/") + descriptor.digest.str();
}

HttpFields blob_fields(const Descriptor& descriptor, std::uint64_t offset) {
  HttpFields fields;
  const bool known = !descriptor.media_type.empty();
  fields.add("Accept", known ? descriptor.media_type + ", */*" : "*/*");
  // Ranges and sizes are of the blob itself, and its digest too.
  fields.add("Accept-Encoding", "identity");
  if (offset > 0) fields.add("Range", "bytes=" + std::to_string(offset) + "-");
  return fields;
}

Awaitable<RegistryCall> make_call(RemoteBlob blob, RegistryHost host, bool is_last) {
  auto path = blob_path(blob.descriptor);
  auto call =
      co_await blob.core->make_call(std::move(host), blob.repository, "GET", std::move(path), is_last);
  call.budget = blob.budget;
  co_return call;
}

Awaitable<std::unique_ptr<BlobReader>> read_response(RegistryResponse response, Descriptor descriptor,
                                                     std::uint64_t offset, std::string before) {
  const int status = response.http->status();
  if (status != 200 && status != 206 && status != 416) {
    const auto failure = co_await failure_of(*response.http, response.what);
    throw failure;
  }
  try {
    const auto plan = plan_body(response.http->head(), descriptor.size, offset);
    co_return make_blob_reader(std::move(response), plan, std::move(before));
  } catch (const Error& error) {
    throw error.with_context(response.what);
  }
}

Awaitable<std::unique_ptr<BlobReader>> open_at_host(RemoteBlob blob, RegistryHost host, bool is_last,
                                                    std::uint64_t offset, std::string before) {
  const auto origin = host.origin;
  const auto& digest = blob.descriptor.digest;
  auto call = co_await make_call(blob, std::move(host), is_last);
  call.fields = blob_fields(blob.descriptor, offset);
  const auto etag = offset > 0 ? blob.core->interrupted.etag(origin, digest) : std::nullopt;
  if (etag) call.fields.add("If-Range", *etag);
  auto response = co_await blob.core->transport.send(std::move(call));
  const int status = response.http->status();
  // With another entity tag than before, it would be right to send all.
  const auto same_etag = etag && strong_etag(response.http->head().fields) == etag;
  if (offset > 0 && status == 200 && (!etag || same_etag)) blob.core->rangeless.insert(origin);
  if (status == 200 || status == 206) {
    blob.core->interrupted.note_etag(origin, digest, response.http->head().fields);
  }
  auto reader = co_await read_response(std::move(response), blob.descriptor, offset, std::move(before));
  co_return reader;
}

}  // namespace lazypull
