#include "tools/store_export.hpp"

#include "engine/error.hpp"
#include "engine/reference.hpp"
#include "snapshot/embedded/files.hpp"
#include "snapshot/embedded/record_json.hpp"
#include "tools/store_image.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

namespace lazypull {

namespace {

constexpr std::size_t piece_bytes = 1U << 20U;

bool is_there(EmbeddedStore& store, const Descriptor& blob) {
  return store.content().info(blob.digest).has_value();
}

/// Of the layers, those that may not be distributed need not be there.
bool is_needed(const Descriptor& blob) {
  return !media_type::is_foreign_layer(blob.media_type);
}

bool is_complete(EmbeddedStore& store, const ImagePart& part) {
  for (const auto& blob : part.blobs()) {
    if (is_needed(blob) && !is_there(store, blob)) return false;
  }
  return true;
}

std::vector<const ImagePart*> chosen_parts(EmbeddedStore& store, const ImageContents& contents,
                                           const ExportOptions& options, const std::string& name) {
  std::vector<const ImagePart*> chosen;
  chosen.reserve(std::max(options.platforms.size(), contents.parts.size()));
  for (const auto& platform : options.platforms) chosen.push_back(&choose_part(contents, platform, name));
  if (!options.platforms.empty()) return chosen;
  if (options.all_platforms && !contents.absent.empty()) {
    throw Error(Errc::not_found, "image " + name + ": manifest " + contents.absent.front().digest.str() +
                                     " is not in the store");
  }
  for (const auto& part : contents.parts) {
    if (options.all_platforms || is_complete(store, part)) chosen.push_back(&part);
  }
  if (chosen.empty()) chosen.push_back(&contents.parts.front());  // to say what it lacks
  return chosen;
}

/// Those whose snapshots consist of what shared storage has.
std::set<Digest> remote_layers(EmbeddedStore& store, const std::vector<const ImagePart*>& parts) {
  std::set<Digest> layers;
  for (const auto* part : parts) {
    for (const auto& chain_id : part->chain_ids) {
      const auto found = store.snapshots().stat(chain_id.str());
      if (found && found->remote) layers.insert(*found->remote);
    }
  }
  return layers;
}

/// The blobs of the archive, in the order of their names.
std::map<std::string, Descriptor> chosen_blobs(EmbeddedStore& store, const ImageContents& contents,
                                               const std::vector<const ImagePart*>& parts,
                                               const std::string& name) {
  std::map<std::string, Descriptor> blobs;
  const auto remote = remote_layers(store, parts);
  const auto add = [&](const Descriptor& blob) {
    const std::string file =
        "blobs/" + std::string(blob.digest.algorithm()) + "/" + std::string(blob.digest.hex());
    if (is_there(store, blob)) {
      blobs.emplace(file, blob);
    } else if (is_needed(blob)) {
      const char* why = remote.contains(blob.digest)
                            ? " is used from shared storage and was not downloaded ('lazypull fetch' does)"
                            : " is not in the store";
      throw Error(Errc::not_found, "image " + name + ": " + blob.digest.str() + why);
    }
  };
  for (const auto& index : contents.indexes) add(index);
  for (const auto* part : parts) {
    for (const auto& blob : part->blobs()) add(blob);
  }
  return blobs;
}

/// As ctr has it: the whole name for containerd, the tag for readers of OCI layouts.
std::string index_of(const ImageRecord& image) {
  auto target = image.target;
  target.annotations["io.containerd.image.name"] = image.name;
  target.annotations.erase("org.opencontainers.image.ref.name");
  try {
    const auto reference = Reference::parse(image.name);
    if (reference.tag()) target.annotations["org.opencontainers.image.ref.name"] = *reference.tag();
  } catch (const Error&) {
    target.annotations["org.opencontainers.image.ref.name"] = image.name;
  }
  boost::json::array manifests;
  manifests.push_back(to_json(target));
  boost::json::object index;
  index["schemaVersion"] = 2;
  index["mediaType"] = media_type::oci_index;
  index["manifests"] = std::move(manifests);
  return boost::json::serialize(index);
}

void copy_blob(EmbeddedStore& store, const std::string& name, const Descriptor& blob, TarWriter& archive) {
  const auto file = store.content().open(blob.digest);
  archive.begin_file(name, blob.size);
  Hasher hasher(blob.digest.algorithm());
  std::vector<std::byte> buffer(piece_bytes);
  for (std::uint64_t offset = 0;;) {
    const auto got = read_at(file, buffer, offset, store.layout().blob(blob.digest));
    if (got == 0) break;
    const auto piece = std::span(buffer).first(got);
    hasher.update(piece);
    archive.write(piece);
    offset += got;
  }
  archive.end_file();
  if (hasher.finish() != blob.digest) {
    throw Error(Errc::digest_mismatch, "the store is damaged: blob " + blob.digest.str() + " has changed");
  }
}

}  // namespace

void export_image(EmbeddedStore& store, const std::string& name, const ExportOptions& options,
                  const TarWriter::Sink& sink) {
  const auto image = find_image(store, name).record;
  const auto contents = read_image(store, image.target);
  if (contents.parts.empty()) {
    const auto& missing = contents.absent.empty() ? image.target : contents.absent.front();
    throw Error(Errc::not_found,
                "image " + image.name + ": manifest " + missing.digest.str() + " is not in the store");
  }
  const auto parts = chosen_parts(store, contents, options, image.name);
  const auto blobs = chosen_blobs(store, contents, parts, image.name);
  TarWriter archive(sink);
  archive.add_directory("blobs/");
  std::string folder;
  for (const auto& [file, blob] : blobs) {
    auto parent = file.substr(0, file.rfind('/') + 1);
    if (parent != folder) archive.add_directory(parent);
    folder = std::move(parent);
    copy_blob(store, file, blob, archive);
  }
  archive.add_file("index.json", index_of(image));
  archive.add_file("oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
  archive.finish();
}

}  // namespace lazypull
