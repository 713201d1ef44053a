#include "engine/manifest.hpp"

#include "engine/error.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace lazypull {
namespace {

std::string digest_text(char digit) {
  return "sha256:" + std::string(64, digit);
}
Digest digest_of(char digit) {
  return Digest::parse(digest_text(digit));
}

const std::string oci(media_type::oci_manifest);
const std::string oci_index(media_type::oci_index);
const std::string docker(media_type::docker_manifest);
const std::string docker_index(media_type::docker_index);
const std::string layer_type = "application/vnd.oci.image.layer.v1.tar+gzip";

std::string descriptor_json(const std::string& type, char digit, const std::string& size = "7",
                            const std::string& more = "") {
  return R"({"mediaType":")" + type + R"(","digest":")" + digest_text(digit) + R"(","size":)" + size + more +
         "}";
}

const std::string config_json = descriptor_json(std::string(media_type::oci_config), 'c');

/// A manifest with these layers, and further members in front.
std::string manifest_json(const std::string& layers, const std::string& more = "") {
  return R"({"schemaVersion":2,)" + more + R"("config":)" + config_json + R"(,"layers":[)" + layers + "]}";
}

std::string index_json(const std::string& manifests, const std::string& more = "") {
  return R"({"schemaVersion":2,)" + more + R"("manifests":[)" + manifests + "]}";
}

/// The first layer of a manifest whose descriptor has these further members.
Descriptor layer_with(const std::string& more, const std::string& size = "7") {
  return Manifest::parse(manifest_json(descriptor_json(layer_type, '1', size, more)), oci).layers.at(0);
}

Error refusal_of(const auto& parse) {
  try {
    parse();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "it was accepted";
  return {Errc::internal, ""};
}

Error refused_manifest(const std::string& json, const std::string& type = oci) {
  return refusal_of([&] { Manifest::parse(json, type); });
}

Error refused_index(const std::string& json, const std::string& type = oci_index) {
  return refusal_of([&] { Index::parse(json, type); });
}

Error refused_config(const std::string& json) {
  return refusal_of([&] { ImageConfig::parse(json); });
}

TEST(MediaType, KnowsLayers) {
  for (const std::string type :
       {"application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nydus.blob.v1", "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar.gzip+encrypted",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}) {
    EXPECT_TRUE(media_type::is_layer(type)) << type;
  }
  for (const std::string type :
       {"", "application/vnd.oci.image.config.v1+json", "application/octet-stream",
        "application/vnd.oci.image.layer", "application/vnd.docker.image.rootfs.diff.tarx"}) {
    EXPECT_FALSE(media_type::is_layer(type)) << type;
  }
}

TEST(MediaType, KnowsForeignLayers) {
  EXPECT_TRUE(media_type::is_foreign_layer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"));
  EXPECT_TRUE(media_type::is_foreign_layer("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"));
  EXPECT_FALSE(media_type::is_foreign_layer(layer_type));
}

TEST(MediaType, KnowsIndexesManifestsAndConfigs) {
  EXPECT_TRUE(media_type::is_index(oci_index) && media_type::is_index(docker_index));
  EXPECT_TRUE(media_type::is_manifest(oci) && media_type::is_manifest(docker));
  EXPECT_TRUE(media_type::is_config(media_type::oci_config) &&
              media_type::is_config(media_type::docker_config));
  EXPECT_FALSE(media_type::is_index(oci) || media_type::is_manifest(oci_index) || media_type::is_config(oci));
  EXPECT_FALSE(media_type::is_manifest(media_type::docker_schema1));
}

TEST(Manifest, ParsesOci) {
  const auto manifest = Manifest::parse(
      manifest_json(descriptor_json(layer_type, '1', "10") + "," + descriptor_json(layer_type, '2')), oci);
  EXPECT_EQ(manifest.media_type, oci);
  EXPECT_EQ(manifest.config.digest, digest_of('c'));
  ASSERT_EQ(manifest.layers.size(), 2U);
  EXPECT_EQ(manifest.layers[0].media_type, layer_type);
  EXPECT_EQ(manifest.layers[0].digest, digest_of('1'));
  EXPECT_EQ(manifest.layers[0].size, 10U);
  EXPECT_EQ(manifest.layers[1].digest, digest_of('2'));
}

TEST(Manifest, ParsesDocker) {
  const auto manifest = Manifest::parse(manifest_json("", R"("mediaType":")" + docker + R"(",)"), docker);
  EXPECT_EQ(manifest.media_type, docker);
}

TEST(Manifest, MayHaveNoLayers) {
  EXPECT_TRUE(Manifest::parse(manifest_json(""), oci).layers.empty());
  EXPECT_TRUE(Manifest::parse(R"({"config":)" + config_json + R"(,"layers":null})", oci).layers.empty());
}

TEST(Manifest, IgnoresMembersThatItDoesNotKnow) {
  EXPECT_NO_THROW(Manifest::parse(
      manifest_json("", R"("subject":{"x":[1,2,{"y":null}]},"annotations":{"a":"b"},)"), oci));
}

TEST(Manifest, TakesItsTypeFromWhatLedToItOrElseFromItself) {
  EXPECT_EQ(Manifest::parse(manifest_json(""), oci + "; charset=utf-8").media_type, oci);
  EXPECT_EQ(Manifest::parse(manifest_json(""), "Application/Vnd.OCI.image.manifest.v1+JSON ;x=y").media_type,
            oci);
  EXPECT_EQ(Manifest::parse(manifest_json("", R"("mediaType":")" + docker + R"(",)"), "").media_type, docker);
  EXPECT_EQ(refused_manifest(manifest_json(""), "").code(), Errc::bad_response);
}

TEST(Manifest, RefusesATypeThatContradictsWhatLedToIt) {
  const auto error = refused_manifest(manifest_json("", R"("mediaType":")" + docker + R"(",)"), oci);
  EXPECT_EQ(error.code(), Errc::bad_response);
  EXPECT_NE(error.message().find("contradicts"), std::string::npos);
  EXPECT_EQ(refused_manifest(manifest_json("", R"("mediaType":")" + oci_index + R"(",)")).code(),
            Errc::bad_response);
  EXPECT_EQ(refused_manifest(manifest_json("", R"("mediaType":7,)")).code(), Errc::bad_response);
  EXPECT_EQ(refused_manifest(manifest_json("", R"("mediaType":"a b",)")).code(), Errc::bad_response);
}

TEST(Manifest, RefusesToBeAnIndexAsWell) {
  EXPECT_EQ(refused_manifest(manifest_json("", R"("manifests":[],)")).code(), Errc::bad_response);
  EXPECT_EQ(refused_manifest(manifest_json("", R"("manifests":null,)")).code(), Errc::bad_response);
  EXPECT_EQ(refused_index(index_json("", R"("layers":[],)")).code(), Errc::bad_response);
  EXPECT_EQ(refused_index(index_json("", R"("config":{},)")).code(), Errc::bad_response);
}

TEST(Manifest, RefusesSchema1AndUnknownTypesAsUnsupported) {
  const std::string schema1(media_type::docker_schema1_signed);
  EXPECT_EQ(refused_manifest(R"({"schemaVersion":1,"fsLayers":[]})", schema1).code(), Errc::unsupported);
  EXPECT_EQ(refused_manifest(R"({"schemaVersion":1})", oci).code(), Errc::unsupported);
  EXPECT_EQ(refused_manifest(manifest_json("", R"("fsLayers":[],)")).code(), Errc::unsupported);
  EXPECT_NE(refused_manifest(manifest_json(""), schema1).message().find("schema 1"), std::string::npos);
  EXPECT_EQ(refused_manifest(manifest_json(""), "application/json").code(), Errc::unsupported);
  EXPECT_EQ(refused_manifest(manifest_json(""), oci_index).code(), Errc::unsupported);
  EXPECT_EQ(refused_index(index_json(""), oci).code(), Errc::unsupported);
}

TEST(Manifest, RefusesWhatIsNotStrictJson) {
  const std::vector<std::string> bad{
      "",
      " ",
      "null",
      "[]",
      "\"text\"",
      "{",
      "{]",
      "{\"schemaVersion\":2,}",
      "{'schemaVersion':2}",
      "/* comment */" + manifest_json(""),
      manifest_json("") + "x",
      manifest_json("") + manifest_json(""),
      "\xef\xbb\xbf" + manifest_json(""),
      manifest_json("", "\"\xff\":1,"),
      manifest_json("", "\"a\":\"\xc3\x28\","),
      manifest_json("", "\"a\":\"\xed\xa0\x80\","),
      manifest_json("", R"("a":"\ud800",)"),
      manifest_json("", "\"a\":\"\n\","),
      manifest_json("", "\"a\":NaN,"),
      manifest_json("", "\"a\":01,"),
  };
  for (const auto& text : bad) EXPECT_EQ(refused_manifest(text).code(), Errc::bad_response) << text;
  EXPECT_NO_THROW(Manifest::parse("\n\t " + manifest_json("") + " \r\n", oci));
}

TEST(Manifest, RefusesDuplicateKeysAnywhere) {
  const std::vector<std::string> bad{
      manifest_json("", R"("layers":[],)"),
      manifest_json("", R"("schemaVersion":2,)"),
      manifest_json("", R"("l\u0061yers":[],)"),
      manifest_json("", R"("annotations":{"a":"1","a":"1"},)"),
      manifest_json("", R"("unknown":[{"deep":{"x":1,"y":2,"x":3}}],)"),
      manifest_json(descriptor_json(layer_type, '1', "7", R"(,"size":7)")),
  };
  for (const auto& text : bad) {
    const auto error = refused_manifest(text);
    EXPECT_EQ(error.code(), Errc::bad_response) << text;
    EXPECT_NE(error.message().find("twice"), std::string::npos) << error.message();
  }
  EXPECT_NO_THROW(
      Manifest::parse(manifest_json("", R"("x":[{"a":1},{"a":1}],"y":{"a":1,"b":{"a":1}},)"), oci));
}

TEST(Manifest, RefusesDeepNesting) {
  const auto nested = [](int depth) {
    const auto size = static_cast<std::size_t>(depth);
    return manifest_json("", R"("x":)" + std::string(size, '[') + std::string(size, ']') + ",");
  };
  EXPECT_NO_THROW(Manifest::parse(nested(31), oci));
  EXPECT_EQ(refused_manifest(nested(32)).code(), Errc::bad_response);
  EXPECT_EQ(refused_manifest(nested(100'000)).code(), Errc::bad_response);
  EXPECT_EQ(refused_manifest(std::string(1'000'000, '[')).code(), Errc::bad_response);
}

TEST(Manifest, RefusesMissingAndMistypedMembers) {
  EXPECT_EQ(refused_manifest("{}").code(), Errc::bad_response);
  EXPECT_EQ(refused_manifest(R"({"layers":[]})").code(), Errc::bad_response);
  EXPECT_EQ(refused_manifest(R"({"config":)" + config_json + "}").code(), Errc::bad_response);
  EXPECT_EQ(refused_manifest(R"({"config":[],"layers":[]})").code(), Errc::bad_response);
  EXPECT_EQ(refused_manifest(R"({"config":)" + config_json + R"(,"layers":{}})").code(), Errc::bad_response);
  EXPECT_EQ(refused_manifest(manifest_json("7")).code(), Errc::bad_response);
  EXPECT_EQ(refused_manifest(manifest_json("null")).code(), Errc::bad_response);
  EXPECT_EQ(refused_manifest(manifest_json("{}")).code(), Errc::bad_response);
  EXPECT_EQ(refused_manifest(R"({"schemaVersion":3,"config":)" + config_json + R"(,"layers":[]})").code(),
            Errc::bad_response);
  EXPECT_EQ(refused_manifest(R"({"schemaVersion":"2","config":)" + config_json + R"(,"layers":[]})").code(),
            Errc::bad_response);
}

TEST(Manifest, SaysWhereItIsWrong) {
  const auto layers = descriptor_json(layer_type, '1') + "," + descriptor_json(layer_type, '2', "-1");
  EXPECT_EQ(refused_manifest(manifest_json(layers)).message(),
            "manifest.layers[1].size: it is not an integer from 0 to 2^63-1");
}

TEST(Manifest, HasLimits) {
  std::string layers;
  for (std::size_t i = 0; i < max_layers; ++i) layers += descriptor_json(layer_type, '1') + ",";
  const auto full = layers.substr(0, layers.size() - 1);
  EXPECT_EQ(Manifest::parse(manifest_json(full), oci).layers.size(), max_layers);
  EXPECT_EQ(refused_manifest(manifest_json(layers + descriptor_json(layer_type, '1'))).code(),
            Errc::invalid_image);

  const auto padding = [](std::size_t size) { return manifest_json("") + std::string(size, ' '); };
  const auto size = manifest_json("").size();
  EXPECT_NO_THROW(Manifest::parse(padding(max_manifest_bytes - size), oci));
  EXPECT_EQ(refused_manifest(padding(max_manifest_bytes - size + 1)).code(), Errc::invalid_image);

  std::string zeros = "0";
  for (int i = 0; i < 300'000; ++i) zeros += ",0";
  EXPECT_EQ(refused_manifest(manifest_json("", R"("x":[)" + zeros + "],")).code(), Errc::invalid_image);
}

TEST(Manifest, RefusesSizesThatAddUpToMoreThanAnyDisk) {
  const auto half = descriptor_json(layer_type, '1', "4611686018427387904");
  EXPECT_NO_THROW(Manifest::parse(manifest_json(half), oci));
  EXPECT_EQ(refused_manifest(manifest_json(half + "," + half)).code(), Errc::invalid_image);
}

TEST(Descriptor, SizeIsAnIntegerFrom0To2To63Minus1) {
  EXPECT_EQ(layer_with("", "0").size, 0U);
  EXPECT_EQ(layer_with("", "9223372036854775000").size, 9223372036854775000U);
  for (const std::string size : {"-1", "1.5", "1.0", "1e3", "\"7\"", "null", "true", "9223372036854775808",
                                 "18446744073709551616", "-9223372036854775809", "1e400"}) {
    EXPECT_EQ(refusal_of([&] { layer_with("", size); }).code(), Errc::bad_response) << size;
  }
}

TEST(Descriptor, NeedsMediaTypeDigestAndSize) {
  const auto digest = R"("digest":")" + digest_text('1') + "\"";
  const std::string type = R"("mediaType":")" + layer_type + "\"";
  EXPECT_EQ(refused_manifest(manifest_json("{" + digest + R"(,"size":1})")).code(), Errc::bad_response);
  EXPECT_EQ(refused_manifest(manifest_json("{" + type + R"(,"size":1})")).code(), Errc::bad_response);
  EXPECT_EQ(refused_manifest(manifest_json("{" + type + "," + digest + "}")).code(), Errc::bad_response);
}

TEST(Descriptor, RefusesBadDigests) {
  for (const std::string digest :
       {"", "sha256:0", "md5:00000000000000000000000000000000", "../../etc/passwd"}) {
    const auto json = R"({"mediaType":")" + layer_type + R"(","size":1,"digest":")" + digest + "\"}";
    EXPECT_EQ(refused_manifest(manifest_json(json)).code(), Errc::bad_response) << digest;
  }
}

TEST(Descriptor, RefusesMalformedMediaTypes) {
  for (const std::string type :
       {"", "layer", "a/b/c", "a b/c", "/b", "a/", "application/x\\n", "text/h\\u00e4"}) {
    EXPECT_EQ(refused_manifest(manifest_json(descriptor_json(type, '1'))).code(), Errc::bad_response) << type;
  }
}

TEST(Descriptor, ReadsAnnotationsAndUrls) {
  const auto layer = layer_with(
      R"(,"annotations":{"a":"1","b":""},"urls":["https://example.com/a","https://example.com/b"],"artifactType":"x/y")");
  EXPECT_EQ(layer.annotations, (std::map<std::string, std::string>{{"a", "1"}, {"b", ""}}));
  EXPECT_EQ(layer.urls, (std::vector<std::string>{"https://example.com/a", "https://example.com/b"}));
  EXPECT_EQ(layer.artifact_type, "x/y");
  EXPECT_EQ(layer.platform, std::nullopt);
  EXPECT_EQ(layer.data, std::nullopt);
}

TEST(Descriptor, TakesNullForAbsent) {
  const auto layer =
      layer_with(R"(,"annotations":null,"urls":null,"data":null,"platform":null,"artifactType":null)");
  EXPECT_TRUE(layer.annotations.empty());
  EXPECT_TRUE(layer.urls.empty());
  EXPECT_EQ(layer.data, std::nullopt);
  EXPECT_EQ(layer.platform, std::nullopt);
}

TEST(Descriptor, RefusesMistypedOptionalMembers) {
  for (const std::string more :
       {R"(,"annotations":[])", R"(,"annotations":{"a":1})", R"(,"annotations":{"a":null})", R"(,"urls":"x")",
        R"(,"urls":[1])", R"(,"urls":["https://example.com/\n"])", R"(,"urls":[""," "])",
        R"(,"platform":"linux")", R"(,"platform":{"os":1})", R"(,"platform":{"os.features":"x"})",
        R"(,"data":7)", R"(,"artifactType":{})"}) {
    EXPECT_EQ(refusal_of([&] { layer_with(more); }).code(), Errc::bad_response) << more;
  }
}

struct DataCase {
  std::string base64;
  std::string size;
  std::string content;
};

TEST(Descriptor, DecodesData) {
  const std::vector<DataCase> cases{
      {"", "0", ""},
      {"Zg==", "1", "f"},
      {"Zm8=", "2", "fo"},
      {"Zm9v", "3", "foo"},
      {"e30=", "2", "{}"},
      {"Zm9vYg==", "4", "foob"},
      {"+/+/", "3", "\xfb\xff\xbf"},
      {"AAAA", "3", std::string(3, '\0')},
  };
  for (const auto& test : cases) {
    EXPECT_EQ(layer_with(R"(,"data":")" + test.base64 + "\"", test.size).data, test.content) << test.base64;
  }
}

TEST(Descriptor, EmptyDataOfContentThatIsNotEmptyIsNone) {
  EXPECT_EQ(layer_with(R"(,"data":"")", "3").data, std::nullopt);
}

TEST(Descriptor, RefusesDataThatIsNotBase64OrOfAnotherSize) {
  for (const std::string data : {"Zm9", "Zm9v=", "Zm9vZg=", "Zm 9v", "Zm9v\\n", "Zm9-", "Zm9_", "Zg=v",
                                 "====", "=m9v", "Zm9=", "Zm9vZm9v", "Zm8=", "Zg=="}) {
    EXPECT_EQ(refusal_of([&] { layer_with(R"(,"data":")" + data + "\"", "3"); }).code(), Errc::bad_response)
        << data;
  }
}

TEST(Index, ParsesOciAndDocker) {
  const auto amd64 = descriptor_json(
      oci, '1', "7",
      R"(,"platform":{"os":"linux","architecture":"amd64","os.version":"6","os.features":["a","b"]})");
  const auto arm =
      descriptor_json(oci, '2', "7", R"(,"platform":{"os":"linux","architecture":"arm","variant":"v6"})");
  const auto index = Index::parse(index_json(amd64 + "," + arm), oci_index);
  EXPECT_EQ(index.media_type, oci_index);
  ASSERT_EQ(index.manifests.size(), 2U);
  ASSERT_TRUE(index.manifests[0].platform && index.manifests[1].platform);
  EXPECT_EQ(index.manifests[0].platform->str(), "linux/amd64");
  EXPECT_EQ(index.manifests[0].platform->os_version, "6");
  EXPECT_EQ(index.manifests[0].platform->os_features, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(index.manifests[1].platform->str(), "linux/arm/v6");
  EXPECT_EQ(
      Index::parse(index_json("", R"("mediaType":")" + docker_index + R"(",)"), docker_index).media_type,
      docker_index);
}

TEST(Index, MayBeEmptyButNotWithoutManifests) {
  EXPECT_TRUE(Index::parse(index_json(""), oci_index).manifests.empty());
  EXPECT_TRUE(Index::parse(R"({"manifests":null})", oci_index).manifests.empty());
  EXPECT_EQ(refused_index(R"({"schemaVersion":2})").code(), Errc::bad_response);
}

TEST(Index, HasALimit) {
  std::string entries;
  for (std::size_t i = 0; i < max_index_entries; ++i) entries += descriptor_json(oci, '1') + ",";
  EXPECT_NO_THROW(Index::parse(index_json(entries.substr(0, entries.size() - 1)), oci_index));
  EXPECT_EQ(refused_index(index_json(entries + descriptor_json(oci, '1'))).code(), Errc::invalid_image);
}

TEST(ImageConfig, ReadsPlatformAndDiffIds) {
  const auto config = ImageConfig::parse(
      R"({"os":"linux","architecture":"arm64","variant":"v8","config":{"Cmd":["sh"]},"history":[{"empty_layer":true}],)"
      R"("rootfs":{"type":"layers","diff_ids":[")" +
      digest_text('1') + R"(",")" + digest_text('2') + R"("]}})");
  EXPECT_EQ(config.platform.str(), "linux/arm64");
  EXPECT_EQ(config.diff_ids, (std::vector<Digest>{digest_of('1'), digest_of('2')}));
}

