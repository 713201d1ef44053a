#include "transport/grpc_event.hpp"

#include "engine/error.hpp"

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <grpc/grpc.h>

#include <algorithm>
#include <utility>

namespace lazypull {

namespace {

// gRPC over HTTP/2: lower-case names, values of printable ASCII without leading or trailing blanks.
bool is_metadata_name(std::string_view name) noexcept {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  });
}

bool is_metadata_value(std::string_view value) noexcept {
  return !value.empty() && value.front() != ' ' && value.back() != ' ' &&
         std::all_of(value.begin(), value.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
}

}  // namespace

void keep_grpc_running() {
  [[maybe_unused]] static const bool running = [] {
    ::grpc_init();
    return true;
  }();
}

void add_metadata(grpc::ClientContext& context, const CallOptions& options) {
  for (const auto& [name, value] : options.metadata) {
    if (!is_metadata_name(name) || !is_metadata_value(value)) {
      throw Error(Errc::invalid_argument, options.name + ": the metadata " + name + " cannot be sent");
    }
    context.AddMetadata(name, value);
  }
}

asio::any_io_executor reach_home(const asio::any_io_executor& home) {
  const auto* executor = home.target<asio::io_context::executor_type>();
  if (executor != nullptr && executor->context().stopped()) return {};
  return asio::prefer(home, asio::execution::outstanding_work.tracked);
}

void drop_at_home(const asio::any_io_executor& home, std::shared_ptr<const void> object) {
  if (home) {
    asio::post(home, [object = std::move(object)] {});
  } else {
    new std::shared_ptr<const void>(std::move(object));
  }
}

Awaitable<> CallEvent::wait(grpc::ClientContext& context, std::function<void()> start) {
  auto initiate = [this, &context, start = std::move(start)](auto handler) mutable {
    const auto slot = asio::get_associated_cancellation_slot(handler);
    const asio::any_io_executor home = asio::get_associated_executor(handler);
    begin(Handler(std::move(handler)), slot, home, context, start);
  };
  return asio::async_initiate<const asio::use_awaitable_t<>, void()>(std::move(initiate),
                                                                     asio::use_awaitable);
}

void CallEvent::begin(Handler handler, asio::cancellation_slot slot, const asio::any_io_executor& home,
                      grpc::ClientContext& context, const std::function<void()>& start) {
  handler_.emplace(std::move(handler));
  slot_ = slot;
  home_ = asio::prefer(home, asio::execution::outstanding_work.tracked);
  if (slot_.is_connected()) {
    slot_.assign([&context](asio::cancellation_type) { context.TryCancel(); });
  }
  armed_.store(true, std::memory_order_release);
  start();
}

void CallEvent::fire(std::shared_ptr<const void> owner) {
  // A copy: as soon as this is posted, home may go on and let go of its own.
  const asio::any_io_executor home = home_;
  asio::post(home, [this, owner = std::move(owner)] { resume(); });
}

void CallEvent::resume() {
  if (slot_.is_connected()) slot_.clear();
  home_ = asio::any_io_executor();
  Handler handler(std::move(*handler_));
  handler_.reset();
  std::move(handler)();
}

}  // namespace lazypull
