#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace lazypull {

/// In which order the images of a run begin: those of the highest priority first; among them, of the registry
/// that has the fewest in progress, so that one that is slow or has most of the list does not hold the others
/// up; and of one registry in the order of the list. Pure. `next` takes as long as there are registries.
class ImageOrder {
 public:
  struct Image {
    int priority = 0;
    std::string registry;
  };

  explicit ImageOrder(const std::vector<Image>& images);

  /// The index of the image that is to begin now, which counts as in progress until it has ended.
  std::optional<std::size_t> next();
  void ended(std::size_t index);
  std::size_t size() const noexcept { return registry_of_.size(); }

 private:
  struct Registry {
    std::size_t in_progress = 0;
    std::uint64_t last_turn = 0;
  };
  struct Line {
    std::vector<std::size_t> images;
    std::size_t begun = 0;
  };

  std::vector<Registry> registries_;
  std::vector<std::size_t> registry_of_;  ///< of each image
  std::map<int, std::map<std::size_t, Line>>
      by_priority_;  ///< then by registry; without those that are empty
  std::uint64_t turns_ = 0;
};

}  // namespace lazypull
