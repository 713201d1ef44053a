#pragma once

#include "transport/containerd/content.hpp"

#include <containerd/services/content.grpc.pb.h>
#include <grpcpp/channel.h>

#include <functional>
#include <memory>
#include <string>

namespace lazypull {

namespace content_api = ::containerd::services::content::v1;

struct ContainerdContent::Impl {
  explicit Impl(ContainerdClient connected)
      : client(std::move(connected)), stub(content_api::Content::NewStub(client.channel())) {}
  Awaitable<void> abort(const std::string& ref) const;

  ContainerdClient client;
  std::unique_ptr<content_api::Content::Stub> stub;
};

/// Opens the stream of Content/Write and asks how far the ingest is. `abort` drops the ingest once its stream
/// has ended. Null if the content exists.
Awaitable<std::unique_ptr<ContainerdIngest>> open_write_stream(
    ContainerdClient client, content_api::Content::Stub& stub,
    std::function<Awaitable<>(const std::string&)> abort, std::string ref, Descriptor descriptor);

/// Holds an ingest, or makes one, so that nobody else writes it until the result is destroyed. Null if
/// somebody else goes on writing it.
Awaitable<std::unique_ptr<ContainerdIngest>> hold_ingest(ContainerdClient client,
                                                         content_api::Content::Stub& stub, std::string ref);

}  // namespace lazypull
