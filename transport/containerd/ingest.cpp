#include "transport/containerd/content_impl.hpp"
#include "transport/containerd/convert.hpp"
#include "transport/grpc_bridge.hpp"
#include "transport/grpc_stream.hpp"

#include <algorithm>
#include <functional>

namespace lazypull {

namespace {

using WriteStream = BidiStream<content_api::WriteContentRequest, content_api::WriteContentResponse>;

// What one message carries at most. Larger ones gain nothing, and containerd's limit is 16 MiB.
constexpr std::size_t message_bytes = 1U << 20U;
// How many messages may be unanswered: while containerd writes one, the next is on its way.
constexpr std::size_t window = 4;

bool says(const grpc::Status& status, std::string_view part) {
  return status.error_message().find(part) != std::string::npos;
}

Error ingest_error(const grpc::Status& status, const std::string& name) {
  const auto code = status.error_code();
  Error error = error_of(status, name);
  if (code == grpc::StatusCode::UNAVAILABLE && says(status, "locked"))
    return Error(Errc::locked, error.message());
  if (code != grpc::StatusCode::FAILED_PRECONDITION) return error;
  // The store's own words, and those of the layer that keeps namespaces apart.
  if (says(status, "unexpected commit digest") || says(status, "unexpected digest")) {
    return Error(Errc::digest_mismatch, error.message());
  }
  if (says(status, "unexpected commit size") || says(status, "failed size validation")) {
    return Error(Errc::size_mismatch, error.message());
  }
  return error;
}

class StreamedIngest final : public ContainerdIngest {
 public:
  StreamedIngest(WriteStream stream, std::function<Awaitable<>(const std::string&)> abort, std::string ref,
                 Descriptor descriptor, std::uint64_t offset)
      : stream_(std::move(stream)),
        abort_(std::move(abort)),
        ref_(std::move(ref)),
        name_("Content/Write " + ref_),
        descriptor_(std::move(descriptor)),
        // An ingest that is longer than the content is none of it. A first write at 0 cuts it to nothing.
        offset_(offset > descriptor_.size ? 0 : offset),
        sent_(offset_) {}

  std::uint64_t offset() const noexcept override { return offset_; }
  Awaitable<void> write(std::span<const std::byte> bytes) override;
  Awaitable<CommitOutcome> commit(const Labels& labels) override;
  Awaitable<void> close() override;

 private:
  Awaitable<> send(content_api::WriteAction action);
  Awaitable<> receive();
  [[nodiscard]] Awaitable<Error> failure();

  WriteStream stream_;
  std::function<Awaitable<>(const std::string&)> abort_;
  std::string ref_;
  std::string name_;
  Descriptor descriptor_;
  std::uint64_t offset_;        // when it was opened
  std::uint64_t sent_;          // the ingest's end once all that was sent has arrived
  std::size_t unanswered_ = 0;  // messages
};

// Small writes are put together: the bytes are copied into the message in any case.
Awaitable<void> StreamedIngest::write(std::span<const std::byte> bytes) {
  auto& data = *stream_.request().mutable_data();
  if (bytes.size() > descriptor_.size - sent_ - data.size()) {
    throw Error(Errc::size_mismatch, name_ + ": more than " + std::to_string(descriptor_.size) + " bytes");
  }
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min(bytes.size(), message_bytes - data.size()));
    data.append(reinterpret_cast<const char*>(part.data()), part.size());
    bytes = bytes.subspan(part.size());
    if (data.size() == message_bytes) co_await send(content_api::WRITE);
  }
}

Awaitable<CommitOutcome> StreamedIngest::commit(const Labels& labels) {
  // The end's own answer must not be mistaken for that of a write.
  while (unanswered_ > 0) co_await receive();
  auto& request = stream_.request();
  request.set_total(to_wire_size(descriptor_.size, name_));
  request.set_expected(descriptor_.digest.str());
  set_labels(*request.mutable_labels(), labels);
  request.set_action(content_api::COMMIT);
  request.set_offset(to_wire_size(sent_, name_));
  const bool sent = co_await stream_.write();
  std::optional<content_api::WriteContentResponse> answer;
  if (sent) {
    auto received = co_await stream_.read();
    answer = std::move(received);
  }
  const auto status = co_await stream_.finish();
  if (status.error_code() == grpc::StatusCode::ALREADY_EXISTS) co_return CommitOutcome::already_exists;
  if (!status.ok()) {
    Error error = ingest_error(status, name_);
    // What is stored under this ref can never become the content: the next try must start anew.
    if (error.code() == Errc::digest_mismatch || error.code() == Errc::size_mismatch) co_await abort_(ref_);
    throw error;
  }
  if (!answer) throw Error(Errc::bad_response, name_ + ": containerd ended the stream without an answer");
  co_return CommitOutcome::committed;
}

Awaitable<void> StreamedIngest::close() {
  const auto status = co_await stream_.close();
  if (!status.ok()) throw ingest_error(status, name_);
}

Awaitable<> StreamedIngest::send(content_api::WriteAction action) {
  while (unanswered_ >= window) co_await receive();
  auto& request = stream_.request();
  request.set_action(action);
  request.set_offset(to_wire_size(sent_, name_));
  const auto length = request.data().size();
  const bool sent = co_await stream_.write();
  if (!sent) {
    Error error = co_await failure();
    throw error;
  }
  ++unanswered_;
  sent_ += length;
  request.mutable_data()->clear();
}

Awaitable<> StreamedIngest::receive() {
  const auto answer = co_await stream_.read();
  if (!answer) {
    Error error = co_await failure();
    throw error;
  }
  --unanswered_;
}

Awaitable<Error> StreamedIngest::failure() {
  const auto status = co_await stream_.finish();
  if (status.ok()) co_return Error(Errc::bad_response, name_ + ": containerd ended the stream");
  co_return ingest_error(status, name_);
}

}  // namespace

Awaitable<std::unique_ptr<ContainerdIngest>> open_write_stream(
    ContainerdClient client, content_api::Content::Stub& stub,
    std::function<Awaitable<>(const std::string&)> abort, std::string ref, Descriptor descriptor) {
  const CallOptions options = client.call("Content/Write " + ref, client.deadlines().ingest);
  const auto home = co_await asio::this_coro::executor;
  WriteStream stream(home, stub.async(), &content_api::Content::Stub::async::Write, options);
  auto& request = stream.request();
  request.set_action(content_api::STAT);
  request.set_ref(ref);
  request.set_total(to_wire_size(descriptor.size, options.name));
  request.set_expected(descriptor.digest.str());
  const bool sent = co_await stream.write();
  std::optional<content_api::WriteContentResponse> answer;
  if (sent) {
    auto received = co_await stream.read();
    answer = std::move(received);
  }
  if (!answer) {
    const auto status = co_await stream.finish();
    if (status.error_code() == grpc::StatusCode::ALREADY_EXISTS) co_return nullptr;
    if (!status.ok()) throw ingest_error(status, options.name);
    throw Error(Errc::bad_response, options.name + ": containerd ended the stream");
  }
  const auto offset = from_wire_size(answer->offset(), options.name);
  // Named in the first message only: containerd looks the digest up each time that it is.
  request.Clear();
  co_return std::make_unique<StreamedIngest>(std::move(stream), std::move(abort), std::move(ref),
                                             std::move(descriptor), offset);
}

}  // namespace lazypull
