#pragma once

#include "engine/error.hpp"
#include "transport/grpc_bridge.hpp"

#include <boost/asio/steady_timer.hpp>
#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace lazypull {

namespace detail {

// A daemon that goes on sending after it was asked for the end is cut off.
inline constexpr int max_unread = 100;

// What both kinds of stream share. `self` keeps it alive from the start of the call to OnDone, which gRPC
// calls last and only when the one hold is removed: by `finish`, or by the handle's destructor.
template <class Reactor>
class StreamCall : public Reactor, public std::enable_shared_from_this<StreamCall<Reactor>> {
 public:
  StreamCall(const asio::any_io_executor& home, const CallOptions& options) : home_(home), options_(options) {
    add_metadata(context, options);
  }

  void OnReadDone(bool ok) override {
    if (!read.take()) return;
    read_ok = ok;
    read.fire(this->shared_from_this());
  }
  void OnDone(const grpc::Status& final_status) override {
    if (abandoned.load(std::memory_order_acquire)) {
      auto home = home_;
      drop_at_home(home, std::move(self));
    } else if (done.take()) {
      status = final_status;
      done.fire(std::move(self));
    }
  }

  // One wait. After the deadline the call is cancelled; its end still comes from gRPC.
  Awaitable<> step(CallEvent& event, std::function<void()> start) {
    const auto executor = co_await asio::this_coro::executor;
    const auto number = ++steps_;
    bool expired = false;
    asio::steady_timer timer(executor, options_.deadline);
    timer.async_wait(
        [call = this->shared_from_this(), number, &expired](const boost::system::error_code& error) {
          // The number, because this may be on its way already when the step ends, and `expired` with it.
          if (error || call->steps_ != number) return;
          expired = true;
          call->context.TryCancel();
        });
    co_await event.wait(context, std::move(start));
    ++steps_;
    if (expired) throw Error(Errc::timed_out, options_.name + ": deadline exceeded");
  }
  Awaitable<> end() {
    return step(done, [this] {
      held = false;
      this->RemoveHold();
    });
  }
  // The handle is gone, and nobody waits any more.
  void abandon() {
    if (!held) return;
    held = false;
    home_ = reach_home(home_);
    abandoned.store(true, std::memory_order_release);
    context.TryCancel();
    this->RemoveHold();
  }

  grpc::ClientContext context;
  std::shared_ptr<void> self;
  CallEvent read;
  CallEvent write;
  CallEvent done;
  grpc::Status status;
  bool read_ok = false;
  bool write_ok = false;
  bool held = false;
  std::atomic<bool> abandoned = false;
  bool read_all = false;  // the last read found the end

 private:
  asio::any_io_executor home_;
  CallOptions options_;
  std::uint64_t steps_ = 0;
};

template <class Request, class Response>
class ReadCall final : public StreamCall<grpc::ClientReadReactor<Response>> {
 public:
  using StreamCall<grpc::ClientReadReactor<Response>>::StreamCall;
  Request request;
  Response response;
};

template <class Request, class Response>
class BidiCall final : public StreamCall<grpc::ClientBidiReactor<Request, Response>> {
 public:
  using StreamCall<grpc::ClientBidiReactor<Request, Response>>::StreamCall;
  void OnWriteDone(bool ok) override { written(ok); }
  void OnWritesDoneDone(bool ok) override { written(ok); }
  Request request;
  Response response;

 private:
  void written(bool ok) {
    if (!this->write.take()) return;
    this->write_ok = ok;
    this->write.fire(this->shared_from_this());
  }
};

// Owns a call from the home thread's side; move-only.
template <class Call>
class StreamHandle {
 public:
  explicit StreamHandle(std::shared_ptr<Call> call) : call_(std::move(call)) {}
  StreamHandle(StreamHandle&&) noexcept = default;
  StreamHandle& operator=(StreamHandle&& other) noexcept {
    std::swap(call_, other.call_);
    return *this;
  }
  ~StreamHandle() {
    if (call_) call_->abandon();
  }
  Call* operator->() const noexcept { return call_.get(); }
  const std::shared_ptr<Call>& shared() const noexcept { return call_; }

  void start() const {
    call_->self = call_;
    call_->held = true;
    call_->AddHold();
    call_->StartCall();
  }

 private:
  std::shared_ptr<Call> call_;
};

}  // namespace detail

/// The client's side of a call that is answered by a stream. Destroying it cancels the call. Every step has
/// the options' deadline (Error{timed_out}, the call is cancelled) and passes on cancellation. One step at a
/// time.
template <class Response>
class ReadStream {
 public:
  virtual ~ReadStream() = default;
  /// The next message; empty at the end, and `finish` then says whether it is a good one.
  virtual Awaitable<std::optional<Response>> read() = 0;
  /// Waits for the end of the call, dropping messages that have not been read; once.
  virtual Awaitable<grpc::Status> finish() = 0;
};

