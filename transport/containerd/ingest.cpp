#include "transport/containerd/content_impl.hpp"
#include "transport/containerd/convert.hpp"
#include "transport/containerd/daemon_wait.hpp"
#include "transport/grpc_bridge.hpp"
#include "transport/grpc_stream.hpp"

#include <algorithm>
#include <chrono>
#include <deque>
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

/// Opens the stream of one ingest, as often as it takes.
class WriteStreams {
 public:
  struct Opened {
    std::optional<WriteStream> stream;  ///< none: the content is there
    std::uint64_t offset = 0;
  };

  WriteStreams(ContainerdClient client, content_api::Content::Stub& stub, std::string ref,
               const Descriptor& descriptor)
      : client_(std::move(client)), stub_(stub), ref_(std::move(ref)), descriptor_(descriptor) {}

  const std::string& ref() const noexcept { return ref_; }
  const Descriptor& descriptor() const noexcept { return descriptor_; }
  DaemonWait wait() const { return DaemonWait(client_.deadlines().reconnect); }

  Awaitable<Opened> open() const;

 private:
  ContainerdClient client_;
  content_api::Content::Stub& stub_;
  std::string ref_;
  Descriptor descriptor_;
};

Awaitable<WriteStreams::Opened> WriteStreams::open() const {
  const CallOptions options = client_.call("Content/Write " + ref_, client_.deadlines().ingest);
  const auto home = co_await asio::this_coro::executor;
  WriteStream stream(home, stub_.async(), &content_api::Content::Stub::async::Write, options);
  auto& request = stream.request();
  request.set_action(content_api::STAT);
  request.set_ref(ref_);
  request.set_total(to_wire_size(descriptor_.size, options.name));
  request.set_expected(descriptor_.digest.str());
  const bool sent = co_await stream.write();
  std::optional<content_api::WriteContentResponse> answer;
  if (sent) {
    auto received = co_await stream.read();
    answer = std::move(received);
  }
  Opened opened;
  if (!answer) {
    const auto status = co_await stream.finish();
    if (status.error_code() == grpc::StatusCode::ALREADY_EXISTS) co_return opened;
    if (!status.ok()) throw ingest_error(status, options.name);
    throw Error(Errc::bad_response, options.name + ": containerd ended the stream");
  }
  // An ingest that is longer than the content is none of it. A first write at 0 cuts it to nothing.
  const auto offset = from_wire_size(answer->offset(), options.name);
  opened.offset = offset > descriptor_.size ? 0 : offset;
  // Named in the first message only: containerd looks the digest up each time that it is.
  request.Clear();
  opened.stream.emplace(std::move(stream));
  co_return opened;
}

/// Survives a restart of containerd: what it has not confirmed is kept, and sent again from where its file
/// ends.
class StreamedIngest final : public ContainerdIngest {
 public:
  StreamedIngest(WriteStreams streams, WriteStreams::Opened opened,
                 std::function<Awaitable<>(const std::string&)> abort)
      : streams_(std::move(streams)),
        stream_(*std::move(opened.stream)),
        abort_(std::move(abort)),
        name_("Content/Write " + streams_.ref()),
        offset_(opened.offset),
        sent_(opened.offset),
        confirmed_(opened.offset) {}

  std::uint64_t offset() const noexcept override { return offset_; }
  Awaitable<void> write(std::span<const std::byte> bytes) override;
  Awaitable<CommitOutcome> commit(const Labels& labels) override;
  Awaitable<bool> still_held() override;
  Awaitable<void> close() override;

 private:
  struct Piece {
    std::uint64_t offset;
    std::string bytes;
  };

  Awaitable<> send();
  Awaitable<bool> transmit(std::string& bytes, std::uint64_t offset);
  Awaitable<> receive();
  Awaitable<std::optional<grpc::Status>> try_commit(const Labels& labels);
  [[nodiscard]] Awaitable<Error> failure();
  Awaitable<> recover(Error lost);
  Awaitable<> reopen();

  WriteStreams streams_;
  WriteStream stream_;
  std::function<Awaitable<>(const std::string&)> abort_;
  std::string name_;
  std::uint64_t offset_;            // when it was opened
  std::uint64_t sent_;              // the ingest's end once all that was sent has arrived
  std::uint64_t confirmed_;         // its end as far as containerd has said so
  std::string buffer_;              // to be sent next
  std::deque<Piece> pending_;       // sent, and not confirmed
  std::vector<std::string> spare_;  // buffers to be used again
  bool exists_ = false;             // somebody has finished the content while containerd was away
  bool ended_ = false;              // the stream is over, and with it our hold of the ingest
};