TEST(ImageConfig, MayHaveNoRootfs) {
  EXPECT_TRUE(ImageConfig::parse("{}").diff_ids.empty());
  EXPECT_TRUE(ImageConfig::parse(R"({"rootfs":null})").diff_ids.empty());
  EXPECT_TRUE(ImageConfig::parse(R"({"rootfs":{"diff_ids":null}})").diff_ids.empty());
  EXPECT_TRUE(ImageConfig::parse(R"({"rootfs":{"type":"layers"}})").diff_ids.empty());
}

TEST(ImageConfig, RefusesOtherKindsOfRootfs) {
  EXPECT_EQ(refused_config(R"({"rootfs":{"type":"layers+base"}})").code(), Errc::invalid_image);
  EXPECT_EQ(refused_config(R"({"rootfs":{"type":1}})").code(), Errc::bad_response);
  EXPECT_EQ(refused_config(R"({"rootfs":[]})").code(), Errc::bad_response);
}

TEST(ImageConfig, RefusesBadDiffIds) {
  EXPECT_EQ(refused_config(R"({"rootfs":{"diff_ids":["sha256:0"]}})").code(), Errc::bad_response);
  EXPECT_EQ(refused_config(R"({"rootfs":{"diff_ids":[""]}})").code(), Errc::bad_response);
  EXPECT_EQ(refused_config(R"({"rootfs":{"diff_ids":[7]}})").code(), Errc::bad_response);
  std::string many = "\"" + digest_text('1') + "\"";
  for (std::size_t i = 0; i < max_layers; ++i) many += ",\"" + digest_text('1') + "\"";
  EXPECT_EQ(refused_config(R"({"rootfs":{"diff_ids":[)" + many + "]}}").code(), Errc::invalid_image);
}

