#include "snapshot/embedded/image_records.hpp"

#include "engine/error.hpp"
#include "snapshot/embedded/durability.hpp"
#include "snapshot/embedded/files.hpp"
#include "snapshot/embedded/record_json.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <set>
#include <utility>

namespace lazypull {

namespace {

constexpr std::uint64_t max_index_bytes = 64U << 20U;

/// A reader of the layout finds an image by its reference name, which should be there only once: what another
/// namespace calls by the same name goes without.
std::string index_text(Rows& rows) {
  boost::json::array manifests;
  std::set<std::string> names;
  for (const auto& name_space : rows.images.namespaces()) {
    for (const auto& image : rows.images.list(name_space)) {
      auto target = image.record.target;
      target.annotations["io.containerd.image.name"] = image.record.name;
      target.annotations.erase("org.opencontainers.image.ref.name");
      if (names.insert(image.record.name).second) {
        target.annotations["org.opencontainers.image.ref.name"] = image.record.name;
      }
      manifests.push_back(to_json(target));
    }
  }
  boost::json::object index;
  index["schemaVersion"] = 2;
  index["mediaType"] = media_type::oci_index;
  index["manifests"] = std::move(manifests);
  return boost::json::serialize(index) + "\n";
}

bool is_current(const StoreLayout& layout, const std::string& text) {
  return stat_of(layout.index_file()) && read_text(layout.index_file(), max_index_bytes) == text;
}

}  // namespace

void refresh_index(const StoreLayout& layout, Metadata& metadata) {
  const auto seen = metadata.read([](Rows& rows) { return index_text(rows); });
  if (is_current(layout, seen)) return;
  // In a write transaction, so that of several processes the last one writes the last state.
  metadata.write([&](Rows& rows) {
    const auto text = index_text(rows);
    if (!is_current(layout, text)) replace_text(layout.index_file(), text);
  });
}

ImageRecords::ImageRecords(StoreLayout layout, Metadata& metadata, std::string name_space)
    : layout_(std::move(layout)), metadata_(metadata), name_space_(std::move(name_space)) {}

std::optional<StoredImage> ImageRecords::find(const std::string& name) const {
  return metadata_.read([&](Rows& rows) { return rows.images.find(name_space_, name); });
}

std::vector<StoredImage> ImageRecords::list() const {
  return metadata_.read([&](Rows& rows) { return rows.images.list(name_space_); });
}

void ImageRecords::put(const ImageRecord& image) {
  if (image.name.empty()) throw Error(Errc::invalid_argument, "an image needs a name");
  if (image.target.digest.empty())
    throw Error(Errc::invalid_argument, "image " + image.name + " has no target");
  check_labels(image.labels);
  make_durable(layout_, metadata_, [&](Rows& rows) { rows.images.put(name_space_, image); });
  refresh_index(layout_, metadata_);
}

bool ImageRecords::remove(const std::string& name) {
  const bool removed = metadata_.write([&](Rows& rows) { return rows.images.remove(name_space_, name); });
  if (removed) refresh_index(layout_, metadata_);
  return removed;
}

}  // namespace lazypull
