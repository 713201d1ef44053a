#include "tools/prewarm_plan.hpp"

#include "engine/descriptor.hpp"

#include <algorithm>

namespace lazypull {
namespace {

constexpr std::uint64_t growth = 3;

std::uint64_t unpacked_size(const LayerReport& layer) {
  const bool compressed = layer.media_type.ends_with("gzip") || layer.media_type.ends_with("zstd");
  return compressed ? growth * layer.size : layer.size;
}

}  // namespace

void PrewarmPlan::add(const PullReport& report) {
  for (const auto& image : report.images) {
    for (const auto& layer : image.layers) {
      unshared_ += layer.size;
      if (layer.decision == LayerDecision::download) downloads_.emplace(layer.digest, layer.size);
      const bool to_make =
          layer.decision == LayerDecision::download || layer.decision == LayerDecision::present;
      if (to_make && !layer.chain_id.empty()) unpacks_.emplace(layer.chain_id, unpacked_size(layer));
    }
  }
}

std::uint64_t PrewarmPlan::bytes_to_download() const {
  std::uint64_t sum = 0;
  for (const auto& [digest, size] : downloads_) sum += size;
  return sum;
}

std::uint64_t PrewarmPlan::bytes_to_unpack() const {
  std::uint64_t sum = 0;
  for (const auto& [chain_id, size] : unpacks_) sum += size;
  return sum;
}

std::vector<SpacePreflight> space_preflight(const PrewarmPlan& plan, const std::vector<std::string>& folders,
                                            const MinFree& min_free) {
  std::vector<SpacePreflight> disks;
  for (const auto& folder : folders) {
    auto disk = disk_space(folder);
    if (!disk) continue;
    const bool known = std::ranges::any_of(disks, [&](const SpacePreflight& other) {
      return other.disk.free == disk->free && other.disk.size == disk->size;
    });
    if (known) continue;
    const auto usable = disk->usable(min_free);
    disks.push_back({std::move(*disk), plan.bytes_to_download() + plan.bytes_to_unpack(), usable});
  }
  return disks;
}

}  // namespace lazypull
