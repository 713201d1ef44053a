#include "engine/task_group.hpp"

#include "engine/error.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <list>
#include <utility>

namespace lazypull {

struct TaskGroup::Child {
  void cancel() {
    if (!ended) signal.emit(asio::cancellation_type::terminal);
  }

  asio::cancellation_signal signal;
  bool ended = false;
  bool dropped = false;
};

void TaskGroup::Handle::drop() {
  if (const auto child = child_.lock()) {
    child->dropped = true;
    child->cancel();
  }
}

struct TaskGroup::State {
  using Children = std::list<std::shared_ptr<Child>>;

  explicit State(asio::any_io_executor on)
      : executor(std::move(on)), all_ended(executor, asio::steady_timer::time_point::max()) {}

  void cancel() {
    if (cancelled) return;
    cancelled = true;
    for (const auto& child : children) child->cancel();
  }

  void end(Child& child, const std::exception_ptr& why) {
    child.ended = true;
    if (why && !failure && !child.dropped) {
      failure = why;
      cancel();
    }
  }

  asio::any_io_executor executor;
  asio::steady_timer all_ended;
  Children children;
  std::exception_ptr failure;
  bool cancelled = false;
};

TaskGroup::TaskGroup(asio::any_io_executor executor) : state_(std::make_shared<State>(std::move(executor))) {}

void TaskGroup::cancel() {
  state_->cancel();
}

TaskGroup::Handle TaskGroup::spawn(Awaitable<> task) {
  const auto child = state_->children.insert(state_->children.end(), std::make_shared<Child>());
  auto ended = [state = state_, child](const std::exception_ptr& failure) {
    state->end(**child, failure);
    // The coroutine's frame, which refers to the signal, is still being taken down: let go of it a step
    // later.
    asio::post(state->executor, [state, child] {
      state->children.erase(child);
      if (state->children.empty()) state->all_ended.cancel();
    });
  };
  asio::co_spawn(state_->executor, std::move(task),
                 asio::bind_cancellation_slot((*child)->signal.slot(), std::move(ended)));
  if (state_->cancelled) (*child)->cancel();
  return Handle(*child);
}

// Runs with throw_if_cancelled(false): whatever happens to the caller, children are waited for.
Awaitable<> TaskGroup::join() {
  while (!state_->children.empty()) {
    const auto outer = co_await asio::this_coro::cancellation_state;
    if (outer.cancelled() != asio::cancellation_type::none) {
      if (!state_->failure) state_->failure = std::make_exception_ptr(Error(Errc::cancelled, "cancelled"));
      cancel();
      // From here on only the children's end counts; a second cancellation has nothing to add.
      co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    }
    co_await state_->all_ended.async_wait(asio::as_tuple(asio::use_awaitable));
  }
}

Awaitable<> with_task_group(std::function<Awaitable<>(TaskGroup&)> body) {
  const auto executor = co_await asio::this_coro::executor;
  const bool throws = co_await asio::this_coro::throw_if_cancelled();
  co_await asio::this_coro::throw_if_cancelled(false);
  TaskGroup group(executor);
  group.spawn(body(group));
  co_await group.join();
  co_await asio::this_coro::throw_if_cancelled(throws);
  if (group.state_->failure) std::rethrow_exception(group.state_->failure);
}

}  // namespace lazypull
