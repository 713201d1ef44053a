#pragma once

#include "engine/awaitable.hpp"

#include <exception>
#include <functional>
#include <memory>
#include <utility>

namespace lazypull {

/// Owns coroutines that run at the same time on the home thread. The first failure cancels all others and is
/// the one that is reported; the group ends only when every child has ended. Made by `with_task_group` only,
/// so that no child can outlive it.
class TaskGroup {
  struct Child;

 public:
  /// Refers to one child; harmless once the child has ended.
  class Handle {
   public:
    Handle() = default;
    /// Asks the child to stop; whatever it ends with then is no failure of the group.
    void drop();

   private:
    friend class TaskGroup;
    explicit Handle(std::weak_ptr<Child> child) : child_(std::move(child)) {}
    std::weak_ptr<Child> child_;
  };

  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  /// Starts `task`. What it refers to must outlive the group. After a failure new tasks are cancelled at
  /// once.
  Handle spawn(Awaitable<> task);
  /// Asks all children to stop; `with_task_group` still waits for them.
  void cancel();

 private:
  friend Awaitable<> with_task_group(std::function<Awaitable<>(TaskGroup&)> body);
  struct State;
  explicit TaskGroup(asio::any_io_executor executor);
  Awaitable<> join();

  std::shared_ptr<State> state_;
};

/// Runs `body`, itself a child of the group, and waits until it and everything that it spawned has ended.
/// Cancelling the caller cancels all of them. Rethrows the first failure, or Error{cancelled}.
Awaitable<> with_task_group(std::function<Awaitable<>(TaskGroup&)> body);

}  // namespace lazypull
