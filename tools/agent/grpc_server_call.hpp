#pragma once

#include "engine/awaitable.hpp"
#include "engine/error.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>
#include <grpcpp/support/status.h>

#include <exception>
#include <functional>
#include <memory>
#include <utility>

/// The server's side of gRPC calls as coroutines of the home thread. For .cpp files of the agent and their
/// tests.
namespace lazypull {

/// What a client is told of a failure: the code that it expects for it, and all of the message, but no more
/// than a header can carry.
grpc::Status status_of(const Error& error);

namespace detail {

// Kept alive by gRPC from its making to OnDone, and by the coroutine's end; dropped at home only, where its
// parts belong.
class UnaryReactor final : public grpc::ServerUnaryReactor,
                           public std::enable_shared_from_this<UnaryReactor> {
 public:
  using Body = std::function<Awaitable<>()>;

  UnaryReactor(const asio::any_io_executor& home, Body body) : home_(home), body_(std::move(body)) {}

  /// On gRPC's thread, before the reactor is returned to it.
  void start() {
    self_ = shared_from_this();
    asio::post(home_, [self = self_] { self->run(); });
  }
  void OnCancel() override {
    asio::post(home_, [self = shared_from_this()] { self->cancel(); });
  }
  void OnDone() override {
    asio::post(home_, [self = std::move(self_)] {});
  }

 private:
  void run() {
    if (cancelled_) {
      Finish(grpc::Status::CANCELLED);
      return;
    }
    auto ended = [self = shared_from_this()](const std::exception_ptr& failure) {
      self->running_ = false;
      self->Finish(failure ? status_of(as_error(failure)) : grpc::Status::OK);
    };
    running_ = true;
    asio::co_spawn(home_, body_(), asio::bind_cancellation_slot(stop_.slot(), std::move(ended)));
  }
  void cancel() {
    cancelled_ = true;
    if (running_) stop_.emit(asio::cancellation_type::terminal);
  }

  asio::any_io_executor home_;
  Body body_;
  std::shared_ptr<UnaryReactor> self_;
  asio::cancellation_signal stop_;
  bool running_ = false;
  bool cancelled_ = false;
};

}  // namespace detail

/// Answers a unary call with what `body` has put into the response by its end, or with what it throws. The
/// body runs at home, where request and response are its own until it ends; it is cancelled when the client
/// has gone or the call's deadline has passed. What it refers to must live until the server has been shut
/// down, and home must run until then.
inline grpc::ServerUnaryReactor* serve_call(const asio::any_io_executor& home,
                                            detail::UnaryReactor::Body body) {
  const auto reactor = std::make_shared<detail::UnaryReactor>(home, std::move(body));
  reactor->start();
  return reactor.get();
}

}  // namespace lazypull
