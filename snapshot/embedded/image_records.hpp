#pragma once

#include "snapshot/embedded/layout.hpp"
#include "snapshot/embedded/metadata.hpp"

#include <optional>
#include <string>
#include <vector>

namespace lazypull {

/// Image records of one namespace, and index.json, which tells readers of OCI layouts about all of them.
/// Blocking; for several threads.
class ImageRecords {
 public:
  ImageRecords(StoreLayout layout, Metadata& metadata, std::string name_space);

  std::optional<StoredImage> find(const std::string& name) const;
  /// Sorted by name.
  std::vector<StoredImage> list() const;
  /// Creates the record or points an existing one at the new target (labels are replaced). Whatever the store
  /// has been given before is then on the disk, and so is the record.
  void put(const ImageRecord& image);
  /// False if there is none.
  bool remove(const std::string& name);

 private:
  StoreLayout layout_;
  Metadata& metadata_;
  std::string name_space_;
};

/// Writes index.json anew if the images are no longer those that it lists.
void refresh_index(const StoreLayout& layout, Metadata& metadata);

}  // namespace lazypull
