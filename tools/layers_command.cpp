#include "tools/layers_command.hpp"

#include "engine/error.hpp"
#include "snapshot/embedded/files.hpp"
#include "snapshot/remote/layer_record.hpp"
#include "snapshot/remote/layer_staging.hpp"
#include "snapshot/remote/layer_storage.hpp"
#include "snapshot/remote/tree_survey.hpp"
#include "snapshot/remote/work_folder.hpp"
#include "tools/layers_text.hpp"
#include "tools/store_table.hpp"
#include "tools/text.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <fcntl.h>
#include <utility>

namespace lazypull {
namespace {

namespace json = boost::json;

/// A layer of a storage as far as it could be looked at.
struct Inspected {
  Digest digest;
  std::optional<LayerRecord> record;
  bool missing = false;
  std::string fault;  ///< empty if there is none
};

void check_image(const RemoteLayer& layer) {
  const auto facts = facts_of_file(layer.data);
  if (facts.size == layer.record.image_size && facts.digest == layer.record.image_digest) return;
  throw Error(Errc::digest_mismatch, layer.data.string() + " is " + facts.digest.str() +
                                         " where its record says " + layer.record.image_digest->str());
}

void check_directory(const RemoteLayer& layer) {
  const auto root = open_file(layer.data, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  const auto survey = survey_tree(root.get(), layer.data.string());
  if (survey.digest == layer.record.tree_digest) return;
  throw Error(Errc::digest_mismatch, layer.data.string() + ": its files are " + survey.digest.str() +
                                         " where its record says " + layer.record.tree_digest->str());
}

Inspected inspect(const std::string& storage, const Digest& digest, bool contents) {
  Inspected inspected;
  inspected.digest = digest;
  try {
    const auto layer = read_layer(storage, digest);
    inspected.missing = !layer;
    if (inspected.missing) inspected.fault = "it is not in the storage";
    if (!layer) return inspected;
    inspected.record = layer->record;
    if (!contents) return inspected;
    layer->record.format == LayerFormat::directory ? check_directory(*layer) : check_image(*layer);
  } catch (const Error& error) {
    inspected.fault = error.message();
  }
  return inspected;
}

json::object to_json(const Inspected& layer) {
  json::object object;
  if (layer.record) object = layer_json(*layer.record);
  object["digest"] = layer.digest.str();
  object["state"] = layer.missing ? "missing" : layer.fault.empty() ? "ok" : "damaged";
  if (!layer.fault.empty()) object["error"] = printable(layer.fault);
  return object;
}

std::string to_json_text(const std::vector<Inspected>& layers) {
  json::array array;
  for (const auto& layer : layers) array.push_back(to_json(layer));
  json::object object;
  object["layers"] = std::move(array);
  return json::serialize(object) + "\n";
}

LayersOutput list_storage(const LayersCommand& command) {
  const auto digests = list_layers(command.storage);
  LayersOutput output;
  if (command.quiet && !command.json) {
    for (const auto& digest : digests) output.text += digest.str() + "\n";
    return output;
  }
  std::vector<Inspected> layers;
  layers.reserve(digests.size());
  for (const auto& digest : digests) layers.push_back(inspect(command.storage, digest, false));
  if (command.json) {
    output.text = to_json_text(layers);
    return output;
  }
  Table table({"DIGEST", "FORMAT", "SIZE", "IMAGE", "STATE"});
  for (const auto& layer : layers) {
    std::vector<std::string> cells{layer.digest.str(), "", "", "", layer.fault.empty() ? "ok" : layer.fault};
    if (layer.record) {
      cells[1] = to_string(layer.record->format);
      cells[2] = format_bytes(layer.record->size);
      if (layer.record->image_digest) cells[3] = format_bytes(layer.record->image_size);
    }
    table.add(std::move(cells));
  }
  output.text = table.text();
  return output;
}

std::vector<Digest> parse_digests(const std::vector<std::string>& texts) {
  std::vector<Digest> digests;
  digests.reserve(texts.size());
  for (const auto& text : texts) digests.push_back(Digest::parse(text));
  return digests;
}

LayersOutput verify_storage(const LayersCommand& command) {
  const auto all = list_layers(command.storage);
  const auto digests = command.digests.empty() ? all : parse_digests(command.digests);
  LayersOutput output;
  std::vector<Inspected> layers;
  for (const auto& digest : digests) {
    layers.push_back(inspect(command.storage, digest, true));
    const auto& layer = layers.back();
    output.text += digest.str() + " " + (layer.fault.empty() ? "ok" : printable(layer.fault)) + "\n";
    const bool damaged = !layer.missing && !layer.fault.empty();
    if (damaged) output.exit = ExitCode::content;
    if (layer.missing && output.exit == ExitCode::ok) output.exit = ExitCode::not_found;
  }
  if (command.json) output.text = to_json_text(layers);
  return output;
}

LayersOutput remove_layers(const LayersCommand& command) {
  const auto digests = parse_digests(command.digests);
  list_layers(command.storage);  // there is a storage
  const WorkFolder work(publishing_folder(command.storage));
  LayersOutput output;
  json::array removed;
  json::array missing;
  for (const auto& digest : digests) {
    if (take_out_layer(command.storage, digest, work.path() / random_name())) {
      output.text += digest.str() + "\n";
      removed.emplace_back(digest.str());
    } else {
      output.text += digest.str() + " is not in the storage\n";
      missing.emplace_back(digest.str());
      output.exit = ExitCode::not_found;
    }
  }
  if (!command.json) return output;
  json::object object;
  object["removed"] = std::move(removed);
  object["missing"] = std::move(missing);
  output.text = json::serialize(object) + "\n";
  return output;
}

}  // namespace

LayersOutput run_layers_command(const LayersCommand& command) {
  switch (command.action) {
    case LayersAction::list:
      return list_storage(command);
    case LayersAction::verify:
      return verify_storage(command);
    case LayersAction::remove:
      return remove_layers(command);
    case LayersAction::publish:
      break;
  }
  throw Error(Errc::internal, "a command of a storage that does not exist");
}

}  // namespace lazypull
