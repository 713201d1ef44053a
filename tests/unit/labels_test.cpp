#include "engine/labels.hpp"

#include "engine/chain_id.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace lazypull {
namespace {

Digest digest_of(char digit) {
  return Digest::parse("sha256:" + std::string(64, digit));
}

Digest numbered(std::size_t number) {
  return Digest::sha256_of(std::to_string(number));
}

Descriptor descriptor_of(std::string_view type, const Digest& digest) {
  Descriptor descriptor;
  descriptor.media_type = type;
  descriptor.digest = digest;
  descriptor.size = 7;
  return descriptor;
}

Descriptor layer_of(const Digest& digest) {
  return descriptor_of("application/vnd.oci.image.layer.v1.tar+gzip", digest);
}

TEST(GcLabels, OfAManifestNameConfigAndLayers) {
  Manifest manifest;
  manifest.config = descriptor_of(media_type::oci_config, digest_of('c'));
  manifest.layers = {layer_of(digest_of('1')), layer_of(digest_of('2')),
                     descriptor_of("application/vnd.docker.image.rootfs.diff.tar.gzip", digest_of('3'))};
  EXPECT_EQ(gc_labels(manifest), (Labels{
                                     {"containerd.io/gc.ref.content.config", digest_of('c').str()},
                                     {"containerd.io/gc.ref.content.l.0", digest_of('1').str()},
                                     {"containerd.io/gc.ref.content.l.1", digest_of('2').str()},
                                     {"containerd.io/gc.ref.content.l.2", digest_of('3').str()},
                                 }));
}

TEST(GcLabels, OfAManifestWithoutLayersNameTheConfigOnly) {
  Manifest manifest;
  manifest.config = descriptor_of(media_type::docker_config, digest_of('c'));
  EXPECT_EQ(gc_labels(manifest), (Labels{{"containerd.io/gc.ref.content.config", digest_of('c').str()}}));
}

TEST(GcLabels, OfUnknownTypesAreNumberedWithoutAKind) {
  Manifest manifest;
  manifest.config = descriptor_of("application/vnd.example.config.v1+json", digest_of('c'));
  manifest.layers = {layer_of(digest_of('1')), descriptor_of("application/octet-stream", digest_of('2')),
                     layer_of(digest_of('3'))};
  EXPECT_EQ(gc_labels(manifest), (Labels{
                                     {"containerd.io/gc.ref.content.0", digest_of('c').str()},
                                     {"containerd.io/gc.ref.content.1", digest_of('2').str()},
                                     {"containerd.io/gc.ref.content.l.0", digest_of('1').str()},
                                     {"containerd.io/gc.ref.content.l.1", digest_of('3').str()},
                                 }));
}

TEST(GcLabels, OfAnIndexNameEveryChild) {
  Index index;
  index.manifests = {descriptor_of(media_type::oci_manifest, digest_of('1')),
                     descriptor_of(media_type::oci_index, digest_of('2')),
                     descriptor_of(media_type::docker_manifest, digest_of('3')),
                     descriptor_of(media_type::docker_index, digest_of('4')),
                     descriptor_of("application/vnd.example.thing", digest_of('5'))};
  EXPECT_EQ(gc_labels(index), (Labels{
                                  {"containerd.io/gc.ref.content.m.0", digest_of('1').str()},
                                  {"containerd.io/gc.ref.content.m.1", digest_of('3').str()},
                                  {"containerd.io/gc.ref.content.0", digest_of('2').str()},
                                  {"containerd.io/gc.ref.content.1", digest_of('4').str()},
                                  {"containerd.io/gc.ref.content.2", digest_of('5').str()},
                              }));
}

TEST(GcLabels, OfASecondConfigAreNumbered) {
  Index index;
  index.manifests = {descriptor_of(media_type::oci_config, digest_of('1')),
                     descriptor_of(media_type::oci_config, digest_of('2'))};
  EXPECT_EQ(gc_labels(index), (Labels{
                                  {"containerd.io/gc.ref.content.config", digest_of('1').str()},
                                  {"containerd.io/gc.ref.content.config1", digest_of('2').str()},
                              }));
}

using Label = std::pair<std::string, std::string>;

TEST(DistributionSource, NamesTheRepositoryUnderItsHost) {
  EXPECT_EQ(distribution_source_label(Reference::parse("alpine"), {}),
            Label("containerd.io/distribution.source.docker.io", "library/alpine"));
  EXPECT_EQ(distribution_source_label(Reference::parse("registry.example.com/a/b:1"), {}),
            Label("containerd.io/distribution.source.registry.example.com", "a/b"));
}

TEST(DistributionSource, LeavesOutThePortAsContainerdDoes) {
  EXPECT_EQ(distribution_source_label(Reference::parse("localhost:5000/a"), {}),
            Label("containerd.io/distribution.source.localhost", "a"));
  EXPECT_EQ(distribution_source_label(Reference::parse("[::1]:5000/a"), {}),
            Label("containerd.io/distribution.source.::1", "a"));
}

TEST(DistributionSource, AddsToWhatIsThereSortedAndWithoutDuplicates) {
  const std::string key = "containerd.io/distribution.source.example.com";
  const auto reference = Reference::parse("example.com/mm");
  EXPECT_EQ(distribution_source_label(reference, {{key, "zz,aa"}}), Label(key, "aa,mm,zz"));
  EXPECT_EQ(distribution_source_label(reference, {{key, "zz,,zz,aa,"}}), Label(key, "aa,mm,zz"));
  EXPECT_EQ(distribution_source_label(reference, {{key, ""}}), Label(key, "mm"));
  EXPECT_EQ(distribution_source_label(reference, {{key + ".other", "mm"}}), Label(key, "mm"));
}

TEST(DistributionSource, IsNothingIfTheRepositoryIsThere) {
  const std::string key = "containerd.io/distribution.source.example.com";
  EXPECT_EQ(distribution_source_label(Reference::parse("example.com/mm"), {{key, "mm"}}), std::nullopt);
  EXPECT_EQ(distribution_source_label(Reference::parse("example.com/mm"), {{key, "aa,mm"}}), std::nullopt);
}

TEST(DistributionSource, IsNothingIfItWouldGrowTooLong) {
  const std::string key = "containerd.io/distribution.source.example.com";
  const auto reference = Reference::parse("example.com/zz");
  const auto room = max_label_bytes - key.size() - std::string(",zz").size();
  EXPECT_NE(distribution_source_label(reference, {{key, std::string(room, 'a')}}), std::nullopt);
  EXPECT_EQ(distribution_source_label(reference, {{key, std::string(room + 1, 'a')}}), std::nullopt);
}

TEST(IngestRef, NamesTheKindOfContent) {
  const auto hash = digest_of('1').str();
  const auto ref_of = [](std::string_view type) { return ingest_ref(descriptor_of(type, digest_of('1'))); };
  EXPECT_EQ(ref_of(media_type::oci_manifest), "manifest-" + hash);
  EXPECT_EQ(ref_of(media_type::docker_manifest), "manifest-" + hash);
  EXPECT_EQ(ref_of(media_type::oci_index), "index-" + hash);
  EXPECT_EQ(ref_of(media_type::docker_index), "index-" + hash);
  EXPECT_EQ(ref_of(media_type::oci_config), "config-" + hash);
  EXPECT_EQ(ref_of(media_type::docker_config), "config-" + hash);
  EXPECT_EQ(ref_of("application/vnd.containerd.container.checkpoint.config.v1+proto"), "config-" + hash);
  EXPECT_EQ(ref_of("application/vnd.oci.image.layer.v1.tar+zstd"), "layer-" + hash);
  EXPECT_EQ(ref_of("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"), "layer-" + hash);
  EXPECT_EQ(ref_of("application/vnd.example.thing"), "unknown-" + hash);
  EXPECT_EQ(ref_of(""), "unknown-" + hash);
}

TEST(IngestRef, IsPrefixedByTheReferencesNameIfAnnotated) {
  auto layer = layer_of(digest_of('1'));
  layer.annotations["org.opencontainers.image.ref.name"] = "v1";
  EXPECT_EQ(ingest_ref(layer), "layer-v1@" + digest_of('1').str());
}

/// An image of a few layers, and the labels of one of them.
class SnapshotLabels : public testing::Test {
 protected:
  void make_layers(std::size_t count) {
    layers.clear();
    diff_ids.clear();
    for (std::size_t i = 0; i < count; ++i) {
      layers.push_back(layer_of(numbered(i)));
      diff_ids.push_back(numbered(1000 + i));
    }
    chain = chain_ids(diff_ids);
  }

