#pragma once

#include "engine/image_tree.hpp"
#include "engine/layer_walk.hpp"
#include "engine/pull_context.hpp"

#include <exception>
#include <string>
#include <vector>

namespace lazypull {

/// Carries out the walk's snapshotter calls for one layer and turns what comes of them into answers. The last
/// failure is kept, since the walk decides only later whether it matters.
class LayerSteps {
 public:
  /// `purpose` begins the snapshot key: "extract" as containerd has it, or "remote" in the 2019 protocol.
  LayerSteps(PullContext& context, const ImageNode& image, std::size_t index, LayerReport& layer,
             std::string purpose, const std::set<LabelDialect>& dialects);

  /// For stat_chain, prepare, stat_key, commit and remove_key. Never throws for a failed call.
  Awaitable<WalkAnswer> carry_out(WalkAction action);

  /// For a step that is not the snapshotter's (fill): remembers why it failed.
  void failed(std::exception_ptr failure) { failure_ = std::move(failure); }

  const std::vector<Mount>& mounts() const noexcept { return mounts_; }
  const std::string& key() const noexcept { return key_; }
  const std::exception_ptr& failure() const noexcept { return failure_; }
  TracePoint trace() const noexcept { return span_.point(); }
  bool was_staged() const noexcept { return staged_; }
  bool prepared_a_key() const noexcept { return prepares_ > 0; }

 private:
  Awaitable<WalkAnswer> stat(std::string name);
  Awaitable<WalkAnswer> prepare();
  Awaitable<> pause_before_retry();
  Awaitable<WalkAnswer> commit();
  Awaitable<WalkAnswer> remove();

  PullContext& context_;
  LayerReport& layer_;
  std::string purpose_;
  std::string chain_id_;
  Span span_;
  std::string parent_;
  Labels labels_;
  std::string key_;
  std::vector<Mount> mounts_;
  std::exception_ptr failure_;
  bool staged_ = false;
  int prepares_ = 0;
};

/// Carries a walk out to its end (skip, filled, necessary or fail), whatever fails on the way; `fill` is what
/// to do when the snapshotter has declined. A prepared key is removed even if the caller has been cancelled.
template <class Walk, class Fill>
Awaitable<WalkAction> carry_out_walk(LayerSteps& steps, Fill fill) {
  Walk walk;
  WalkAction action = walk.next(WalkAnswer::begin);
  while (!is_end(action)) {
    WalkAnswer answer = WalkAnswer::failed;
    if (action == WalkAction::remove_key) co_await asio::this_coro::throw_if_cancelled(false);
    // Once the caller has been cancelled even the co_await itself throws, before the step has begun.
    try {
      if (action == WalkAction::fill) {
        answer = co_await fill(steps);
      } else {
        answer = co_await steps.carry_out(action);
      }
    } catch (...) {
      steps.failed(std::current_exception());
    }
    if (action == WalkAction::remove_key) co_await asio::this_coro::throw_if_cancelled(true);
    action = walk.next(answer);
  }
  co_return action;
}

/// A `fill` that provides nothing: the walk backs out of the prepared key.
Awaitable<WalkAnswer> decline(LayerSteps& steps);

/// A snapshot key that nobody else has: "<purpose>-<nanoseconds>-<random> <ChainID>", containerd's form.
std::string unique_snapshot_key(std::string_view purpose, std::string_view chain_id);

/// True where the failure says nothing about the layer: cancellation, a deadline, or nobody answering.
bool ends_the_walk(const std::exception_ptr& failure);

}  // namespace lazypull