TEST(ImageConfig, RefusesWhatIsNotStrictJson) {
  EXPECT_EQ(refused_config("").code(), Errc::bad_response);
  EXPECT_EQ(refused_config("[]").code(), Errc::bad_response);
  EXPECT_EQ(refused_config(R"({"os":"linux","os":"windows"})").code(), Errc::bad_response);
  EXPECT_EQ(refused_config("{}" + std::string(max_config_bytes, ' ')).code(), Errc::invalid_image);
}

/// An index with one entry for each platform; "" is an entry without one. Sizes tell them apart.
Index index_of(const std::vector<std::string>& platforms) {
  Index index;
  for (const auto& text : platforms) {
    Descriptor entry;
    entry.media_type = oci;
    entry.digest = digest_of('1');
    entry.size = index.manifests.size();
    if (!text.empty()) entry.platform = Platform::parse(text);
    index.manifests.push_back(std::move(entry));
  }
  return index;
}

std::vector<std::uint64_t> chosen(const Index& index, const PlatformMatcher& matcher, std::size_t limit = 0) {
  std::vector<std::uint64_t> positions;
  for (const auto& entry : choose_manifests(index, matcher, limit)) positions.push_back(entry.size);
  return positions;
}

using Positions = std::vector<std::uint64_t>;

