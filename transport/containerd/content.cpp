#include "transport/containerd/content.hpp"

#include "transport/containerd/content_impl.hpp"
#include "transport/containerd/convert.hpp"
#include "transport/containerd/steady_call.hpp"
#include "transport/grpc_stream.hpp"

namespace lazypull {

namespace {

using Async = content_api::Content::StubInterface::async_interface;

ContentInfo info_of(const content_api::Info& message, const std::string& of) {
  ContentInfo info;
  info.digest = digest_from_wire(message.digest(), of);
  info.size = from_wire_size(message.size(), of);
  info.labels = labels_of(message.labels());
  return info;
}

/// The parts of a blob, over as many Content/Read as it takes: one that breaks off with containerd is
/// followed by another from there on.
class ContentReader final : public BlobReader {
 public:
  using Stream = std::unique_ptr<ReadStream<content_api::ReadContentResponse>>;
  using Open = std::function<Stream(std::uint64_t offset)>;
  ContentReader(Open open, std::string name, std::chrono::milliseconds patience)
      : open_(std::move(open)), name_(std::move(name)), patience_(patience), stream_(open_(0)) {}

  Awaitable<std::span<const std::byte>> read() override {
    DaemonWait wait(patience_);
    for (;;) {
      part_ = co_await stream_->read();
      if (part_) {
        if (part_->offset() < 0 || static_cast<std::uint64_t>(part_->offset()) != offset_) {
          throw Error(Errc::bad_response, name_ + ": the parts are not in order");
        }
        offset_ += part_->data().size();
        if (!part_->data().empty()) co_return std::as_bytes(std::span(part_->data()));
        continue;
      }
      const auto status = co_await stream_->finish();
      if (status.ok()) co_return std::span<const std::byte>();
      if (status.error_code() != grpc::StatusCode::UNAVAILABLE) throw error_of(status, name_);
      const bool more = co_await wait.pause();
      if (!more) throw error_of(status, name_);
      stream_ = open_(offset_);
    }
  }

 private:
  Open open_;
  std::string name_;
  std::chrono::milliseconds patience_;
  Stream stream_;
  std::optional<content_api::ReadContentResponse> part_;
  std::uint64_t offset_ = 0;
};

}  // namespace

ContainerdContent::ContainerdContent(ContainerdClient client)
    : impl_(std::make_shared<Impl>(std::move(client))) {}
ContainerdContent::~ContainerdContent() = default;

Awaitable<std::optional<ContentInfo>> ContainerdContent::info(const Digest& digest) {
  content_api::InfoRequest request;
  request.set_digest(digest.str());
  const CallOptions options = impl_->client.call("Content/Info " + digest.str());
  const auto reply =
      co_await steady_call(impl_->client, impl_->stub->async(), &Async::Info, request, options);
  std::optional<ContentInfo> found;
  if (reply.status.error_code() == grpc::StatusCode::NOT_FOUND) co_return found;
  require_ok(reply.status, options.name);
  found = info_of(reply.message.info(), options.name);
  co_return found;
}

Awaitable<void> ContainerdContent::update_labels(const Digest& digest, const Labels& labels) {
  if (labels.empty()) co_return;
  content_api::UpdateRequest request;
  request.mutable_info()->set_digest(digest.str());
  set_labels(*request.mutable_info()->mutable_labels(), labels);
  for (const auto& [key, value] : labels) request.mutable_update_mask()->add_paths("labels." + key);
  const CallOptions options = impl_->client.call("Content/Update " + digest.str());
  const auto reply =
      co_await steady_call(impl_->client, impl_->stub->async(), &Async::Update, request, options);
  require_ok(reply.status, options.name);
}

Awaitable<std::unique_ptr<BlobReader>> ContainerdContent::open(const Digest& digest) {
  const auto home = co_await asio::this_coro::executor;
  const auto& deadlines = impl_->client.deadlines();
  const CallOptions options = impl_->client.call("Content/Read " + digest.str(), deadlines.stream_step);
  ContentReader::Open open = [home, impl = impl_, digest, options](std::uint64_t offset) {
    content_api::ReadContentRequest request;
    request.set_digest(digest.str());
    request.set_offset(to_wire_size(offset, options.name));
    return open_read_stream(home, impl->stub->async(), &Async::Read, request, options);
  };
  co_return std::make_unique<ContentReader>(std::move(open), options.name, deadlines.reconnect);
}

Awaitable<std::string> ContainerdContent::read(const Digest& digest, std::uint64_t limit) {
  const auto reader = co_await open(digest);
  std::string content;
  for (;;) {
    const auto part = co_await reader->read();
    if (part.empty()) break;
    if (part.size() > limit - content.size()) {
      throw Error(Errc::size_mismatch,
                  "Content/Read " + digest.str() + ": longer than " + std::to_string(limit) + " bytes");
    }
    content.append(reinterpret_cast<const char*>(part.data()), part.size());
  }
  co_return content;
}

Awaitable<std::unique_ptr<Ingest>> ContainerdContent::ingest(const std::string& ref,
                                                             const Descriptor& descriptor) {
  std::unique_ptr<Ingest> opened = co_await open_ingest(ref, descriptor);
  co_return opened;
}

Awaitable<std::unique_ptr<ContainerdIngest>> ContainerdContent::open_ingest(const std::string& ref,
                                                                            const Descriptor& descriptor) {
  const auto impl = impl_;
  std::function<Awaitable<>(const std::string&)> drop = [impl](const std::string& name) {
    return impl->abort(name);
  };
  auto opened = co_await open_write_stream(impl->client, *impl->stub, std::move(drop), ref, descriptor);
  co_return opened;
}

Awaitable<void> ContainerdContent::abort(const std::string& ref) {
  return impl_->abort(ref);
}

// containerd drops an ingest under whoever writes it, so it is held meanwhile.
Awaitable<void> ContainerdContent::Impl::abort(const std::string& ref) const {
  content_api::AbortRequest request;
  request.set_ref(ref);
  const CallOptions options = client.call("Content/Abort " + ref);
  const auto held = co_await hold_ingest(client, *stub, ref);
  if (!held) co_return;
  const auto reply = co_await steady_call(client, stub->async(), &Async::Abort, request, options);
  co_await held->close();
  if (reply.status.error_code() == grpc::StatusCode::NOT_FOUND) co_return;
  require_ok(reply.status, options.name);
}

Awaitable<std::vector<ContentInfo>> ContainerdContent::list(const std::vector<std::string>& filters) {
  content_api::ListContentRequest request;
  request.mutable_filters()->Add(filters.begin(), filters.end());
  const CallOptions options = impl_->client.call("Content/List", impl_->client.deadlines().stream_step);
  const auto home = co_await asio::this_coro::executor;
  const auto stream = open_read_stream(home, impl_->stub->async(), &Async::List, request, options);
  std::vector<ContentInfo> all;
  for (;;) {
    const auto part = co_await stream->read();
    if (!part) break;
    for (const auto& info : part->info()) all.push_back(info_of(info, options.name));
  }
  const auto status = co_await stream->finish();
  require_ok(status, options.name);
  co_return all;
}

}  // namespace lazypull
