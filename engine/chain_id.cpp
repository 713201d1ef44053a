#include "engine/chain_id.hpp"

namespace lazypull {

std::vector<Digest> chain_ids(std::span<const Digest> diff_ids) {
  std::vector<Digest> chain;
  chain.reserve(diff_ids.size());
  for (const auto& diff_id : diff_ids) {
    if (chain.empty()) {
      chain.push_back(diff_id);
    } else {
      chain.push_back(Digest::sha256_of(chain.back().str() + " " + diff_id.str()));
    }
  }
  return chain;
}

}  // namespace lazypull
