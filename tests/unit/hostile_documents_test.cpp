// Manifests, indexes and configs that are made to do harm, and the error that each must give.
#include "engine/error.hpp"
#include "engine/json_reader.hpp"
#include "engine/manifest.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace lazypull {
namespace {

using testing::StartsWith;

const std::string digest = "sha256:" + std::string(64, 'a');

std::string descriptor(const std::string& type, const std::string& members = {}) {
  return R"({"mediaType":")" + type + R"(","digest":")" + digest + R"(","size":7)" + members + "}";
}

const std::string layer_type = "application/vnd.oci.image.layer.v1.tar+gzip";
const std::string config = descriptor("application/vnd.oci.image.config.v1+json");

std::string manifest(const std::string& layers, const std::string& members = {}) {
  return R"({"schemaVersion":2,)" + members + R"("config":)" + config + R"(,"layers":[)" + layers + "]}";
}

Error refusal_of(const std::function<void()>& parse) {
  try {
    parse();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "accepted";
  return {Errc::internal, ""};
}

void expect_refused(const std::string& text, Errc code, const std::string& message) {
  const auto error = refusal_of([&] { Manifest::parse(text, media_type::oci_manifest); });
  EXPECT_EQ(error.code(), code) << error.message();
  EXPECT_THAT(error.message(), StartsWith(message));
}

std::string repeated(const std::string& element, std::size_t count) {
  std::string list;
  for (std::size_t i = 0; i < count; ++i) list += (i == 0 ? "" : ",") + element;
  return list;
}

TEST(HostileDocument, ADuplicateKeyIsRefusedSinceReadersDifferInWhichTheyTake) {
  expect_refused(manifest("", R"("layers":[{}],)"), Errc::bad_response,
                 "manifest: a key occurs twice in one object");
  expect_refused(manifest("", R"("l\u0061yers":[{}],)"), Errc::bad_response,
                 "manifest: a key occurs twice in one object");
}

TEST(HostileDocument, BothAManifestAndAnIndexIsRefused) {
  expect_refused(manifest("", R"("manifests":[],)"), Errc::bad_response,
                 "manifest.manifests: it must not be in a document of type");
}

TEST(HostileDocument, OfAnotherTypeThanItWasReferredToAsIsRefused) {
  expect_refused(manifest("", R"("mediaType":"application/vnd.oci.image.index.v1+json",)"),
                 Errc::bad_response,
                 "manifest.mediaType: application/vnd.oci.image.index.v1+json contradicts");
}

TEST(HostileDocument, DeepNestingIsRefused) {
  expect_refused(std::string(1'000'000, '['), Errc::bad_response, "manifest: it is not valid JSON: ");
  expect_refused(manifest("", R"("x":)" + std::string(100, '[') + std::string(100, ']') + ","),
                 Errc::bad_response, "manifest: it is not valid JSON: ");
}

TEST(HostileDocument, InvalidUtf8IsRefused) {
  for (const auto* bytes : {"\xff", "\xc3\x28", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xc0\xaf"}) {
    expect_refused(manifest("", "\"a\":\"" + std::string(bytes) + "\","), Errc::bad_response,
                   "manifest: it is not valid JSON: ");
  }
}

TEST(HostileDocument, TooManyLayersAreRefused) {
  expect_refused(manifest(repeated(descriptor(layer_type), max_layers + 1)), Errc::invalid_image,
                 "manifest.layers: it has more than 1000 elements");
}

TEST(HostileDocument, TooManyValuesAreRefused) {
  expect_refused(manifest("", R"("x":[)" + repeated("0", 300'000) + "],"), Errc::invalid_image,
                 "manifest: it has too many values");
}

TEST(HostileDocument, TooManyBytesAreRefused) {
  expect_refused(manifest("") + std::string(max_manifest_bytes, ' '), Errc::invalid_image,
                 "manifest: it is longer than 4194304 bytes");
}

TEST(HostileDocument, TooManyUrlsOrOnesThatAreNoneAreRefused) {
  expect_refused(manifest(descriptor(layer_type, R"(,"urls":[)" + repeated(R"("http://h/")", 65) + "]")),
                 Errc::invalid_image, "manifest.layers[0].urls: it has more than 64 elements");
  expect_refused(manifest(descriptor(layer_type, R"(,"urls":["http://h/ HTTP/1.1\r\nX: y"])")),
                 Errc::bad_response, "manifest.layers[0].urls: one of them is not a URL");
}

TEST(HostileDocument, SizesThatOverflowAreRefused) {
  for (const auto* size : {"-1", "9223372036854775808", "1e3", "1.5", "\"7\""}) {
    const auto layer = R"({"mediaType":")" + layer_type + R"(","digest":")" + digest + R"(","size":)" +
                       std::string(size) + "}";
    expect_refused(manifest(layer), Errc::bad_response,
                   "manifest.layers[0].size: it is not an integer from 0 to 2^63-1");
  }
  const auto huge =
      R"({"mediaType":")" + layer_type + R"(","digest":")" + digest + R"(","size":9223372036854775807})";
  expect_refused(manifest(huge + "," + huge), Errc::invalid_image,
                 "manifest: its sizes add up to 2^63 or more");
}

TEST(HostileDocument, ADigestThatIsAPathIsRefused) {
  for (const auto* text : {"sha256:../../../../etc/passwd", "../x", "sha256:", "sha1:0123456789"}) {
    const auto layer = R"({"mediaType":")" + layer_type + R"(","digest":")" + text + R"(","size":7})";
    expect_refused(manifest(layer), Errc::bad_response,
                   "manifest.layers[0].digest: it is not a sha256 or sha512 digest");
  }
}

TEST(HostileDocument, AnIndexOfTooManyEntriesIsRefused) {
  const auto text = R"({"schemaVersion":2,"manifests":[)" +
                    repeated(descriptor(std::string(media_type::oci_manifest)), max_index_entries + 1) + "]}";
  const auto error = refusal_of([&] { Index::parse(text, media_type::oci_index); });
  EXPECT_EQ(error.code(), Errc::invalid_image);
  EXPECT_EQ(error.message(), "index.manifests: it has more than 2000 elements");
}

TEST(HostileDocument, AConfigOfTooManyDiffIdsOrBytesIsRefused) {
  const auto list = repeated("\"" + digest + "\"", max_layers + 1);
  const auto error =
      refusal_of([&] { ImageConfig::parse(R"({"rootfs":{"type":"layers","diff_ids":[)" + list + "]}}"); });
  EXPECT_EQ(error.code(), Errc::invalid_image);
  EXPECT_EQ(error.message(), "config.rootfs.diff_ids: it has more than 1000 elements");
  const auto large = refusal_of([] { ImageConfig::parse("{}" + std::string(max_config_bytes, ' ')); });
  EXPECT_EQ(large.code(), Errc::invalid_image);
  EXPECT_EQ(large.message(), "config: it is longer than 8388608 bytes");
}

}  // namespace
}  // namespace lazypull
