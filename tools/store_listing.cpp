#include "tools/store_listing.hpp"

#include "engine/error.hpp"
#include "snapshot/embedded/record_json.hpp"
#include "tools/store_image.hpp"
#include "tools/store_table.hpp"
#include "tools/text.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <set>
#include <vector>

namespace lazypull {

namespace {

namespace json = boost::json;

std::string to_text(const json::object& object) {
  return json::serialize(object) + "\n";
}

std::string joined(const std::vector<std::string>& words, std::string_view separator) {
  std::string text;
  for (const auto& word : words) {
    if (!text.empty()) text += separator;
    text += word;
  }
  return text;
}

std::string label_text(const Labels& labels) {
  std::vector<std::string> pairs;
  for (const auto& [key, value] : labels) {
    auto pair = key;
    pairs.push_back(pair.append("=").append(value));
  }
  return joined(pairs, ",");
}

json::object to_json(const Labels& labels) {
  json::object object;
  for (const auto& [key, value] : labels) object.emplace(key, value);
  return object;
}

std::string_view kind_name(SnapshotKind kind) {
  switch (kind) {
    case SnapshotKind::view:
      return "View";
    case SnapshotKind::active:
      return "Active";
    case SnapshotKind::committed:
      return "Committed";
    case SnapshotKind::unknown:
      break;
  }
  return "Unknown";
}

/// What a listing says of an image beyond its record.
struct ImageFacts {
  std::uint64_t size = 0;  ///< compressed bytes of the host's platform, or of the first one that is there
  std::set<std::string> platforms;
};

ImageFacts facts_of(EmbeddedStore& store, const ImageRecord& image) {
  ImageFacts facts;
  const auto contents = read_image(store, image.target);
  for (const auto& descriptor : contents.absent) {
    if (descriptor.platform) facts.platforms.insert(descriptor.platform->str());
  }
  for (const auto& part : contents.parts) {
    if (!part.platform.os.empty()) facts.platforms.insert(part.platform.str());
  }
  for (const auto& index : contents.indexes) facts.size += index.size;
  if (contents.parts.empty()) return facts;
  const auto* part = &contents.parts.front();
  try {
    part = &choose_part(contents, std::nullopt, image.name);
  } catch (const Error& error) {
    if (error.code() != Errc::platform_not_found) throw;
  }
  for (const auto& blob : part->blobs()) facts.size += blob.size;
  return facts;
}

/// A damaged or foreign image does not keep the others from being listed.
ImageFacts facts_or_nothing(EmbeddedStore& store, const ImageRecord& image) {
  try {
    return facts_of(store, image);
  } catch (const Error&) {
    return {};
  }
}

json::object to_json(const StoredImage& image, const ImageFacts& facts) {
  json::object object;
  object["name"] = image.record.name;
  object["target"] = to_json(image.record.target);
  object["size"] = facts.size;
  json::array platforms;
  for (const auto& platform : facts.platforms) platforms.emplace_back(platform);
  object["platforms"] = std::move(platforms);
  object["labels"] = to_json(image.record.labels);
  object["created"] = rfc3339(image.created);
  object["updated"] = rfc3339(image.updated);
  return object;
}

std::string age_of(StoreTime time) {
  return format_duration(std::chrono::system_clock::now() - time);
}

}  // namespace

std::string list_images(EmbeddedStore& store, bool quiet, bool as_json) {
  const auto images = store.images().list();
  std::string names;
  json::array array;
  Table table({"REF", "TYPE", "DIGEST", "SIZE", "PLATFORMS", "LABELS"});
  for (const auto& image : images) {
    const auto& record = image.record;
    names += printable(record.name) + "\n";
    if (quiet && !as_json) continue;
    const auto facts = facts_or_nothing(store, record);
    array.push_back(to_json(image, facts));
    table.add({record.name, record.target.media_type, record.target.digest.str(), format_bytes(facts.size),
               joined({facts.platforms.begin(), facts.platforms.end()}, ","), label_text(record.labels)});
  }
  if (as_json) {
    json::object object;
    object["images"] = std::move(array);
    return to_text(object);
  }
  return quiet ? names : table.text();
}

std::string list_content(EmbeddedStore& store, bool quiet, bool as_json) {
  std::string digests;
  json::array array;
  Table table({"DIGEST", "SIZE", "AGE", "LABELS"});
  for (const auto& content : store.content().list()) {
    const auto& info = content.info;
    digests += info.digest.str() + "\n";
    table.add({info.digest.str(), format_bytes(info.size), age_of(content.created), label_text(info.labels)});
    json::object object;
    object["digest"] = info.digest.str();
    object["size"] = info.size;
    object["labels"] = to_json(info.labels);
    object["created"] = rfc3339(content.created);
    object["updated"] = rfc3339(content.updated);
    array.push_back(std::move(object));
  }
  if (as_json) {
    json::object object;
    object["content"] = std::move(array);
    return to_text(object);
  }
  return quiet ? digests : table.text();
}

std::string list_snapshots(EmbeddedStore& store, bool quiet, bool as_json) {
  std::string keys;
  json::array array;
  Table table({"KEY", "PARENT", "KIND"});
  for (const auto& snapshot : store.snapshots().list()) {
    const auto& info = snapshot.info;
    keys += printable(info.name) + "\n";
    table.add({info.name, info.parent, std::string(kind_name(info.kind))});
    json::object object;
    object["key"] = info.name;
    object["parent"] = info.parent;
    object["kind"] = kind_name(info.kind);
    if (snapshot.remote) object["remote"] = snapshot.remote->str();
    object["labels"] = to_json(info.labels);
    object["created"] = rfc3339(snapshot.created);
    object["updated"] = rfc3339(snapshot.updated);
    array.push_back(std::move(object));
  }
  if (as_json) {
    json::object object;
    object["snapshots"] = std::move(array);
    return to_text(object);
  }
  return quiet ? keys : table.text();
}

namespace {

json::object blob_json(EmbeddedStore& store, const Descriptor& blob) {
  auto object = to_json(blob);
  object["present"] = store.content().info(blob.digest).has_value();
  return object;
}

bool is_unpacked(EmbeddedStore& store, const ImagePart& part) {
  if (part.chain_ids.empty()) return false;
  const auto found = store.snapshots().stat(part.chain_ids.back().str());
  return found && found->info.kind == SnapshotKind::committed;
}

/// Whether the layer is used from shared storage.
bool is_remote(EmbeddedStore& store, const ImagePart& part, std::size_t layer) {
  if (layer >= part.chain_ids.size()) return false;
  const auto found = store.snapshots().stat(part.chain_ids[layer].str());
  return found && found->remote;
}

json::object part_json(EmbeddedStore& store, const ImagePart& part) {
  json::object object;
  object["platform"] = part.platform.str();
  object["manifest"] = blob_json(store, part.descriptor);
  object["config"] = blob_json(store, part.manifest.config);
  json::array layers;
  for (const auto& layer : part.manifest.layers) {
    auto blob = blob_json(store, layer);
    blob["remote"] = is_remote(store, part, layers.size());
    layers.push_back(std::move(blob));
  }
  object["layers"] = std::move(layers);
  object["chain_id"] = nullptr;
  if (!part.chain_ids.empty()) object["chain_id"] = part.chain_ids.back().str();
  object["unpacked"] = is_unpacked(store, part);
  return object;
}

void add_blob(EmbeddedStore& store, Table& table, const char* what, const Descriptor& blob,
              const char* otherwise = "absent") {
  const bool present = store.content().info(blob.digest).has_value();
  table.add(
      {what, blob.digest.str(), format_bytes(blob.size), present ? "present" : otherwise, blob.media_type});
}

std::string inspect_text(EmbeddedStore& store, const StoredImage& image, const ImageContents& contents) {
  std::string text = printable(image.record.name) + "\n";
  text += "created " + rfc3339(image.created) + ", updated " + rfc3339(image.updated) + "\n";
  if (!image.record.labels.empty()) text += "labels " + printable(label_text(image.record.labels)) + "\n";
  Table table({"WHAT", "DIGEST", "SIZE", "CONTENT", "TYPE"});
  for (const auto& index : contents.indexes) add_blob(store, table, "index", index);
  for (const auto& part : contents.parts) {
    table.add({"manifest", part.descriptor.digest.str(), format_bytes(part.descriptor.size), "present",
               part.descriptor.media_type + " " + part.platform.str()});
    add_blob(store, table, "config", part.manifest.config);
    const auto& layers = part.manifest.layers;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      add_blob(store, table, "layer", layers[i], is_remote(store, part, i) ? "remote" : "absent");
    }
    if (part.chain_ids.empty()) continue;
    table.add(
        {"snapshot", part.chain_ids.back().str(), "", is_unpacked(store, part) ? "unpacked" : "absent", ""});
  }
  for (const auto& absent : contents.absent) add_blob(store, table, "manifest", absent);
  return text + table.text();
}

}  // namespace

