#pragma once

#include "engine/awaitable.hpp"
#include "transport/grpc_call.hpp"

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <grpcpp/client_context.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>

namespace lazypull {

/// Keeps gRPC from being shut down with its last object: that waits for a poller of its own, for up to ten
/// seconds, in whatever thread drops the object. Call before the first channel or server is made; costs
/// nothing again.
void keep_grpc_running();

/// Metadata into a context that has not been used. Throws Error{invalid_argument} for what HTTP/2 cannot
/// carry: gRPC would abort the process.
void add_metadata(grpc::ClientContext& context, const CallOptions& options);

/// The executor by which a call that nobody waits for any more can still reach home: it counts as work, so
/// home runs until the call's end. Empty if home has been stopped, and is perhaps being destroyed.
asio::any_io_executor reach_home(const asio::any_io_executor& home);

/// Destroys at home what a thread of gRPC has the last hold of. A call keeps its channel, and the last
/// channel of the process joins gRPC's threads when it goes: one of them that dropped it would wait for
/// itself. Where there is no home any more the object is leaked.
void drop_at_home(const asio::any_io_executor& home, std::shared_ptr<const void> object);

/// One kind of event of one call (its end, a read, a write): a coroutine of the home thread waits for it, a
/// thread of gRPC fires it. May be used again and again, one wait at a time. The io_context must be run until
/// every wait has ended; a wait counts as outstanding work.
class CallEvent {
 public:
  CallEvent() = default;
  CallEvent(const CallEvent&) = delete;
  CallEvent& operator=(const CallEvent&) = delete;

  /// Runs `start`, which makes gRPC begin what will fire this event, and suspends until it has. When the
  /// coroutine is cancelled the call is told to cancel and nothing else: the end still comes from gRPC, to
  /// which the buffers belong until then. The event and `context` must live until the coroutine goes on.
  Awaitable<> wait(grpc::ClientContext& context, std::function<void()> start);

  /// On gRPC's thread, before anything of the call is touched: sees all that home wrote before the wait.
  /// False if nobody waits.
  bool take() noexcept { return armed_.exchange(false, std::memory_order_acquire); }
  /// After `take`, last of all: lets the coroutine go on. `owner` is what this event is part of; it is handed
  /// over to home, which drops it after the coroutine has been resumed.
  void fire(std::shared_ptr<const void> owner);

 private:
  using Handler = asio::any_completion_handler<void()>;
  void begin(Handler handler, asio::cancellation_slot slot, const asio::any_io_executor& home,
             grpc::ClientContext& context, const std::function<void()>& start);
  void resume();

  // Written at home before `armed_`, read by gRPC's thread after it.
  asio::any_io_executor home_;
  std::atomic<bool> armed_ = false;
  // Home only. The handler is emplaced, never assigned: Boost 1.81's assignment never returns.
  std::optional<Handler> handler_;
  asio::cancellation_slot slot_;
};

}  // namespace lazypull
