#pragma once

#include "engine/awaitable.hpp"
#include "engine/event.hpp"

#include <exception>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

namespace lazypull {

/// That some pull will make the snapshot of a ChainID.
struct ChainClaim {
  ChainClaim(const asio::any_io_executor& executor, std::string by)
      : maker(std::move(by)), settled(executor) {}
  std::string maker;  ///< the repository that it pulls from
  Event settled;
  bool made = false;           ///< else it was given up, and whoever needs it may claim it
  std::exception_ptr failure;  ///< why it was given up, unless its maker was only cancelled
};

/// Who makes which ChainID: each is made by one pull of the home thread, and all others that need it wait for
/// that one. A claim is taken long before the snapshot is made, so that nobody else downloads or extracts the
/// layer ahead either.
class ChainClaims {
 public:
  struct Answer {
    std::shared_ptr<ChainClaim> claim;
    bool mine = false;  ///< the caller must settle it, whatever happens
  };

  /// Takes the ChainID, or finds who has it.
  Answer take(const std::string& chain_id, const std::string& maker, const asio::any_io_executor& executor) {
    auto& claim = claims_[chain_id];
    const bool mine = !claim;
    if (mine) claim = std::make_shared<ChainClaim>(executor, maker);
    return {claim, mine};
  }

  /// Ends a claim that was taken: `made`, or given up for the reason, if any.
  void settle(const std::string& chain_id, bool made, std::exception_ptr failure) {
    const auto node = claims_.extract(chain_id);
    if (node.empty()) return;
    auto& claim = *node.mapped();
    claim.made = made;
    claim.failure = std::move(failure);
    claim.settled.set();
  }

  std::size_t open() const noexcept { return claims_.size(); }

 private:
  std::unordered_map<std::string, std::shared_ptr<ChainClaim>> claims_;
};

}  // namespace lazypull
