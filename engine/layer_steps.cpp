#include "engine/layer_steps.hpp"

#include "engine/deadline.hpp"

#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <chrono>
#include <random>

namespace lazypull {

std::string unique_snapshot_key(std::string_view purpose, std::string_view chain_id) {
  static constexpr std::string_view alphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  static thread_local std::random_device random;
  const auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(
                               std::chrono::system_clock::now().time_since_epoch())
                               .count() %
                           1'000'000'000;
  std::string key(purpose);
  key += '-' + std::to_string(nanoseconds) + '-';
  for (int i = 0; i < 6; ++i) key += alphabet[random() % alphabet.size()];
  key += ' ';
  key += chain_id;
  return key;
}

bool ends_the_walk(const std::exception_ptr& failure) {
  if (!failure) return false;
  const auto code = as_error(failure).code();
  return code == Errc::cancelled || code == Errc::timed_out || code == Errc::unavailable;
}

Awaitable<WalkAnswer> decline(LayerSteps&) {
  co_return WalkAnswer::failed;
}

LayerSteps::LayerSteps(PullContext& context, const ImageNode& image, std::size_t index, LayerReport& layer,
                       std::string purpose, const std::set<LabelDialect>& dialects)
    : context_(context),
      layer_(layer),
      purpose_(std::move(purpose)),
      chain_id_(image.chain_ids[index].str()),
      span_(context.trace, "layer", "layer", chain_id_),
      parent_(index == 0 ? std::string() : image.chain_ids[index - 1].str()) {
  const LayerContext layer_context{context.reference,     image.descriptor.digest, image.manifest.layers,
                                   image.config.diff_ids, image.chain_ids,         index};
  labels_ = snapshot_labels(layer_context, dialects);
}

Awaitable<WalkAnswer> LayerSteps::carry_out(WalkAction action) {
  const Stopwatch ask(layer_.ask);
  WalkAnswer answer = WalkAnswer::failed;
  try {
    switch (action) {
      case WalkAction::stat_chain:
        answer = co_await stat(chain_id_);
        break;
      case WalkAction::stat_key:
        answer = co_await stat(key_);
        break;
      case WalkAction::prepare:
        answer = co_await prepare();
        break;
      case WalkAction::commit:
        answer = co_await commit();
        break;
      case WalkAction::remove_key:
        answer = co_await remove();
        break;
      default:
        throw Error(Errc::internal, "not a step of the snapshotter's");
    }
    if (answer == WalkAnswer::not_found && action == WalkAction::stat_chain && !key_.empty()) {
      failed(std::make_exception_ptr(
          Error(Errc::unavailable, "snapshot " + chain_id_ + " is said to exist, but cannot be found")));
    }
  } catch (...) {
    failed(std::current_exception());
  }
  co_return answer;
}

Awaitable<WalkAnswer> LayerSteps::stat(std::string name) {
  const Span span(trace(), "Stat", "snapshotter", name);
  const auto info = co_await context_.snapshotter().stat(name);
  if (!info) co_return WalkAnswer::not_found;
  co_return info->labels.contains(std::string(label::remote_2019)) ? WalkAnswer::found_remote
                                                                   : WalkAnswer::found_plain;
}

Awaitable<> LayerSteps::pause_before_retry() {
  // Another client holds the target for the moment.
  const auto executor = co_await asio::this_coro::executor;
  asio::steady_timer timer(executor, std::chrono::milliseconds(50 * prepares_));
  co_await timer.async_wait(asio::use_awaitable);
}

Awaitable<WalkAnswer> LayerSteps::prepare() {
  if (prepares_ > 0) co_await pause_before_retry();
  ++prepares_;
  key_ = unique_snapshot_key(purpose_, chain_id_);
  const Span span(trace(), "Prepare", "snapshotter", chain_id_);
  auto outcome = co_await context_.snapshotter().prepare(key_, parent_, labels_);
  if (outcome.already_exists) co_return WalkAnswer::already_exists;
  mounts_ = std::move(outcome.mounts);
  staged_ = !mounts_.empty() && std::ranges::count(mounts_.back().options, "ro") > 0;
  co_return staged_ ? WalkAnswer::staged : WalkAnswer::prepared;
}

Awaitable<WalkAnswer> LayerSteps::commit() {
  const Span span(trace(), "Commit", "snapshotter", chain_id_);
  const auto outcome = co_await context_.snapshotter().commit(chain_id_, key_, labels_);
  co_return outcome == CommitOutcome::committed ? WalkAnswer::done : WalkAnswer::already_exists;
}

Awaitable<WalkAnswer> LayerSteps::remove() {
  const Span span(trace(), "Remove", "snapshotter", chain_id_);
  auto removal = context_.snapshotter().remove(key_);
  const auto failure =
      co_await run_cleanup(std::move(removal), context_.options.cleanup_timeout, "remove snapshot " + key_);
  // The failure that led here is the one that matters.
  if (failure && !failure_) failed(failure);
  co_return failure ? WalkAnswer::failed : WalkAnswer::done;
}

}  // namespace lazypull
