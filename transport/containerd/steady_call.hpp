#pragma once

#include "transport/containerd/client.hpp"
#include "transport/containerd/daemon_wait.hpp"
#include "transport/grpc_bridge.hpp"

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

/// For .cpp files only, as grpc_bridge.hpp.
namespace lazypull {

/// How a call ended that may have been made more than once.
template <class Response>
struct SteadyReply {
  grpc::Status status;
  Response message;
  /// An earlier try was lost on its way: the daemon may have carried it out all the same, so that this one
  /// finds done what it asks for.
  bool repeated = false;
};

/// `unary_call` that is made again while the daemon is away (UNAVAILABLE), for as long as `patience` and the
/// call's own deadline, whichever ends first. Whoever makes a call that is not idempotent looks at
/// `repeated`.
template <class Async, class Request, class Response>
Awaitable<SteadyReply<Response>> steady_call(
    std::shared_ptr<DaemonContact> contact, std::chrono::milliseconds patience,
    std::type_identity_t<Async>* stub,
    void (Async::*method)(grpc::ClientContext*, const Request*, Response*, std::function<void(grpc::Status)>),
    std::type_identity_t<Request> request, CallOptions options) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + options.deadline;
  DaemonWait wait(std::min(patience, options.deadline));
  SteadyReply<Response> result;
  for (;;) {
    auto reply = co_await unary_call(stub, method, request, options);
    result.status = std::move(reply.status);
    result.message = std::move(reply.message);
    if (result.status.error_code() != grpc::StatusCode::UNAVAILABLE) {
      contact->answered = true;
      co_return result;
    }
    if (!contact->answered) co_return result;
    const bool again = co_await wait.pause();
    options.deadline = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
    if (!again || options.deadline.count() <= 0) co_return result;
    result.repeated = true;
  }
}

/// The same to a service of containerd itself.
template <class Async, class Request, class Response>
Awaitable<SteadyReply<Response>> steady_call(
    const ContainerdClient& client, std::type_identity_t<Async>* stub,
    void (Async::*method)(grpc::ClientContext*, const Request*, Response*, std::function<void(grpc::Status)>),
    std::type_identity_t<Request> request, CallOptions options) {
  return steady_call(client.contact(), client.deadlines().reconnect, stub, method, std::move(request),
                     std::move(options));
}

}  // namespace lazypull
