// layer.json of a storage of remote layers: what is understood and, mostly, what is not.

#include "snapshot/remote/layer_record.hpp"

#include "engine/error.hpp"
#include "tests/support/store_fixture.hpp"

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace lazypull::test {
namespace {

namespace json = boost::json;
using testing::HasSubstr;

const Digest blob = Digest::sha256_of("blob");

LayerRecord directory_record() {
  LayerRecord record;
  record.digest = blob;
  record.diff_id = Digest::sha256_of("tar");
  record.size = 123;
  record.tree_digest = Digest::sha256_of("tree");
  return record;
}

LayerRecord image_record(LayerFormat format) {
  LayerRecord record = directory_record();
  record.tree_digest.reset();
  record.format = format;
  record.image_size = 4096;
  record.image_digest = Digest::sha256_of("image");
  return record;
}

LayerRecord again(const LayerRecord& record) {
  return parse_layer_record(layer_record_text(record), blob, "layer.json");
}

TEST(LayerRecord, IsReadAsItWasWritten) {
  EXPECT_EQ(again(directory_record()), directory_record());
  EXPECT_EQ(again(image_record(LayerFormat::erofs)), image_record(LayerFormat::erofs));
  EXPECT_EQ(again(image_record(LayerFormat::squashfs)), image_record(LayerFormat::squashfs));
}

TEST(LayerRecord, KeepsAttributesAndWhatIsBelow) {
  auto record = directory_record();
  record.attributes = {{.path = ".", .name = "trusted.overlay.opaque"}, {.path = "bin/a", .name = "user.x"}};
  record.below = Digest::sha256_of("chain");
  EXPECT_EQ(again(record), record);
  record.below = Digest();
  EXPECT_EQ(again(record), record) << "made for no layer below";
}

TEST(LayerRecord, IgnoresMembersThatItDoesNotKnow) {
  auto object = json::parse(layer_record_text(directory_record())).as_object();
  object["publisher"] = "somebody";
  EXPECT_EQ(parse_layer_record(json::serialize(object), blob, "layer.json"), directory_record());
}

struct Bad {
  const char* name;
  std::function<void(json::object&)> damage;
  Errc failure = Errc::bad_response;
  LayerFormat format = LayerFormat::directory;
};

void PrintTo(const Bad& bad, std::ostream* out) {
  *out << bad.name;
}

class BadRecord : public ::testing::TestWithParam<Bad> {};

TEST_P(BadRecord, IsRefused) {
  const auto& bad = GetParam();
  const auto good = bad.format == LayerFormat::directory ? directory_record() : image_record(bad.format);
  auto object = json::parse(layer_record_text(good)).as_object();
  bad.damage(object);
  EXPECT_EQ(failure_of([&] { parse_layer_record(json::serialize(object), blob, "layer.json"); }),
            bad.failure);
}

std::function<void(json::object&)> set(const char* key, json::value value) {
  return [=](json::object& object) { object[key] = value; };
}

std::function<void(json::object&)> drop(const char* key) {
  return [=](json::object& object) { object.erase(key); };
}

json::value attribute(const char* path, const char* name) {
  json::object entry{{"path", path}, {"name", name}};
  return json::array{entry};
}

INSTANTIATE_TEST_SUITE_P(
    All, BadRecord,
    ::testing::Values(
        Bad{"NoVersion", drop("version")}, Bad{"LaterVersion", set("version", 2), Errc::unsupported},
        Bad{"VersionZero", set("version", 0), Errc::unsupported}, Bad{"VersionAsText", set("version", "1")},
        Bad{"NoDigest", drop("digest")}, Bad{"DigestThatIsNone", set("digest", "sha256:12")},
        Bad{"DigestOfAnotherLayer", set("digest", Digest::sha256_of("other").str().c_str()),
            Errc::digest_mismatch},
        Bad{"NoDiffId", drop("diffID")}, Bad{"DiffIdInCapitals", set("diffID", "SHA256:AB")},
        Bad{"NoSize", drop("size")}, Bad{"NegativeSize", set("size", -1)},
        Bad{"BrokenSize", set("size", 1.5)}, Bad{"HugeSize", set("size", std::uint64_t{1} << 63U)},
        Bad{"NoFormat", drop("format")}, Bad{"UnknownFormat", set("format", "zip")},
        Bad{"FormatAsNumber", set("format", 1)}, Bad{"DirectoryWithoutTreeDigest", drop("treeDigest")},
        Bad{"DirectoryWithImageSize", set("imageSize", 1)},
        Bad{"DirectoryWithImageDigest", set("imageDigest", blob.str().c_str())},
        Bad{"ImageWithoutSize", drop("imageSize"), Errc::bad_response, LayerFormat::erofs},
        Bad{"ImageOfNoBytes", set("imageSize", 0), Errc::bad_response, LayerFormat::erofs},
        Bad{"ImageWithoutDigest", drop("imageDigest"), Errc::bad_response, LayerFormat::squashfs},
        Bad{"ImageWithTreeDigest", set("treeDigest", blob.str().c_str()), Errc::bad_response,
            LayerFormat::squashfs},
        Bad{"AttributesThatAreNoList", set("attributes", "user.x")},
        Bad{"AttributeOfAnAbsolutePath", set("attributes", attribute("/etc", "user.x"))},
        Bad{"AttributeOfNoPath", set("attributes", attribute("", "user.x"))},
        Bad{"AttributeWithoutName", set("attributes", attribute("etc", ""))},
        Bad{"TooManyAttributes", set("attributes", json::array(17, json::object())), Errc::invalid_image},
        Bad{"BelowThatIsNoDigest", set("below", "nothing")}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(LayerRecord, WhatIsNoObjectIsRefused) {
  for (const std::string text : {"", "{", "[]", "null", "{\"version\":1}x"}) {
    EXPECT_EQ(failure_of([&] { parse_layer_record(text, blob, "layer.json"); }), Errc::bad_response) << text;
  }
}

TEST(LayerRecord, DuplicateKeysAreRefused) {
  auto text = layer_record_text(directory_record());
  text.insert(1, "\"size\":7,");
  EXPECT_EQ(failure_of([&] { parse_layer_record(text, blob, "layer.json"); }), Errc::bad_response);
}

TEST(LayerRecord, ALongOneIsRefusedUnread) {
  const std::string text(max_layer_record_bytes + 1, ' ');
  EXPECT_EQ(failure_of([&] { parse_layer_record(text, blob, "layer.json"); }), Errc::invalid_image);
}

TEST(LayerRecord, AnErrorNamesFileAndMember) {
  try {
    parse_layer_record("{\"version\":1}", blob, "/storage/layer.json");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), HasSubstr("/storage/layer.json.digest"));
  }
}

}  // namespace
}  // namespace lazypull::test