namespace detail {

// Waits for the end of a call whose answers have perhaps not all been read.
template <class Stream, class Call>
Awaitable<grpc::Status> finish_stream(Stream& stream, std::shared_ptr<Call> call) {
  // gRPC keeps the status back for as long as a message, or the end of the messages, has not been read.
  for (int unread = 0; !call->read_all; ++unread) {
    if (unread == max_unread) call->context.TryCancel();
    [[maybe_unused]] const auto dropped = co_await stream.read();
  }
  co_await call->end();
  co_return call->status;
}

template <class Request, class Response>
class GrpcReadStream final : public ReadStream<Response> {
 public:
  explicit GrpcReadStream(StreamHandle<ReadCall<Request, Response>> call) : call_(std::move(call)) {}

  Awaitable<std::optional<Response>> read() override {
    const auto call = call_.shared();
    std::function<void()> start = [raw = call.get()] { raw->StartRead(&raw->response); };
    co_await call->step(call->read, std::move(start));
    call->read_all = !call->read_ok;
    std::optional<Response> next;
    if (call->read_ok) next.emplace(std::move(call->response));
    co_return next;
  }
  Awaitable<grpc::Status> finish() override { return finish_stream(*this, call_.shared()); }

 private:
  StreamHandle<ReadCall<Request, Response>> call_;
};

}  // namespace detail

/// Starts a call whose answer is a stream. Throws Error{invalid_argument} for metadata that cannot be sent.
template <class Async, class Request, class Response>
std::unique_ptr<ReadStream<Response>> open_read_stream(
    const asio::any_io_executor& home, std::type_identity_t<Async>* stub,
    void (Async::*method)(grpc::ClientContext*, const Request*, grpc::ClientReadReactor<Response>*),
    std::type_identity_t<Request> request, const CallOptions& options) {
  detail::StreamHandle handle(std::make_shared<detail::ReadCall<Request, Response>>(home, options));
  handle->request = std::move(request);
  (stub->*method)(&handle->context, &handle->request, handle.shared().get());
  handle.start();
  return std::make_unique<detail::GrpcReadStream<Request, Response>>(std::move(handle));
}

/// The client's side of a call with a stream in both directions. As for ReadStream: destroying it cancels the
/// call, every step has a deadline and can be cancelled, one step at a time (messages overlap all the same: a
/// write ends when gRPC has taken the message, not when the daemon has answered).
template <class Request, class Response>
class BidiStream {
 public:
  template <class Async>
  BidiStream(const asio::any_io_executor& home, Async* stub,
             void (std::type_identity_t<Async>::*method)(grpc::ClientContext*,
                                                         grpc::ClientBidiReactor<Request, Response>*),
             const CallOptions& options)
      : call_(std::make_shared<detail::BidiCall<Request, Response>>(home, options)) {
    (stub->*method)(&call_->context, call_.shared().get());
    call_.start();
  }

  /// The message that `write` sends. Filled in place, so that large buffers are used again and again.
  Request& request() { return call_->request; }

  /// False if the daemon has ended the call; `finish` says why. `request` may be touched again afterwards.
  Awaitable<bool> write() {
    const auto call = call_.shared();
    std::function<void()> start = [raw = call.get()] { raw->StartWrite(&raw->request); };
    co_await call->step(call->write, std::move(start));
    co_return call->write_ok;
  }

  /// The next answer; empty if the daemon has ended the call.
  Awaitable<std::optional<Response>> read() {
    const auto call = call_.shared();
    std::function<void()> start = [raw = call.get()] { raw->StartRead(&raw->response); };
    co_await call->step(call->read, std::move(start));
    call->read_all = !call->read_ok;
    std::optional<Response> next;
    if (call->read_ok) next.emplace(std::move(call->response));
    co_return next;
  }

  /// Waits for the daemon to end the call, dropping answers that have not been read; once.
  Awaitable<grpc::Status> finish() { return detail::finish_stream(*this, call_.shared()); }

  /// Tells the daemon that there is no further message, and waits for it to end the call; once.
  Awaitable<grpc::Status> close() {
    const auto call = call_.shared();
    std::function<void()> start = [raw = call.get()] { raw->StartWritesDone(); };
    co_await call->step(call->write, std::move(start));
    co_return co_await finish();
  }

 private:
  detail::StreamHandle<detail::BidiCall<Request, Response>> call_;
};

}  // namespace lazypull