// Small writes are put together: the bytes are copied into the message in any case.
Awaitable<void> StreamedIngest::write(std::span<const std::byte> bytes) {
  const auto& size = streams_.descriptor().size;
  if (bytes.size() > size - sent_ - buffer_.size()) {
    throw Error(Errc::size_mismatch, name_ + ": more than " + std::to_string(size) + " bytes");
  }
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min(bytes.size(), message_bytes - buffer_.size()));
    buffer_.append(reinterpret_cast<const char*>(part.data()), part.size());
    bytes = bytes.subspan(part.size());
    if (buffer_.size() == message_bytes) co_await send();
  }
}

Awaitable<> StreamedIngest::send() {
  while (pending_.size() >= window) co_await receive();
  auto& piece = pending_.emplace_back(Piece{sent_, std::move(buffer_)});
  sent_ += piece.bytes.size();
  buffer_.clear();
  if (!spare_.empty()) {
    buffer_ = std::move(spare_.back());
    spare_.pop_back();
    buffer_.clear();
  }
  if (exists_) co_return;
  const bool taken = co_await transmit(piece.bytes, piece.offset);
  if (taken) co_return;
  Error lost = co_await failure();
  co_await recover(std::move(lost));
}

// The bytes are there again when it has returned. False if the stream has ended.
Awaitable<bool> StreamedIngest::transmit(std::string& bytes, std::uint64_t offset) {
  auto& request = stream_.request();
  request.set_action(content_api::WRITE);
  request.set_offset(to_wire_size(offset, name_));
  request.mutable_data()->swap(bytes);
  const bool taken = co_await stream_.write();
  stream_.request().mutable_data()->swap(bytes);
  co_return taken;
}

Awaitable<> StreamedIngest::receive() {
  if (!exists_) {
    const auto answer = co_await stream_.read();
    if (!answer) {
      Error lost = co_await failure();
      co_await recover(std::move(lost));
      co_return;  // what is still pending has been sent again, and is waited for again
    }
  }
  auto& piece = pending_.front();
  confirmed_ = piece.offset + piece.bytes.size();
  spare_.push_back(std::move(piece.bytes));
  pending_.pop_front();
}

Awaitable<CommitOutcome> StreamedIngest::commit(const Labels& labels) {
  for (;;) {
    // The end's own answer must not be mistaken for that of a write.
    while (!pending_.empty()) co_await receive();
    if (exists_) co_return CommitOutcome::already_exists;
    const auto status = co_await try_commit(labels);
    ended_ = true;
    if (!status) throw Error(Errc::bad_response, name_ + ": containerd ended the stream without an answer");
    if (status->ok()) co_return CommitOutcome::committed;
    if (status->error_code() == grpc::StatusCode::ALREADY_EXISTS) co_return CommitOutcome::already_exists;
    Error error = ingest_error(*status, name_);
    // What is stored under this ref can never become the content: the next try must start anew.
    if (error.code() == Errc::digest_mismatch || error.code() == Errc::size_mismatch) {
      co_await abort_(streams_.ref());
    }
    co_await recover(std::move(error));
  }
}

// None if the stream has ended well, but without an answer.
Awaitable<std::optional<grpc::Status>> StreamedIngest::try_commit(const Labels& labels) {
  const auto& descriptor = streams_.descriptor();
  auto& request = stream_.request();
  request.set_total(to_wire_size(descriptor.size, name_));
  request.set_expected(descriptor.digest.str());
  set_labels(*request.mutable_labels(), labels);
  request.set_action(content_api::COMMIT);
  request.set_offset(to_wire_size(sent_, name_));
  request.mutable_data()->swap(buffer_);
  const bool taken = co_await stream_.write();
  stream_.request().mutable_data()->swap(buffer_);
  bool answered = false;
  if (taken) {
    const auto answer = co_await stream_.read();
    answered = answer.has_value();
  }
  std::optional<grpc::Status> status = co_await stream_.finish();
  if (status->ok() && !answered) status.reset();
  co_return status;
}