TEST(ChooseManifests, PutsTheBestMatchFirst) {
  const auto index = index_of({"linux/386", "linux/arm64", "linux/amd64/v2", "linux/amd64", "windows/amd64"});
  const auto v3 = PlatformMatcher::only(Platform::parse("linux/amd64/v3"));
  EXPECT_EQ(chosen(index, v3), (Positions{2, 3, 0}));
  EXPECT_EQ(chosen(index, v3, 1), (Positions{2}));
  EXPECT_EQ(chosen(index, PlatformMatcher::only(Platform::parse("linux/amd64")), 1), (Positions{3}));
  EXPECT_EQ(chosen(index, PlatformMatcher::only(Platform::parse("linux/s390x"))), Positions{});
}

TEST(ChooseManifests, KeepsTheOrderOfTheIndexAmongEquals) {
  const auto index = index_of({"linux/386", "linux/amd64", "linux/386", "linux/amd64", "linux/amd64"});
  EXPECT_EQ(chosen(index, PlatformMatcher::only(Platform::parse("linux/amd64"))), (Positions{1, 3, 4, 0, 2}));
}

TEST(ChooseManifests, EntriesWithoutAPlatformMatchButComeLast) {
  const auto index = index_of({"", "linux/386", "", "linux/amd64", "linux/arm64"});
  const auto amd64 = PlatformMatcher::only(Platform::parse("linux/amd64"));
  EXPECT_EQ(chosen(index, amd64), (Positions{3, 1, 0, 2}));
  EXPECT_EQ(chosen(index, amd64, 3), (Positions{3, 1, 0}));
  EXPECT_EQ(chosen(index, PlatformMatcher::only(Platform::parse("linux/s390x")), 1), (Positions{0}));
}

TEST(ChooseManifests, AllKeepsEverything) {
  EXPECT_EQ(chosen(index_of({"plan9/mips", "", "linux/amd64"}), PlatformMatcher::all()),
            (Positions{0, 2, 1}));
}

TEST(ChooseManifests, AnyFollowsTheCallersOrder) {
  const auto matcher = PlatformMatcher::any({Platform::parse("linux/s390x"), Platform::parse("linux/amd64")});
  EXPECT_EQ(chosen(index_of({"linux/amd64", "linux/386", "linux/s390x"}), matcher), (Positions{2, 0}));
}

}  // namespace
}  // namespace lazypull