  Labels labels_of(std::size_t index, const std::set<LabelDialect>& dialects) const {
    const LayerContext context{.reference = reference,
                               .manifest_digest = manifest,
                               .layers = layers,
                               .diff_ids = diff_ids,
                               .chain_ids = chain,
                               .index = index};
    return snapshot_labels(context, dialects);
  }

  std::string digests_from(std::size_t index) const {
    std::string list;
    for (std::size_t i = index; i < layers.size(); ++i)
      list += (i > index ? "," : "") + layers[i].digest.str();
    return list;
  }

  void SetUp() override { make_layers(3); }

  Reference reference = Reference::parse("registry.example.com/app:1");
  Digest manifest = digest_of('e');
  std::vector<Descriptor> layers;
  std::vector<Digest> diff_ids;
  std::vector<Digest> chain;
};

TEST_F(SnapshotLabels, OfContainerdNameTheTarget) {
  EXPECT_EQ(labels_of(0, {LabelDialect::containerd}),
            (Labels{
                {"containerd.io/snapshot.ref", chain[0].str()},
                {"containerd.io/snapshot/diff-id", diff_ids[0].str()},
            }));
  EXPECT_EQ(labels_of(2, {LabelDialect::containerd}),
            (Labels{
                {"containerd.io/snapshot.ref", chain[2].str()},
                {"containerd.io/snapshot/diff-id", diff_ids[2].str()},
                {"containerd.io/snapshot/parent-chain-id", chain[1].str()},
            }));
}

TEST_F(SnapshotLabels, OfCriNameImageManifestLayerAndTheLayersAbove) {
  EXPECT_EQ(labels_of(1, {LabelDialect::cri}),
            (Labels{
                {"containerd.io/snapshot/cri.image-ref", "registry.example.com/app:1"},
                {"containerd.io/snapshot/cri.manifest-digest", manifest.str()},
                {"containerd.io/snapshot/cri.layer-digest", layers[1].digest.str()},
                {"containerd.io/snapshot/cri.image-layers", digests_from(1)},
            }));
}

TEST_F(SnapshotLabels, OfStargzNameReferenceLayerAndTheLayersAbove) {
  EXPECT_EQ(labels_of(1, {LabelDialect::stargz}),
            (Labels{
                {"containerd.io/snapshot/remote/stargz.reference", "registry.example.com/app:1"},
                {"containerd.io/snapshot/remote/stargz.digest", layers[1].digest.str()},
                {"containerd.io/snapshot/remote/stargz.layers", digests_from(1)},
            }));
}

TEST_F(SnapshotLabels, OfStargzSayWhereForeignLayersAre) {
  layers[1].urls = {"https://example.com/1", "https://example.org/1"};
  layers[2].urls = {"https://example.com/2"};
  const auto labels = labels_of(1, {LabelDialect::stargz});
  EXPECT_EQ(labels.at("containerd.io/snapshot/remote/urls"), "https://example.com/1,https://example.org/1");
  EXPECT_EQ(labels.at("containerd.io/snapshot/remote/urls.0"), "https://example.com/1,https://example.org/1");
  EXPECT_EQ(labels.at("containerd.io/snapshot/remote/urls.1"), "https://example.com/2");

  const auto lower = labels_of(0, {LabelDialect::stargz});
  EXPECT_FALSE(lower.contains("containerd.io/snapshot/remote/urls"));
  EXPECT_FALSE(lower.contains("containerd.io/snapshot/remote/urls.0"));
  EXPECT_EQ(lower.at("containerd.io/snapshot/remote/urls.2"), "https://example.com/2");
}

TEST_F(SnapshotLabels, OfStargzNumberUrlsByPlaceInTheListOfLayers) {
  layers[1].media_type = "application/vnd.example.not-a-layer";
  layers[2].urls = {"https://example.com/2"};
  const auto labels = labels_of(0, {LabelDialect::stargz});
  EXPECT_EQ(labels.at("containerd.io/snapshot/remote/stargz.layers"),
            layers[0].digest.str() + "," + layers[2].digest.str());
  EXPECT_EQ(labels.at("containerd.io/snapshot/remote/urls.1"), "https://example.com/2");
}

TEST_F(SnapshotLabels, UrlsThatAListCannotHoldAreLeftOut) {
  layers[0].urls = {"https://example.com/a,b", "https://example.com/c", std::string(max_label_bytes, 'x')};
  EXPECT_EQ(labels_of(0, {LabelDialect::stargz}).at("containerd.io/snapshot/remote/urls"),
            "https://example.com/c");
}

TEST_F(SnapshotLabels, Of2019NameReferenceAndLayer) {
  EXPECT_EQ(labels_of(1, {LabelDialect::v2019}),
            (Labels{
                {"containerd.io/snapshot/remote_snapshot/ref", "registry.example.com/app:1"},
                {"containerd.io/snapshot/remote_snapshot/digest", layers[1].digest.str()},
            }));
}

TEST_F(SnapshotLabels, OfSeveralDialectsAreGivenTogether) {
  const auto labels = labels_of(1, {LabelDialect::containerd, LabelDialect::cri, LabelDialect::stargz});
  EXPECT_EQ(labels.size(), 3U + 4U + 3U);
  EXPECT_TRUE(labels_of(1, {}).empty());
}

TEST_F(SnapshotLabels, NameTheReferenceWithTagAndDigest) {
  reference = Reference::parse("app:1@" + digest_of('e').str());
  EXPECT_EQ(labels_of(0, {LabelDialect::cri}).at("containerd.io/snapshot/cri.image-ref"),
            "docker.io/library/app:1@" + digest_of('e').str());
}

TEST_F(SnapshotLabels, InheritTheLayersSnapshotAnnotations) {
  layers[0].annotations = {
      {"containerd.io/snapshot/stargz/toc.digest", digest_of('7').str()},
      {"containerd.io/snapshot/nydus-blob", "true"},
      {"containerd.io/uncompressed", "no"},
      {"org.opencontainers.image.title", "no"},
  };
  EXPECT_EQ(labels_of(0, {}), (Labels{
                                  {"containerd.io/snapshot/stargz/toc.digest", digest_of('7').str()},
                                  {"containerd.io/snapshot/nydus-blob", "true"},
                              }));
  EXPECT_TRUE(labels_of(1, {}).empty());
}

TEST_F(SnapshotLabels, AnnotationsNeverOverrideOurOwn) {
  const std::set<LabelDialect> all{LabelDialect::containerd, LabelDialect::cri, LabelDialect::stargz,
                                   LabelDialect::v2019};
  const auto plain = labels_of(1, all);
  for (const auto& [key, value] : plain) layers[1].annotations[key] = "forged";
  EXPECT_EQ(labels_of(1, all), plain);
}

TEST_F(SnapshotLabels, AnImageCannotPassItsLayersOffAsRemoteOnesOrAsAnotherTarget) {
  for (const std::string key :
       {"containerd.io/snapshot.ref", "containerd.io/snapshot/remote_snapshot",
        "containerd.io/snapshot/remote_snapshot/ref", "containerd.io/snapshot/remote_snapshot/digest",
        "containerd.io/snapshot/remote", "containerd.io/snapshot/diff-id",
        "containerd.io/snapshot/parent-chain-id"}) {
    layers[0].annotations = {{key, "forged"}};
    EXPECT_TRUE(labels_of(0, {}).empty()) << key;
  }
}

TEST_F(SnapshotLabels, ListsOfLayersAreCutToWhatFits) {
  make_layers(200);
  const auto labels = labels_of(0, {LabelDialect::cri, LabelDialect::stargz});
  for (const std::string key :
       {"containerd.io/snapshot/cri.image-layers", "containerd.io/snapshot/remote/stargz.layers"}) {
    const auto& value = labels.at(key);
    constexpr std::size_t item = 7 + 64 + 1;  // "sha256:", digits and a comma
    const auto fitting = (max_label_bytes - key.size() + 1) / item;
    EXPECT_EQ(value.size(), fitting * item - 1) << key;
    EXPECT_TRUE(digests_from(0).starts_with(value)) << key;
    EXPECT_LE(key.size() + value.size(), max_label_bytes);
  }
}

TEST_F(SnapshotLabels, ThatAreTooLongAreLeftOut) {
  const std::string key = "containerd.io/snapshot/extra";
  layers[0].annotations = {{key, std::string(max_label_bytes - key.size(), 'x')}};
  EXPECT_TRUE(labels_of(0, {}).contains(key));
  layers[0].annotations = {{key, std::string(max_label_bytes - key.size() + 1, 'x')}};
  EXPECT_FALSE(labels_of(0, {}).contains(key));
}

TEST(RemoteHint, IsAnAnnotationOfALazilyMountableFormat) {
  for (const std::string key :
       {"containerd.io/snapshot/stargz/toc.digest", "containerd.io/snapshot/nydus-blob",
        "containerd.io/snapshot/nydus-ref", "containerd.io/snapshot/overlaybd/blob-digest"}) {
    auto layer = layer_of(digest_of('1'));
    EXPECT_FALSE(has_remote_hint(layer));
    layer.annotations[key] = "x";
    EXPECT_TRUE(has_remote_hint(layer)) << key;
  }
  auto plain = layer_of(digest_of('1'));
  plain.annotations["org.opencontainers.image.title"] = "x";
  plain.annotations["containerd.io/snapshot/nydus-bootstrap"] = "true";
  EXPECT_FALSE(has_remote_hint(plain));
}

}  // namespace
}  // namespace lazypull
