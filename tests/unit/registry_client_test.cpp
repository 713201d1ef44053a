#include "transport/registry_client.hpp"

#include "tests/support/registry_fixture.hpp"
#include "transport/blob_reader.hpp"

#include <gtest/gtest.h>

namespace lazypull {
namespace {

using test::HeaderList;
using test::ScriptedRequest;
using test::ScriptedResponse;
using test::ScriptedServer;

const std::string manifest_body = R"({"schemaVersion": 2, "config": {}, "layers": []})";
const std::string oci_manifest(media_type::oci_manifest);

class Resolve : public test::RegistryFixture {
 protected:
  static Digest digest() { return Digest::sha256_of(std::string_view(manifest_body)); }
  static ScriptedResponse manifest(HeaderList headers) {
    return ScriptedResponse(200, manifest_body, std::move(headers));
  }
  static ScriptedResponse complete() {
    return manifest({{"Content-Type", oci_manifest}, {"Docker-Content-Digest", digest().str()}});
  }
};

TEST_F(Resolve, NeedsOneHeadRequest) {
  server.on("HEAD /v2/app/manifests/1", complete());
  const auto descriptor = resolved(reference());
  EXPECT_EQ(descriptor.digest, digest());
  EXPECT_EQ(descriptor.size, manifest_body.size());
  EXPECT_EQ(descriptor.media_type, oci_manifest);
  ASSERT_EQ(server.requests().size(), 1U);
  const auto accept = server.requests()[0].header("Accept");
  for (const auto type : {media_type::oci_manifest, media_type::oci_index, media_type::docker_manifest,
                          media_type::docker_index}) {
    EXPECT_NE(accept.find(type), std::string::npos) << type;
  }
  EXPECT_TRUE(accept.ends_with(", */*"));
}

TEST_F(Resolve, AsksForTheDigestOfAReferenceThatHasOne) {
  server.on("HEAD /v2/team/app/manifests/" + digest().str(), complete());
  EXPECT_EQ(resolved(reference("team/app:1@" + digest().str())).digest, digest());
}

TEST_F(Resolve, RefusesAnotherDigestThanTheReferenceHas) {
  const auto wanted = Digest::sha256_of(std::string_view("other"));
  server.on("HEAD /v2/app/manifests/" + wanted.str(), complete());
  const auto error = resolve_error(reference("app@" + wanted.str()));
  EXPECT_EQ(error.code(), Errc::digest_mismatch);
  EXPECT_EQ(error.message(), "HEAD " + server.url() + "/v2/app/manifests/" + wanted.str() +
                                 ": the manifest's digest is " + digest().str() +
                                 ", but the reference says " + wanted.str());
}

TEST_F(Resolve, IgnoresParametersOfTheContentType) {
  server.on("HEAD /v2/app/manifests/1", manifest({{"Content-Type", oci_manifest + "; charset=utf-8"},
                                                  {"Docker-Content-Digest", digest().str()}}));
  EXPECT_EQ(resolved(reference()).media_type, oci_manifest);
}

TEST_F(Resolve, ReadsTheManifestWhereHeadIsRefused) {
  for (const int status : {400, 403, 405}) {
    ScriptedServer registry;
    registry.on("HEAD /v2/app/manifests/1", ScriptedResponse(status));
    registry.on("GET /v2/app/manifests/1", manifest({{"Content-Type", oci_manifest}}));
    const auto descriptor = resolved(Reference::parse(registry.host() + "/app:1"));
    EXPECT_EQ(descriptor.digest, digest()) << status;
    EXPECT_EQ(descriptor.size, manifest_body.size()) << status;
  }
}

TEST_F(Resolve, ReadsTheManifestWhereHeadDoesNotSayEnough) {
  auto without_length = complete();
  without_length.without_length = true;
  const auto no_digest = manifest({{"Content-Type", oci_manifest}});
  const auto bad_digest = manifest({{"Content-Type", oci_manifest}, {"Docker-Content-Digest", "sha256:xyz"}});
  const auto no_type = manifest({{"Docker-Content-Digest", digest().str()}});
  for (const auto& head : {without_length, no_digest, bad_digest, no_type}) {
    ScriptedServer registry;
    registry.on("HEAD /v2/app/manifests/1", head);
    registry.on("GET /v2/app/manifests/1", complete());
    EXPECT_EQ(resolved(Reference::parse(registry.host() + "/app:1")).digest, digest());
    EXPECT_EQ(registry.requests().size(), 2U);
  }
}

TEST_F(Resolve, ReadsTheManifestWhereTheDigestIsOfAnotherAlgorithm) {
  Hasher hasher("sha512");
  hasher.update(std::as_bytes(std::span(manifest_body)));
  const auto wanted = hasher.finish();
  server.on("HEAD /v2/app/manifests/" + wanted.str(), complete());
  server.on("GET /v2/app/manifests/" + wanted.str(), complete());
  EXPECT_EQ(resolved(reference("app@" + wanted.str())).digest, wanted);
}

TEST_F(Resolve, ChecksTheDigestOfAManifestThatItReads) {
  const auto other = Digest::sha256_of(std::string_view("other"));
  server.on("HEAD /v2/app/manifests/1", ScriptedResponse(405));
  server.on("GET /v2/app/manifests/1",
            manifest({{"Content-Type", oci_manifest}, {"Docker-Content-Digest", other.str()}}));
  const auto error = resolve_error(reference());
  EXPECT_EQ(error.code(), Errc::digest_mismatch);
  EXPECT_EQ(error.message(), "GET " + server.url() + "/v2/app/manifests/1: the manifest's digest is " +
                                 digest().str() + ", but the registry says " + other.str());
}

TEST_F(Resolve, LooksIntoAManifestThatHasNoTypeOfItsOwn) {
  const std::vector<std::pair<std::string, std::string_view>> bodies = {
      {manifest_body, media_type::oci_manifest},
      {R"({"schemaVersion": 2, "manifests": []})", media_type::oci_index},
      {R"({"mediaType": "application/vnd.docker.distribution.manifest.list.v2+json"})",
       media_type::docker_index}};
  for (const auto& [body, type] : bodies) {
    ScriptedServer registry;
    registry.on("HEAD /v2/app/manifests/1",
                ScriptedResponse(200, body, {{"Content-Type", "application/json"}}));
    registry.on("GET /v2/app/manifests/1",
                ScriptedResponse(200, body, {{"Content-Type", "application/json"}}));
    EXPECT_EQ(resolved(Reference::parse(registry.host() + "/app:1")).media_type, type);
  }
}

TEST_F(Resolve, RefusesWhatIsNoManifest) {
  server.on("HEAD /v2/app/manifests/1", ScriptedResponse(200, "<html>", {{"Content-Type", "text/html"}}));
  server.on("GET /v2/app/manifests/1", ScriptedResponse(200, "<html>", {{"Content-Type", "text/html"}}));
  const auto error = resolve_error(reference());
  EXPECT_EQ(error.code(), Errc::unsupported);
  EXPECT_EQ(error.message(),
            "GET " + server.url() + "/v2/app/manifests/1: \"text/html\" is no image manifest or index");
}

TEST_F(Resolve, RefusesSchema1) {
  for (const auto type : {media_type::docker_schema1, media_type::docker_schema1_signed}) {
    ScriptedServer registry;
    registry.on("HEAD /v2/app/manifests/1",
                manifest({{"Content-Type", std::string(type)}, {"Docker-Content-Digest", digest().str()}}));
    EXPECT_EQ(resolve_error(Reference::parse(registry.host() + "/app:1")).code(), Errc::unsupported);
  }
  server.on("HEAD /v2/app/manifests/1", ScriptedResponse(405));
  server.on("GET /v2/app/manifests/1", ScriptedResponse(200, R"({"schemaVersion": 1})"));
  EXPECT_EQ(resolve_error(reference()).code(), Errc::unsupported);
}

TEST_F(Resolve, RefusesAManifestThatIsTooLarge) {
  auto large = complete();
  large.claimed_length = max_manifest_bytes + 1;
  server.on("HEAD /v2/app/manifests/1", large);
  EXPECT_EQ(resolve_error(reference()).code(), Errc::invalid_image);
  server.on("HEAD /v2/app/manifests/2", ScriptedResponse(405));
  server.on("GET /v2/app/manifests/2", large);
  EXPECT_EQ(resolve_error(reference("app:2")).code(), Errc::invalid_image);
}

TEST_F(Resolve, BoundsAManifestWhoseLengthIsNotAnnounced) {
  options.manifest_limit = 1000;
  ScriptedResponse endless(200, std::string(1001, ' '));
  endless.chunked = true;
  server.on("HEAD /v2/app/manifests/1", ScriptedResponse(405));
  server.on("GET /v2/app/manifests/1", endless);
  EXPECT_EQ(resolve_error(reference()).code(), Errc::bad_response);
}

TEST_F(Resolve, SaysThatThereIsNoSuchManifest) {
  server.on("HEAD /v2/app/manifests/1", ScriptedResponse(404));
  const auto error = resolve_error(reference());
  EXPECT_EQ(error.code(), Errc::not_found);
  EXPECT_EQ(error.message(), "HEAD " + server.url() + "/v2/app/manifests/1: 404 Not Found");
  EXPECT_EQ(server.requests().size(), 1U);
}

TEST_F(Resolve, SaysWhyItIsForbidden) {
  const std::string body =
      R"({"errors": [{"code": "DENIED", "message": "requested access\r\n\u001b[31m is denied"}]})";
  server.on("HEAD /v2/app/manifests/1", ScriptedResponse(403));
  server.on("GET /v2/app/manifests/1", ScriptedResponse(403, body));
  const auto error = resolve_error(reference());
  EXPECT_EQ(error.code(), Errc::forbidden);
  EXPECT_EQ(error.message(),
            "GET " + server.url() +
                "/v2/app/manifests/1: 403 Forbidden: DENIED: requested access   [31m is denied");
}

TEST_F(Resolve, CanBeCancelled) {
  ScriptedResponse stalls;
  stalls.stall = true;
  server.on("HEAD /v2/app/manifests/1", stalls);
  const auto arrived = [&] { return !server.requests().empty(); };
  EXPECT_EQ(test::error_after_cancel(home, test::resolve(client(), reference()), arrived).code(),
            Errc::cancelled);
}

class Fetch : public test::RegistryFixture {
 protected:
  static std::string content(std::size_t size) {
    std::string text;
    while (text.size() < size) text += std::to_string(text.size()) + ",";
    text.resize(size);
    return text;
  }
};

TEST_F(Fetch, ReadsABlob) {
  const auto bytes = content(1000000);
  const auto layer = blob(bytes);
  server.on(blob_key(layer), ScriptedResponse(200, bytes));
  EXPECT_EQ(fetched(layer), bytes);
  const auto request = server.requests().at(0);
  EXPECT_EQ(request.header("Accept-Encoding"), "identity");
  EXPECT_FALSE(request.has_header("Range"));
}

TEST_F(Fetch, ReadsManifestsFromTheirOwnEndpoint) {
  for (const auto type : {media_type::oci_manifest, media_type::oci_index, media_type::docker_manifest,
                          media_type::docker_index}) {
    auto descriptor = blob(manifest_body);
    descriptor.media_type = type;
    server.on("GET /v2/app/manifests/" + descriptor.digest.str(), ScriptedResponse(200, manifest_body));
    EXPECT_EQ(fetched(descriptor), manifest_body);
    EXPECT_EQ(server.requests().back().header("Accept"), std::string(type) + ", */*");
  }
}

TEST_F(Fetch, ReadsABlobOfUnannouncedLength) {
  const auto bytes = content(300000);
  const auto layer = blob(bytes);
  ScriptedResponse chunked(200, bytes);
  chunked.chunked = true;
  ScriptedResponse until_close(200, bytes);
  until_close.without_length = true;
  server.on(blob_key(layer), chunked);
  server.on(blob_key(layer), until_close);
  EXPECT_EQ(fetched(layer), bytes);
  EXPECT_EQ(fetched(layer), bytes);
}

TEST_F(Fetch, UsesOneConnectionForOneAfterTheOther) {
  const auto layer = blob("hello");
  server.on(blob_key(layer), ScriptedResponse(200, "hello"));
  for (int i = 0; i < 3; ++i) fetched(layer);
  EXPECT_EQ(server.connections(), 1U);
}

TEST_F(Fetch, StartsAtAnOffset) {
  const auto layer = blob("0123456789");
  server.on(blob_key(layer), ScriptedResponse(206, "456789", {{"Content-Range", "bytes 4-9/10"}}));
  EXPECT_EQ(fetched(layer, 4), "456789");
  EXPECT_EQ(server.requests().at(0).header("Range"), "bytes=4-");
}

TEST_F(Fetch, SkipsWhatAServerSendsThatIgnoresRanges) {
  const auto bytes = content(700000);
  const auto layer = blob(bytes);
  server.on(blob_key(layer), ScriptedResponse(200, bytes));
  EXPECT_EQ(fetched(layer, 600001), bytes.substr(600001));
}

TEST_F(Fetch, HasNothingToReadAtTheEnd) {
  EXPECT_EQ(fetched(blob("hello"), 5), "");
  EXPECT_TRUE(server.requests().empty());
}

TEST_F(Fetch, RefusesAnOffsetBeyondTheEnd) {
  EXPECT_EQ(fetch_error(blob("hello"), 6).code(), Errc::invalid_argument);
}

TEST_F(Fetch, RefusesAnotherRangeThanItAskedFor) {
  const auto layer = blob("0123456789");
  for (const auto* range : {"bytes 0-9/10", "bytes 4-8/10", "bytes 9-4/10", "bytes x", "items 4-9/10"}) {
    ScriptedServer registry;
    registry.on(blob_key(layer), ScriptedResponse(206, "456789", {{"Content-Range", range}}));
    const auto where = Reference::parse(registry.host() + "/app:1");
    EXPECT_EQ(test::error_of(home, test::fetch(client(), where, layer, 4)).code(), Errc::bad_response)
        << range;
  }
}

TEST_F(Fetch, NoticesAnotherSizeInTheHead) {
  const auto layer = blob("0123456789");
  server.on(blob_key(layer), ScriptedResponse(200, "01234567890"));
  const auto longer = fetch_error(layer);
  EXPECT_EQ(longer.code(), Errc::size_mismatch);
  EXPECT_EQ(longer.message(), "GET " + server.url() + "/v2/app/blobs/" + layer.digest.str() +
                                  ": the server sends 11 bytes, but its descriptor says 10 bytes");
  ScriptedServer shorter;
  shorter.on(blob_key(layer), ScriptedResponse(206, "45678", {{"Content-Range", "bytes 4-8/9"}}));
  const auto where = Reference::parse(shorter.host() + "/app:1");
  EXPECT_EQ(test::error_of(home, test::fetch(client(), where, layer, 4)).code(), Errc::size_mismatch);
  ScriptedServer much_shorter;
  much_shorter.on(blob_key(layer), ScriptedResponse(416, "", {{"Content-Range", "bytes */3"}}));
  const auto there = Reference::parse(much_shorter.host() + "/app:1");
  EXPECT_EQ(test::error_of(home, test::fetch(client(), there, layer, 4)).code(), Errc::size_mismatch);
}

TEST_F(Fetch, NoticesAnotherSizeInTheBody) {
  const auto layer = blob("0123456789");
  ScriptedResponse longer(200, "01234567890");
  longer.chunked = true;
  ScriptedResponse shorter(200, "012345678");
  shorter.chunked = true;
  server.on(blob_key(layer), longer);
  server.on(blob_key(layer), shorter);
  EXPECT_EQ(fetch_error(layer).code(), Errc::size_mismatch);
  const auto error = fetch_error(layer);
  EXPECT_EQ(error.code(), Errc::bad_response);
  EXPECT_EQ(error.message(), "GET " + server.url() + "/v2/app/blobs/" + layer.digest.str() +
                                 ": the body ended after 9 of 10 bytes");
}

TEST_F(Fetch, SaysHowMuchCameBeforeTheConnectionWasLost) {
  const auto layer = blob("0123456789");
  ScriptedResponse cut(200, "0123456789");
  cut.cut_after = 3;
  server.on(blob_key(layer), cut);
  const auto error = fetch_error(layer);
  EXPECT_EQ(error.code(), Errc::bad_response);
  EXPECT_EQ(error.message(), "GET " + server.url() + "/v2/app/blobs/" + layer.digest.str() +
                                 ": connection closed after 3 of 10 bytes");
}

TEST_F(Fetch, GivesUpOnABodyThatStops) {
  const auto layer = blob("0123456789");
  ScriptedResponse stalls(200, "0123456789");
  stalls.stall_after = 3;
  server.on(blob_key(layer), stalls);
  options.http.progress_timeout = std::chrono::milliseconds(100);
  EXPECT_EQ(fetch_error(layer).code(), Errc::timed_out);
}

TEST_F(Fetch, RefusesAnEncodingThatItDidNotAskFor) {
  const auto layer = blob("0123456789");
  server.on(blob_key(layer), ScriptedResponse(200, "0123456789", {{"Content-Encoding", "gzip"}}));
  EXPECT_EQ(fetch_error(layer).code(), Errc::bad_response);
}

TEST_F(Fetch, TakesInlineDataWithoutARequest) {
  auto layer = blob("0123456789");
  layer.data = "0123456789";
  EXPECT_EQ(fetched(layer), "0123456789");
  EXPECT_EQ(fetched(layer, 7), "789");
  EXPECT_TRUE(server.requests().empty());
}

TEST_F(Fetch, IgnoresInlineDataOfAnotherLength) {
  auto layer = blob("0123456789");
  layer.data = "012";
  server.on(blob_key(layer), ScriptedResponse(200, "0123456789"));
  EXPECT_EQ(fetched(layer), "0123456789");
}

TEST_F(Fetch, SaysWhyABlobIsNotServed) {
  const auto layer = blob("hello");
  server.on(blob_key(layer),
            ScriptedResponse(
                404, R"({"errors": [{"code": "BLOB_UNKNOWN", "message": "blob unknown to registry"}]})"));
  const auto error = fetch_error(layer);
  EXPECT_EQ(error.code(), Errc::not_found);
  EXPECT_EQ(error.message(), "GET " + server.url() + "/v2/app/blobs/" + layer.digest.str() +
                                 ": 404 Not Found: BLOB_UNKNOWN: blob unknown to registry");
}

TEST_F(Fetch, ReadsAForeignLayerFromItsOwnUrls) {
  ScriptedServer elsewhere;
  auto layer = blob("hello");
  layer.media_type = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
  layer.urls = {"ftp://nowhere.example.com/x", elsewhere.url() + "/gone", elsewhere.url() + "/layer"};
  elsewhere.on("GET /layer", ScriptedResponse(200, "hello"));
  options.user = Credentials{"user", "password", {}, {}};
  EXPECT_EQ(fetched(layer), "hello");
  EXPECT_TRUE(server.requests().empty());
  for (const auto& request : elsewhere.requests()) EXPECT_FALSE(request.has_header("Authorization"));
}

TEST_F(Fetch, SendsNoCredentialsToAForeignUrlThatAsksForThem) {
  ScriptedServer elsewhere;
  auto layer = blob("hello");
  layer.media_type = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
  layer.urls = {elsewhere.url() + "/layer"};
  elsewhere.on("GET /layer", ScriptedResponse(401, "", {{"WWW-Authenticate", "Basic realm=x"}}));
  server.on(blob_key(layer), ScriptedResponse(200, "hello"));
  options.user = Credentials{"user", "password", {}, {}};
  EXPECT_EQ(fetched(layer), "hello");
  EXPECT_EQ(elsewhere.requests().size(), 1U);
}

TEST_F(Fetch, TellsOfTheUrlsOfAForeignLayerThatNobodyHas) {
  ScriptedServer elsewhere;
  auto layer = blob("hello");
  layer.media_type = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
  layer.urls = {elsewhere.url() + "/gone"};
  const auto error = fetch_error(layer);
  EXPECT_EQ(error.code(), Errc::not_found);
  EXPECT_NE(error.message().find("before that: GET " + elsewhere.url() + "/gone: 404 Not Found"),
            std::string::npos)
      << error.message();
}

TEST_F(Fetch, CanBeCancelledInTheMiddle) {
  const auto layer = blob("0123456789");
  ScriptedResponse stalls(200, "0123456789");
  stalls.stall_after = 3;
  server.on(blob_key(layer), stalls);
  const auto arrived = [&] { return !server.requests().empty(); };
  const auto error = test::error_after_cancel(home, test::fetch(client(), reference(), layer), arrived);
  EXPECT_EQ(error.code(), Errc::cancelled);
}

TEST(RegistryOrigin, IsPlainOnThisHostUnlessTlsIsAskedFor) {
  const auto origin = [](const char* text, const RegistryOptions& options) {
    return registry_origin(Reference::parse(text), options).str();
  };
  RegistryOptions options;
  EXPECT_EQ(origin("localhost:5000/app", options), "http://localhost:5000");
  EXPECT_EQ(origin("127.0.0.1:5000/app", options), "http://127.0.0.1:5000");
  EXPECT_EQ(origin("localhost:443/app", options), "https://localhost");
  EXPECT_EQ(origin("registry.example.com/app", options), "https://registry.example.com");
  EXPECT_EQ(origin("registry.example.com:5000/app", options), "https://registry.example.com:5000");
  EXPECT_EQ(origin("alpine", options), "https://registry-1.docker.io");
  options.http.tls.skip_verify = true;
  EXPECT_EQ(origin("localhost:5000/app", options), "https://localhost:5000");
  options.plain_http = true;
  EXPECT_EQ(origin("registry.example.com/app", options), "http://registry.example.com");
  EXPECT_EQ(origin("localhost:5000/app", options), "http://localhost:5000");
}

}  // namespace
}  // namespace lazypull
