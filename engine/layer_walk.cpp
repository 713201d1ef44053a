#include "engine/layer_walk.hpp"

namespace lazypull {

bool is_end(WalkAction action) noexcept {
  return action == WalkAction::skip || action == WalkAction::filled || action == WalkAction::necessary ||
         action == WalkAction::fail;
}

std::string_view to_string(WalkAction action) noexcept {
  switch (action) {
    case WalkAction::stat_chain:
      return "stat_chain";
    case WalkAction::prepare:
      return "prepare";
    case WalkAction::stat_key:
      return "stat_key";
    case WalkAction::fill:
      return "fill";
    case WalkAction::commit:
      return "commit";
    case WalkAction::remove_key:
      return "remove_key";
    case WalkAction::skip:
      return "skip";
    case WalkAction::filled:
      return "filled";
    case WalkAction::necessary:
      return "necessary";
    case WalkAction::fail:
      return "fail";
  }
  return "?";
}

std::string_view to_string(WalkAnswer answer) noexcept {
  switch (answer) {
    case WalkAnswer::begin:
      return "begin";
    case WalkAnswer::found_remote:
      return "found_remote";
    case WalkAnswer::found_plain:
      return "found_plain";
    case WalkAnswer::not_found:
      return "not_found";
    case WalkAnswer::prepared:
      return "prepared";
    case WalkAnswer::staged:
      return "staged";
    case WalkAnswer::already_exists:
      return "already_exists";
    case WalkAnswer::done:
      return "done";
    case WalkAnswer::failed:
      return "failed";
  }
  return "?";
}

WalkAction LayerWalk::next(WalkAnswer answer) {
  WalkAction action = WalkAction::fail;
  if (answer == WalkAnswer::begin) {
    tries_ = 1;
    action = WalkAction::prepare;
  } else if (asked_ == WalkAction::prepare) {
    action = after_prepare(answer);
  } else if (asked_ == WalkAction::stat_chain) {
    action = after_stat(answer);
  } else if (asked_ == WalkAction::fill) {
    filled_ = answer == WalkAnswer::done;
    // Somebody else has made the layer's snapshot in the meantime.
    after_remove_ = answer == WalkAnswer::already_exists ? WalkAction::skip : WalkAction::fail;
    action = filled_ ? WalkAction::commit : WalkAction::remove_key;
  } else if (asked_ == WalkAction::commit) {
    action = after_commit(answer);
  } else if (asked_ == WalkAction::remove_key) {
    // A key that cannot be removed is the garbage collector's: the layer's own outcome stands.
    action = after_remove_;
  }
  asked_ = action;
  return action;
}

WalkAction LayerWalk::after_prepare(WalkAnswer answer) {
  switch (answer) {
    case WalkAnswer::prepared:
      return WalkAction::fill;
    case WalkAnswer::staged:
      return WalkAction::commit;
    case WalkAnswer::already_exists:
      return WalkAction::stat_chain;
    default:
      // A call that was cancelled or timed out may have made the key all the same.
      after_remove_ = WalkAction::fail;
      return WalkAction::remove_key;
  }
}

WalkAction LayerWalk::after_stat(WalkAnswer answer) {
  switch (answer) {
    case WalkAnswer::found_remote:
    case WalkAnswer::found_plain:
      return WalkAction::skip;
    case WalkAnswer::not_found:
      // Somebody else holds the target but has not committed it yet; rare, so a few tries settle it.
      return tries_++ < max_tries ? WalkAction::prepare : WalkAction::fail;
    default:
      return WalkAction::fail;
  }
}

WalkAction LayerWalk::after_commit(WalkAnswer answer) {
  if (answer == WalkAnswer::done) return filled_ ? WalkAction::filled : WalkAction::skip;
  // Lost a race: the ChainID is there, and only our key is left over.
  const auto settled = filled_ ? WalkAction::filled : WalkAction::skip;
  after_remove_ = answer == WalkAnswer::already_exists ? settled : WalkAction::fail;
  return WalkAction::remove_key;
}

WalkAction LayerWalk2019::next(WalkAnswer answer) {
  WalkAction action = WalkAction::necessary;
  switch (asked_) {
    case WalkAction::stat_chain:
      if (answer == WalkAnswer::found_remote) action = WalkAction::skip;
      if (answer == WalkAnswer::not_found || answer == WalkAnswer::failed) action = WalkAction::prepare;
      break;
    case WalkAction::prepare:
      // A call that failed may have made the key all the same.
      action = answer == WalkAnswer::prepared || answer == WalkAnswer::staged ? WalkAction::stat_key
                                                                              : WalkAction::remove_key;
      break;
    case WalkAction::stat_key:
      action = answer == WalkAnswer::found_remote ? WalkAction::commit : WalkAction::remove_key;
      break;
    case WalkAction::commit:
      if (answer == WalkAnswer::done) {
        action = WalkAction::skip;
      } else {
        // Where somebody else committed the same ChainID first, theirs serves as well as ours.
        after_remove_ = answer == WalkAnswer::already_exists ? WalkAction::skip : WalkAction::necessary;
        action = WalkAction::remove_key;
      }
      break;
    case WalkAction::remove_key:
      action = after_remove_;
      break;
    default:
      break;
  }
  if (answer == WalkAnswer::begin) {
    action = WalkAction::stat_chain;
    after_remove_ = WalkAction::necessary;
  }
  asked_ = action;
  return action;
}

}  // namespace lazypull