Awaitable<bool> StreamedIngest::still_held() {
  while (!pending_.empty()) co_await receive();
  if (exists_ || ended_) co_return false;
  auto& request = stream_.request();
  request.set_action(content_api::STAT);
  request.mutable_data()->clear();
  const bool taken = co_await stream_.write();
  if (taken) {
    const auto answer = co_await stream_.read();
    if (answer) co_return true;
  }
  const Error lost = co_await failure();
  if (lost.code() != Errc::unavailable) throw lost;
  co_return false;
}

Awaitable<void> StreamedIngest::close() {
  if (ended_) co_return;
  ended_ = true;
  const auto status = co_await stream_.close();
  // A daemon that has gone away holds nothing for us any more either.
  if (!status.ok() && status.error_code() != grpc::StatusCode::UNAVAILABLE) {
    throw ingest_error(status, name_);
  }
}

Awaitable<Error> StreamedIngest::failure() {
  ended_ = true;
  const auto status = co_await stream_.finish();
  if (status.ok()) co_return Error(Errc::bad_response, name_ + ": containerd ended the stream");
  co_return ingest_error(status, name_);
}

// Throws `lost` unless it is containerd that has gone away and comes back in time.
Awaitable<> StreamedIngest::recover(Error lost) {
  auto wait = streams_.wait();
  Error last = lost;
  for (;;) {
    // Where only the connection broke, the ingest may stay locked until containerd notices.
    const bool passes = last.code() == Errc::unavailable || last.code() == Errc::locked;
    if (lost.code() != Errc::unavailable || !passes) throw last;
    const bool more = co_await wait.pause();
    if (!more) throw last;
    try {
      co_await reopen();
      co_return;
    } catch (const Error& error) {
      last = error;
    }
  }
}

Awaitable<> StreamedIngest::reopen() {
  auto opened = co_await streams_.open();
  if (!opened.stream) {
    exists_ = true;
    co_return;
  }
  stream_ = *std::move(opened.stream);
  ended_ = false;
  const auto offset = opened.offset;
  if (offset < confirmed_ || offset > sent_ + buffer_.size()) {
    throw Error(Errc::failed_precondition, name_ + ": containerd has come back with " +
                                               std::to_string(offset) + " bytes of it, after " +
                                               std::to_string(confirmed_) + " had been written");
  }
  // What the end of a lost Commit has brought.
  if (offset > sent_) {
    buffer_.erase(0, static_cast<std::size_t>(offset - sent_));
    sent_ = offset;
  }
  std::erase_if(pending_, [&](const Piece& piece) { return piece.offset + piece.bytes.size() <= offset; });
  for (auto& piece : pending_) {
    if (piece.offset < offset) {
      piece.bytes.erase(0, static_cast<std::size_t>(offset - piece.offset));
      piece.offset = offset;
    }
    const bool taken = co_await transmit(piece.bytes, piece.offset);
    if (taken) continue;
    Error lost = co_await failure();
    throw lost;
  }
}

}  // namespace

Awaitable<std::unique_ptr<ContainerdIngest>> open_write_stream(
    ContainerdClient client, content_api::Content::Stub& stub,
    std::function<Awaitable<>(const std::string&)> abort, std::string ref, Descriptor descriptor) {
  WriteStreams streams(std::move(client), stub, std::move(ref), descriptor);
  auto wait = streams.wait();
  for (;;) {
    std::optional<Error> lost;
    try {
      auto opened = co_await streams.open();
      if (!opened.stream) co_return nullptr;
      co_return std::make_unique<StreamedIngest>(std::move(streams), std::move(opened), std::move(abort));
    } catch (const Error& error) {
      if (error.code() != Errc::unavailable) throw;
      lost = error;
    }
    const bool more = co_await wait.pause();
    if (!more) throw *lost;
  }
}

// Our own stream may have been given up a moment ago, and containerd not have noticed yet.
Awaitable<std::unique_ptr<ContainerdIngest>> hold_ingest(ContainerdClient client,
                                                         content_api::Content::Stub& stub, std::string ref) {
  constexpr std::chrono::milliseconds until_it_is_noticed{2000};
  DaemonWait notice(until_it_is_noticed);
  for (;;) {
    try {
      auto held = co_await open_write_stream(client, stub, {}, ref, {});
      co_return held;
    } catch (const Error& error) {
      if (error.code() != Errc::locked) throw;
    }
    const bool more = co_await notice.pause();
    if (!more) co_return nullptr;
  }
}

}  // namespace lazypull