std::string inspect_image(EmbeddedStore& store, const std::string& name, bool as_json) {
  const auto image = find_image(store, name);
  const auto contents = read_image(store, image.record.target);
  if (!as_json) return inspect_text(store, image, contents);
  auto object = to_json(image, facts_of(store, image.record));
  json::array parts;
  for (const auto& part : contents.parts) parts.push_back(part_json(store, part));
  object["manifests"] = std::move(parts);
  json::array absent;
  for (const auto& descriptor : contents.absent) absent.push_back(to_json(descriptor));
  object["absent"] = std::move(absent);
  return to_text(object);
}

std::string mount_commands(EmbeddedStore& store, const std::string& key, const std::string& target,
                           bool as_json) {
  std::string commands;
  json::array array;
  for (const auto& mount : store.snapshots().mounts(key)) {
    commands += "mount -t " + mount.type + " " + mount.source + " " + printable(target);
    if (!mount.options.empty()) commands += " -o " + joined(mount.options, ",");
    commands += "\n";
    json::object object;
    object["type"] = mount.type;
    object["source"] = mount.source;
    json::array options;
    for (const auto& option : mount.options) options.emplace_back(option);
    object["options"] = std::move(options);
    array.push_back(std::move(object));
  }
  if (!as_json) return commands;
  json::object object;
  object["mounts"] = std::move(array);
  return to_text(object);
}

}  // namespace lazypull
