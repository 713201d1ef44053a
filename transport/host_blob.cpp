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

Awaitable<std::unique_ptr<BlobReader>> read_response(RegistryResponse response, Descriptor descriptor,
                                                     std::uint64_t offset) {
  const int status = response.http->status();
  if (status != 200 && status != 206 && status != 416) {
    const auto failure = co_await failure_of(*response.http, response.what);
    throw failure;
  }
  try {
    const auto plan = plan_body(response.http->head(), descriptor.size, offset);
    co_return make_blob_reader(std::move(response), plan);
  } catch (const Error& error) {
    throw error.with_context(response.what);
  }
}

Awaitable<std::unique_ptr<BlobReader>> open_at_host(std::shared_ptr<RegistryCore> core, RegistryHost host,
                                                    bool is_last, Reference repository, Descriptor descriptor,
                                                    std::uint64_t offset) {
  auto path = blob_path(descriptor);
  auto call =
      co_await core->make_call(std::move(host), std::move(repository), "GET", std::move(path), is_last);
  call.fields = blob_fields(descriptor, offset);
  auto response = co_await core->transport.send(std::move(call));
  auto reader = co_await read_response(std::move(response), std::move(descriptor), offset);
  co_return reader;
}

}  // namespace lazypull
