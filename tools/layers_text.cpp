#include "tools/layers_text.hpp"

#include "snapshot/remote/layer_record.hpp"
#include "tools/text.hpp"

namespace lazypull {

namespace {

const char* status_of(const PublishedLayer& layer) {
  return layer.already_there ? "present" : "published";
}

}  // namespace

boost::json::object layer_json(const LayerRecord& record) {
  boost::json::object object;
  object["digest"] = record.digest.str();
  object["diff_id"] = record.diff_id.str();
  object["size"] = record.size;
  object["format"] = to_string(record.format);
  if (record.image_digest) {
    object["image_size"] = record.image_size;
    object["image_digest"] = record.image_digest->str();
  }
  if (record.tree_digest) object["tree_digest"] = record.tree_digest->str();
  if (record.below) object["below"] = record.below->str();
  return object;
}

boost::json::object published_json(const PublishedLayer& layer) {
  auto object = layer_json(layer.record);
  object["status"] = status_of(layer);
  return object;
}

std::string published_text(const PublishedLayer& layer) {
  std::string line = layer.record.digest.str() + " " + status_of(layer) + " ";
  line += to_string(layer.record.format);
  line += ", " + format_bytes(layer.record.size);
  if (layer.record.image_digest) line += ", image " + format_bytes(layer.record.image_size);
  return line + "\n";
}

}  // namespace lazypull
