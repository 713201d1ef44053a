#pragma once

#include "engine/awaitable.hpp"
#include "transport/grpc_call.hpp"
#include "transport/grpc_event.hpp"
#include "transport/grpc_status.hpp"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

/// gRPC's callback API as awaitable functions. For .cpp files of transport/, snapshot/ and their tests only:
/// gRPC types do not go further.
namespace lazypull {

/// How a call ended. Whoever made it branches on NOT_FOUND or ALREADY_EXISTS and gives the rest to
/// require_ok.
template <class Response>
struct Reply {
  grpc::Status status;
  Response message;
};

namespace detail {

// Everything that gRPC uses until the call's end. gRPC's own hold of it is `self`, which goes home with the
// news.
template <class Request, class Response>
struct UnaryCall {
  explicit UnaryCall(Request to_send) : request(std::move(to_send)) {}
  grpc::ClientContext context;
  Request request;
  Response response;
  grpc::Status status;
  CallEvent ended;
  std::shared_ptr<const void> self;
};

}  // namespace detail

/// Makes one call: `method` is a member of the stub's `async` interface, such as
/// `&Snapshots::StubInterface::async_interface::Prepare`. Whatever happens to the call is in the reply; a
/// cancelled coroutine cancels the call and gets its end, as CANCELLED. Needs the coroutine's executor to be
/// home.
template <class Async, class Request, class Response>
Awaitable<Reply<Response>> unary_call(std::type_identity_t<Async>* stub,
                                      void (Async::*method)(grpc::ClientContext*, const Request*, Response*,
                                                            std::function<void(grpc::Status)>),
                                      std::type_identity_t<Request> request, CallOptions options) {
  const auto call = std::make_shared<detail::UnaryCall<Request, Response>>(std::move(request));
  add_metadata(call->context, options);
  call->context.set_deadline(std::chrono::system_clock::now() + options.deadline);
  call->self = call;
  std::function<void()> start = [stub, method, raw = call.get()] {
    (stub->*method)(&raw->context, &raw->request, &raw->response, [raw](grpc::Status status) {
      if (!raw->ended.take()) return;
      raw->status = std::move(status);
      raw->ended.fire(std::move(raw->self));
    });
  };
  co_await call->ended.wait(call->context, std::move(start));
  Reply<Response> reply{std::move(call->status), std::move(call->response)};
  co_return reply;
}

}  // namespace lazypull
