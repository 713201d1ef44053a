#pragma once

#include "engine/awaitable.hpp"
#include "engine/error.hpp"
#include "engine/event.hpp"
#include "tools/agent/grpc_server_call.hpp"
#include "transport/grpc_event.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>
#include <grpcpp/support/status.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

/// The server's side of calls that are answered by a stream, as coroutines of the home thread. For .cpp files
/// of the agent and their tests.
namespace lazypull {

/// A client that takes no message for so long has gone.
inline constexpr std::chrono::seconds stream_patience{120};

/// What the coroutine of such a call writes to.
template <class Response>
class ServerStream {
 public:
  virtual ~ServerStream() = default;
  /// Returns when gRPC has taken the message: as late as the client reads. So whoever streams states makes
  /// the next one only then, and a slow client misses states instead of piling them up. Throws
  /// Error{cancelled} once the client has gone, {timed_out} after `stream_patience`.
  virtual Awaitable<> write(Response message) = 0;
};

namespace detail {

// Kept alive by gRPC from its making to OnDone, and by the coroutine; dropped at home only, where its parts
// belong.
template <class Response>
class StreamReactor final : public grpc::ServerWriteReactor<Response>,
                            public ServerStream<Response>,
                            public std::enable_shared_from_this<StreamReactor<Response>> {
 public:
  using Body = std::function<Awaitable<>(ServerStream<Response>&)>;

  StreamReactor(const asio::any_io_executor& home, grpc::CallbackServerContext* context, Body body)
      : home_(home), context_(context), body_(std::move(body)) {}

  /// On gRPC's thread, before the reactor is returned to it.
  void start() {
    self_ = this->shared_from_this();
    asio::post(home_, [self = self_] { self->run(); });
  }

  void OnWriteDone(bool ok) override {
    asio::post(home_, [self = this->shared_from_this(), ok] {
      self->sent_ = ok;
      self->writing_->set();
    });
  }
  void OnCancel() override {
    asio::post(home_, [self = this->shared_from_this()] { self->cancel(); });
  }
  void OnDone() override {
    asio::post(home_, [self = std::move(self_)] {});
  }

  Awaitable<> write(Response message) override {
    if (cancelled_) throw gone();
    message_ = std::move(message);
    writing_.emplace(home_);
    expired_ = false;
    asio::steady_timer patience(home_, stream_patience);
    // The number, because this may be on its way already when the write ends.
    patience.async_wait([self = this->shared_from_this(), number = ++writes_](const auto& failure) {
      if (failure || self->writes_ != number) return;
      self->expired_ = true;
      self->context_->TryCancel();
    });
    this->StartWrite(&message_);
    co_await written();
    ++writes_;
    if (expired_) throw Error(Errc::timed_out, "the client reads nothing");
    if (!sent_) throw gone();
  }

 private:
  static Error gone() { return Error(Errc::cancelled, "the client has gone"); }

  /// The message is gRPC's until it has been written, so a coroutine that is cancelled cancels the call and
  /// still waits.
  Awaitable<> written() {
    co_await asio::this_coro::throw_if_cancelled(false);
    while (!writing_->happened()) {
      try {
        co_await writing_->wait();
      } catch (const Error&) {
        context_->TryCancel();
      }
    }
    co_await asio::this_coro::throw_if_cancelled(true);
  }

  void run() {
    if (cancelled_) {
      this->Finish(grpc::Status::CANCELLED);
      return;
    }
    auto ended = [self = this->shared_from_this()](const std::exception_ptr& failure) {
      self->running_ = false;
      self->Finish(failure ? status_of(as_error(failure)) : grpc::Status::OK);
    };
    running_ = true;
    asio::co_spawn(home_, body_(*this), asio::bind_cancellation_slot(stop_.slot(), std::move(ended)));
  }
  void cancel() {
    cancelled_ = true;
    if (running_) stop_.emit(asio::cancellation_type::terminal);
  }

  asio::any_io_executor home_;
  grpc::CallbackServerContext* context_;
  Body body_;
  std::shared_ptr<StreamReactor> self_;
  asio::cancellation_signal stop_;
  Response message_;
  std::optional<Event> writing_;
  std::uint64_t writes_ = 0;
  bool expired_ = false;
  bool sent_ = false;
  bool running_ = false;
  bool cancelled_ = false;
};

}  // namespace detail

/// Answers a call with what `body` writes, and with its end: OK, or what it throws. The body runs at home and
/// is cancelled when the client has gone; what it refers to must live until the server has been shut down,
/// and home must run until then.
template <class Response>
grpc::ServerWriteReactor<Response>* serve_stream(const asio::any_io_executor& home,
                                                 grpc::CallbackServerContext* context,
                                                 typename detail::StreamReactor<Response>::Body body) {
  const auto reactor = std::make_shared<detail::StreamReactor<Response>>(home, context, std::move(body));
  reactor->start();
  return reactor.get();
}

}  // namespace lazypull
