#pragma once

#include "engine/chain_claims.hpp"
#include "engine/image_tree.hpp"
#include "engine/pull_context.hpp"

#include <cstddef>
#include <exception>
#include <string>
#include <vector>

namespace lazypull {

/// The claims of one image on its ChainIDs. Those that are not settled when this goes are given up.
class ImageClaims {
 public:
  ImageClaims(PullContext& context, const ImageNode& image, const asio::any_io_executor& executor)
      : chains_(context.shared.chains()),
        repository_(context.reference.locator()),
        executor_(executor),
        answers_(image.chain_ids.size()) {
    for (const auto& chain_id : image.chain_ids) names_.push_back(chain_id.str());
    take_from(0);
  }
  ImageClaims(const ImageClaims&) = delete;
  ImageClaims& operator=(const ImageClaims&) = delete;
  ~ImageClaims() { give_up({}); }

  /// Claims what nobody makes, from the layer upwards.
  void take_from(std::size_t first) {
    for (std::size_t i = first; i < answers_.size(); ++i) {
      auto& answer = answers_[i];
      const bool taken =
          answer.claim && (answer.mine || answer.claim->made || !answer.claim->settled.happened());
      if (!taken) answer = chains_.take(names_[i], repository_, executor_);
    }
  }
  bool mine(std::size_t index) const { return answers_[index].mine; }
  void made(std::size_t index) { settle(index, true, {}); }
  /// What others have made is not there any more.
  void forget(std::size_t index) { answers_[index] = {}; }
  void give_up(const std::exception_ptr& failure) {
    for (std::size_t i = 0; i < answers_.size(); ++i) settle(i, false, failure);
  }

  /// True once another pull has made it; false if that one has given up and this one now may. Throws the
  /// other's failure where it would be this one's too.
  Awaitable<bool> others(std::size_t index) {
    const auto claim = answers_[index].claim;
    co_await claim->settled.wait();
    if (claim->made) co_return true;
    const bool same =
        claim->failure && (claim->maker == repository_ || !depends_on_repository(claim->failure));
    if (same) std::rethrow_exception(claim->failure);
    co_return false;
  }

 private:
  void settle(std::size_t index, bool made, const std::exception_ptr& failure) {
    auto& answer = answers_[index];
    if (!answer.mine) return;
    answer.mine = false;
    chains_.settle(names_[index], made, failure);
  }

  ChainClaims& chains_;
  std::string repository_;
  asio::any_io_executor executor_;
  std::vector<std::string> names_;
  std::vector<ChainClaims::Answer> answers_;
};

}  // namespace lazypull
