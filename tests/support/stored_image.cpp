#include "tests/support/stored_image.hpp"

#include "engine/chain_id.hpp"
#include "engine/labels.hpp"
#include "snapshot/embedded/record_json.hpp"
#include "tests/support/store_fixture.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

namespace lazypull::test {

namespace {

namespace json = boost::json;

Descriptor store_blob(EmbeddedStore& store, const std::string& bytes, std::string_view type,
                      const Labels& labels) {
  auto descriptor = descriptor_of_content(bytes);
  descriptor.media_type = type;
  add_content(store, bytes, labels);
  return descriptor;
}

std::string config_json(const std::vector<Digest>& diff_ids, const Platform& platform) {
  json::array list;
  for (const auto& id : diff_ids) list.emplace_back(id.str());
  json::object config;
  config["architecture"] = platform.architecture;
  config["os"] = platform.os;
  if (!platform.variant.empty()) config["variant"] = platform.variant;
  json::object rootfs;
  rootfs["type"] = "layers";
  rootfs["diff_ids"] = std::move(list);
  config["rootfs"] = std::move(rootfs);
  return json::serialize(config);
}

void make_snapshot(EmbeddedStore& store, const std::string& name, const std::string& parent,
                   const std::function<void(const std::filesystem::path&)>& fill) {
  auto& snapshots = store.snapshots();
  if (snapshots.stat(name)) return;
  snapshots.prepare("making " + name, parent, {}, {});
  if (fill) fill(store.layout().upper(snapshots.stat("making " + name)->id));
  snapshots.commit(name, "making " + name, {}, {});
}

}  // namespace

StoredPart store_part(EmbeddedStore& store, const std::vector<StoredLayer>& layers,
                      const Platform& platform) {
  StoredPart part;
  std::vector<Digest> diff_ids;
  for (const auto& layer : layers) {
    part.layers.push_back(store_blob(store, layer.blob, "application/vnd.oci.image.layer.v1.tar+gzip", {}));
    diff_ids.push_back(Digest::sha256_of("tar:" + layer.blob));
  }
  Labels labels;
  std::string parent;
  const auto chain = chain_ids(diff_ids);
  for (std::size_t i = 0; i < chain.size(); ++i) {
    make_snapshot(store, chain[i].str(), parent, layers[i].fill);
    parent = chain[i].str();
    part.chain_ids.push_back(parent);
  }
  if (!parent.empty()) labels["containerd.io/gc.ref.snapshot.overlayfs"] = parent;
  part.config = store_blob(store, config_json(diff_ids, platform), media_type::oci_config, labels);
  json::object manifest;
  manifest["schemaVersion"] = 2;
  manifest["mediaType"] = media_type::oci_manifest;
  manifest["config"] = to_json(part.config);
  json::array list;
  for (const auto& layer : part.layers) list.push_back(to_json(layer));
  manifest["layers"] = std::move(list);
  const auto bytes = json::serialize(manifest);
  const auto parsed = Manifest::parse(bytes, media_type::oci_manifest);
  part.manifest = store_blob(store, bytes, media_type::oci_manifest, gc_labels(parsed));
  part.manifest.platform = platform;
  return part;
}

Descriptor store_index(EmbeddedStore& store, const std::vector<StoredPart>& parts,
                       const std::vector<Descriptor>& elsewhere) {
  json::array list;
  for (const auto& part : parts) list.push_back(to_json(part.manifest));
  for (const auto& descriptor : elsewhere) list.push_back(to_json(descriptor));
  json::object index;
  index["schemaVersion"] = 2;
  index["mediaType"] = media_type::oci_index;
  index["manifests"] = std::move(list);
  const auto bytes = json::serialize(index);
  return store_blob(store, bytes, media_type::oci_index,
                    gc_labels(Index::parse(bytes, media_type::oci_index)));
}

void record_image(EmbeddedStore& store, const std::string& name, const Descriptor& target,
                  const Labels& labels) {
  ImageRecord image;
  image.name = name;
  image.target = target;
  image.labels = labels;
  store.images().put(image);
}

}  // namespace lazypull::test
