#include "engine/image_order.hpp"

#include <unordered_map>
#include <utility>

namespace lazypull {

ImageOrder::ImageOrder(const std::vector<Image>& images) {
  std::unordered_map<std::string, std::size_t> known;
  registry_of_.reserve(images.size());
  for (std::size_t i = 0; i < images.size(); ++i) {
    const auto registry = known.emplace(images[i].registry, known.size()).first->second;
    registry_of_.push_back(registry);
    by_priority_[images[i].priority][registry].images.push_back(i);
  }
  registries_.resize(known.size());
}

std::optional<std::size_t> ImageOrder::next() {
  if (by_priority_.empty()) return std::nullopt;
  const auto highest = std::prev(by_priority_.end());
  auto& lines = highest->second;
  auto best = lines.begin();
  for (auto line = std::next(best); line != lines.end(); ++line) {
    const auto& mine = registries_[line->first];
    const auto& of_best = registries_[best->first];
    const bool fewer = mine.in_progress < of_best.in_progress;
    const bool as_few = mine.in_progress == of_best.in_progress;
    // Those that had no turn yet begin in the order of the list.
    const auto turn = std::pair(mine.last_turn, line->second.images[line->second.begun]);
    const auto turn_of_best = std::pair(of_best.last_turn, best->second.images[best->second.begun]);
    if (fewer || (as_few && turn < turn_of_best)) best = line;
  }
  auto& line = best->second;
  const std::size_t index = line.images[line.begun++];
  auto& registry = registries_[best->first];
  ++registry.in_progress;
  registry.last_turn = ++turns_;
  if (line.begun == line.images.size()) lines.erase(best);
  if (lines.empty()) by_priority_.erase(highest);
  return index;
}

void ImageOrder::ended(std::size_t index) {
  --registries_[registry_of_[index]].in_progress;
}

}  // namespace lazypull
