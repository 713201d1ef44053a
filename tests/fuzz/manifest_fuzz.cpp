#include "engine/error.hpp"
#include "engine/labels.hpp"
#include "engine/manifest.hpp"
#include "tests/fuzz/fuzz_target.hpp"

#include <algorithm>
#include <array>

namespace lazypull::fuzz {

namespace {

void check_refusal(const Error& error) {
  constexpr std::array known{Errc::bad_response, Errc::unsupported, Errc::invalid_image};
  require(std::ranges::find(known, error.code()) != known.end(), "refused as an answer", error.message());
  require_message(error.message());
}

void check(const Descriptor& descriptor) {
  require(!descriptor.digest.empty(), "a descriptor has a digest");
  require(Digest::try_parse(descriptor.digest.str()) == descriptor.digest, "a digest is sound");
  const auto ref = ingest_ref(descriptor);
  require(ref.ends_with(descriptor.digest.str()), "an ingest is named by the digest", ref);
}

void check(const Labels& labels, std::size_t children) {
  require(labels.size() <= children, "no more labels than children");
}

void as_manifest(std::string_view text, std::string_view type) {
  try {
    const auto manifest = Manifest::parse(text, type);
    require(media_type::is_manifest(manifest.media_type), "it is a manifest", manifest.media_type);
    require(manifest.layers.size() <= max_layers, "the layers are bounded");
    check(manifest.config);
    for (const auto& layer : manifest.layers) check(layer);
    check(gc_labels(manifest), manifest.layers.size() + 1);
  } catch (const Error& error) {
    check_refusal(error);
  }
}

void as_index(std::string_view text, std::string_view type) {
  try {
    const auto index = Index::parse(text, type);
    require(media_type::is_index(index.media_type), "it is an index", index.media_type);
    require(index.manifests.size() <= max_index_entries, "the entries are bounded");
    for (const auto& entry : index.manifests) check(entry);
    check(gc_labels(index), index.manifests.size());
    const auto matcher = PlatformMatcher::only(Platform::parse("linux/amd64/v3"));
    const auto chosen = choose_manifests(index, matcher, 0);
    require(chosen.size() <= index.manifests.size(), "what is chosen is of the index");
    for (const auto& entry : chosen) {
      require(std::ranges::find(index.manifests, entry) != index.manifests.end(), "chosen from the index");
      require(!entry.platform || matcher.matches(*entry.platform), "what is chosen matches");
    }
    require(choose_manifests(index, matcher, 1).size() == std::min<std::size_t>(1, chosen.size()),
            "the limit");
  } catch (const Error& error) {
    check_refusal(error);
  }
}

void as_config(std::string_view text) {
  try {
    const auto config = ImageConfig::parse(text);
    require(config.diff_ids.size() <= max_layers, "the DiffIDs are bounded");
    for (const auto& id : config.diff_ids) require(!id.empty(), "no DiffID is empty");
  } catch (const Error& error) {
    check_refusal(error);
  }
}

}  // namespace

void fuzz_manifest(Bytes input) {
  const auto text = text_of(input);
  for (const auto type : {media_type::oci_manifest, media_type::docker_manifest, std::string_view()}) {
    as_manifest(text, type);
  }
  for (const auto type : {media_type::oci_index, media_type::docker_index, std::string_view()}) {
    as_index(text, type);
  }
  as_config(text);
}

}  // namespace lazypull::fuzz
