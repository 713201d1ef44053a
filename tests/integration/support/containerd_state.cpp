#include "tests/integration/support/containerd_state.hpp"

#include "tests/integration/support/peer_program.hpp"

#include <boost/json.hpp>

#include <initializer_list>
#include <ostream>
#include <string_view>
#include <utility>

namespace lazypull::test {

namespace {

namespace json = boost::json;

LabelMap labels_of(const json::value& item) {
  LabelMap labels;
  if (const auto* object = item.at("labels").if_object()) {
    for (const auto& [key, value] : *object) labels.emplace(key, value.as_string());
  }
  return labels;
}

std::string text_of(const json::value& item, const char* member) {
  return std::string(item.at(member).as_string());
}
std::int64_t number_of(const json::value& item, const char* member) {
  return item.at(member).as_int64();
}

template <class T, class Read>
std::map<std::string, T> map_of(const json::value& state, const char* member, Read read) {
  std::map<std::string, T> result;
  for (const auto& [name, item] : state.at(member).as_object()) result.emplace(name, read(item));
  return result;
}

LeaseState lease_of(const json::value& item) {
  LeaseState lease{.labels = labels_of(item), .resources = {}};
  for (const auto& resource : item.at("resources").as_array())
    lease.resources.emplace_back(resource.as_string());
  return lease;
}

// An item as named properties, so that all kinds are compared and printed alike.
using Properties = std::map<std::string, std::string>;

Properties with_labels(Properties properties, const LabelMap& labels) {
  for (const auto& [name, value] : labels) properties.emplace("label " + name, value);
  return properties;
}

Properties properties_of(const ImageState& image) {
  return with_labels(
      {{"media type", image.media_type}, {"digest", image.digest}, {"size", std::to_string(image.size)}},
      image.labels);
}

Properties properties_of(const ContentState& content) {
  return with_labels({{"size", std::to_string(content.size)}}, content.labels);
}

Properties properties_of(const SnapshotState& snapshot) {
  return with_labels({{"parent", snapshot.parent}, {"kind", snapshot.kind}}, snapshot.labels);
}

Properties properties_of(const LeaseState& lease) {
  Properties properties;
  for (const auto& resource : lease.resources) properties.emplace("resource " + resource, "yes");
  return with_labels(std::move(properties), lease.labels);
}

Properties properties_of(const IngestState& ingest) {
  return {{"offset", std::to_string(ingest.offset)}, {"total", std::to_string(ingest.total)}};
}

std::string words(std::initializer_list<std::string_view> parts) {
  std::string text;
  for (const auto part : parts) text.append(text.empty() ? "" : " ").append(part);
  return text;
}

using Items = std::map<std::string, Properties>;

// Every item by "kind name".
Items items_of(const ContainerdState& state) {
  Items items;
  const auto add = [&items](const std::string& kind, const auto& things) {
    for (const auto& [name, thing] : things) items.emplace(words({kind, name}), properties_of(thing));
  };
  add("image", state.images);
  add("content", state.content);
  add("snapshot", state.snapshots);
  add("lease", state.leases);
  add("ingest", state.ingests);
  return items;
}

std::string value_of(const Properties& properties, const std::string& name) {
  const auto found = properties.find(name);
  return found == properties.end() ? "(none)" : '"' + found->second + '"';
}

void compare(const std::string& item, const Properties& left, const Properties& right,
             std::vector<std::string>& lines) {
  auto all = left;
  all.insert(right.begin(), right.end());
  for (const auto& [name, unused] : all) {
    const auto in_left = value_of(left, name);
    const auto in_right = value_of(right, name);
    if (in_left != in_right) lines.push_back(words({item + ":", name + ":", in_left, "!=", in_right}));
  }
}

}  // namespace

ContainerdState read_state(Containerd& containerd, const std::string& snapshotter, const std::string& space) {
  const auto state = json::parse(run_ok({peer_program("inspect"), "-address", containerd.socket(),
                                         "-namespace", space, "-snapshotter", snapshotter, "state"}));
  return {.images = map_of<ImageState>(state, "images",
                                       [](const json::value& item) {
                                         return ImageState{.media_type = text_of(item, "media_type"),
                                                           .digest = text_of(item, "digest"),
                                                           .size = number_of(item, "size"),
                                                           .labels = labels_of(item)};
                                       }),
          .content = map_of<ContentState>(state, "content",
                                          [](const json::value& item) {
                                            return ContentState{.size = number_of(item, "size"),
                                                                .labels = labels_of(item)};
                                          }),
          .snapshots = map_of<SnapshotState>(state, "snapshots",
                                             [](const json::value& item) {
                                               return SnapshotState{.parent = text_of(item, "parent"),
                                                                    .kind = text_of(item, "kind"),
                                                                    .labels = labels_of(item)};
                                             }),
          .leases = map_of<LeaseState>(state, "leases", lease_of),
          .ingests = map_of<IngestState>(state, "ingests", [](const json::value& item) {
            return IngestState{.offset = number_of(item, "offset"), .total = number_of(item, "total")};
          })};
}

std::vector<std::string> diff(const ContainerdState& left, const ContainerdState& right) {
  std::vector<std::string> lines;
  const auto left_items = items_of(left);
  const auto right_items = items_of(right);
  auto all = left_items;
  all.insert(right_items.begin(), right_items.end());
  for (const auto& [item, unused] : all) {
    const auto in_left = left_items.find(item);
    const auto in_right = right_items.find(item);
    if (in_left == left_items.end()) {
      lines.push_back(item + ": only in the right");
    } else if (in_right == right_items.end()) {
      lines.push_back(item + ": only in the left");
    } else {
      compare(item, in_left->second, in_right->second, lines);
    }
  }
  return lines;
}

std::ostream& operator<<(std::ostream& out, const ContainerdState& state) {
  for (const auto& [item, properties] : items_of(state)) {
    out << item << '\n';
    for (const auto& [name, value] : properties) out << "    " << name << ": " << value << '\n';
  }
  return out;
}

}  // namespace lazypull::test
