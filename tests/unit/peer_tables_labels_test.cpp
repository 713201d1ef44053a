// Labels and names of ingests are containerd's.
#include "engine/labels.hpp"
#include "tests/data/peer_table.hpp"

#include <algorithm>

namespace lazypull {
namespace {

using test::flag_at;
using test::text_at;

const Digest layer_digest = Digest::parse("sha256:" + std::string(64, 'a'));

std::size_t size_at(const test::json::object& row, std::string_view key) {
  return row.at(key).to_number<std::size_t>();
}

Labels labels_at(const test::json::object& row, std::string_view key) {
  Labels labels;
  for (const auto& [name, value] : row.at(key).as_object()) {
    labels.emplace(std::string(name.data(), name.size()), value.as_string().c_str());
  }
  return labels;
}

Labels labels_of_lowest(const std::vector<Descriptor>& layers, const std::set<LabelDialect>& dialects) {
  const auto reference = Reference::parse("registry.example.com/app:1");
  const std::vector<Digest> digests(layers.size(), layer_digest);
  return snapshot_labels({.reference = reference,
                          .manifest_digest = layer_digest,
                          .layers = layers,
                          .diff_ids = digests,
                          .chain_ids = digests,
                          .index = 0},
                         dialects);
}

Descriptor layer_of(const std::string& media_type) {
  Descriptor layer;
  layer.media_type = media_type;
  layer.digest = layer_digest;
  return layer;
}

void check_distribution_source(const test::json::object& row) {
  const auto reference = Reference::parse("registry.example.com/" + text_at(row, "repository"));
  const auto key = std::string(label::distribution_source) + "registry.example.com";
  const auto existing = text_at(row, "existing");
  const auto label =
      distribution_source_label(reference, existing.empty() ? Labels() : Labels{{key, existing}});
  if (!label) {  // it is there already: nothing is to be written
    EXPECT_NE(("," + existing + ",").find("," + reference.repository() + ","), std::string::npos);
    return;
  }
  EXPECT_EQ(label->first, key);
  EXPECT_EQ(label->second, text_at(row, "expected"));
}

void check_inherited(const test::json::object& row) {
  auto layer = layer_of(std::string(media_type::oci_config));
  layer.annotations = labels_at(row, "annotations");
  const auto plain = labels_of_lowest({layer_of(layer.media_type)}, {});
  auto expected = plain;
  expected.merge(labels_at(row, "expected"));
  EXPECT_EQ(labels_of_lowest({layer}, {}), expected);
}

void check_image_layers(const test::json::object& row) {
  const std::vector<Descriptor> layers(size_at(row, "layers"),
                                       layer_of("application/vnd.oci.image.layer.v1.tar"));
  const auto labels = labels_of_lowest(layers, {LabelDialect::cri});
  const auto& [key, value] = *labels.find("containerd.io/snapshot/cri.image-layers");
  EXPECT_LE(key.size() + value.size(), max_label_bytes);
  EXPECT_EQ(std::ranges::count(value, ',') + 1, static_cast<std::ptrdiff_t>(size_at(row, "expected")));
}

void check_label_size(const test::json::object& row) {
  auto layer = layer_of("application/vnd.oci.image.layer.v1.tar");
  // Only labels of snapshots are inherited, so that prefix is a part of the name here.
  std::string key(label::snapshot_prefix);
  key.resize(std::max(key.size() + 1, size_at(row, "key_bytes")), 's');
  const auto total = size_at(row, "key_bytes") + size_at(row, "value_bytes");
  layer.annotations[key] =
      std::string(total - std::min(total, key.size()) + (total < key.size() ? 1 : 0), 's');
  EXPECT_EQ(labels_of_lowest({layer}, {}).contains(key), flag_at(row, "expected"));
}

TEST(PeerTables, LabelsAreThoseOfContainerd) {
  test::for_each_row({"labels-containerd"}, 23, [](const auto& row) {
    const auto kind = text_at(row, "kind");
    if (kind == "distribution_source") {
      check_distribution_source(row);
    } else if (kind == "distribution_source_key") {
      const auto reference = Reference::parse(text_at(row, "domain") + "/app");
      EXPECT_EQ(distribution_source_label(reference, {})->first, text_at(row, "expected"));
    } else if (kind == "inherited") {
      check_inherited(row);
    } else if (kind == "ingest_ref") {
      EXPECT_EQ(ingest_ref(layer_of(text_at(row, "media_type"))),
                text_at(row, "expected") + layer_digest.str());
    } else if (kind == "foreign_layer") {
      EXPECT_EQ(media_type::is_foreign_layer(text_at(row, "media_type")), flag_at(row, "expected"));
    } else if (kind == "image_layers") {
      check_image_layers(row);
    } else if (kind == "label_size") {
      check_label_size(row);
    } else {
      ADD_FAILURE() << "an unknown kind";
    }
  });
}

}  // namespace
}  // namespace lazypull
