// What a hostile registry, mirror or token service may answer over HTTP, and the error that each must give.
// Whole pulls are in tests/integration/hostile_registry_test.cpp.
#include "tests/support/registry_fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace lazypull {
namespace {

using std::chrono::milliseconds;
using test::HeaderList;
using test::ScriptedRequest;
using test::ScriptedResponse;
using test::ScriptedServer;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

const std::string content = "hello";

ScriptedResponse raw(std::string bytes) {
  ScriptedResponse response;
  response.raw = std::move(bytes);
  return response;
}

class Hostile : public test::RegistryFixture {
 protected:
  const Descriptor layer = blob(content);

  /// What the fetch of `layer` must end with where this is the answer.
  void expect_refused(const ScriptedResponse& response, Errc code, const std::string& why) {
    ScriptedServer registry;
    registry.on(blob_key(layer), response);
    const auto error =
        test::error_of(home, test::fetch(client(), Reference::parse(registry.host() + "/app:1"), layer));
    EXPECT_EQ(error.code(), code) << error.message();
    EXPECT_EQ(error.message(), "GET " + registry.url() + "/v2/app/blobs/" + layer.digest.str() + ": " + why);
  }
};

// ---- heads ----

using HostileHead = Hostile;

TEST_F(HostileHead, OfManyFieldsIsBounded) {
  std::string head = "HTTP/1.1 200 OK\r\n";
  for (int i = 0; i < 1000; ++i) head += "X-" + std::to_string(i) + ": " + std::string(100, 'a') + "\r\n";
  expect_refused(raw(head), Errc::bad_response, "the response's head is longer than 64 KiB");
}

TEST_F(HostileHead, OfOneLongFieldIsBounded) {
  expect_refused(raw("HTTP/1.1 200 OK\r\nX: " + std::string(200'000, 'a')), Errc::bad_response,
                 "the response's head is longer than 64 KiB");
}

TEST_F(HostileHead, AfterInterimResponsesWithoutEndIsNotWaitedFor) {
  std::string text;
  for (int i = 0; i < 12; ++i) text += "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n";
  expect_refused(raw(text), Errc::bad_response, "too many interim responses");
}

TEST_F(HostileHead, ThatChangesTheProtocolIsRefused) {
  expect_refused(raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), Errc::bad_response,
                 "unexpected 101 Switching Protocols");
}

TEST_F(HostileHead, WithTwoLengthsIsRefused) {
  expect_refused(raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
                 Errc::bad_response, "malformed HTTP response: multiple Content-Length");
}

TEST_F(HostileHead, WithALengthThatNoNumberHoldsIsRefused) {
  for (const auto* length : {"-5", "99999999999999999999999", "0x5", "5 5"}) {
    expect_refused(raw("HTTP/1.1 200 OK\r\nContent-Length: " + std::string(length) + "\r\n\r\nhello"),
                   Errc::bad_response, "malformed HTTP response: bad Content-Length");
  }
}

TEST_F(HostileHead, WithALengthAndChunksIsRefused) {
  expect_refused(raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: "
                     "chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
                 Errc::bad_response, "malformed HTTP response: bad Transfer-Encoding");
}

// ---- response splitting ----

using ResponseSplitting = Hostile;

TEST_F(ResponseSplitting, ABareLineBreakInAFieldIsRefused) {
  for (const auto* field : {"X: a\rSet: b", "X: a\nSet: b", "X: a\r\r\nSet: b"}) {
    ScriptedServer registry;
    registry.on(blob_key(layer),
                raw("HTTP/1.1 200 OK\r\n" + std::string(field) + "\r\nContent-Length: 5\r\n\r\nhello"));
    const auto error =
        test::error_of(home, test::fetch(client(), Reference::parse(registry.host() + "/app:1"), layer));
    EXPECT_EQ(error.code(), Errc::bad_response) << field;
    EXPECT_THAT(error.message(), HasSubstr(": malformed HTTP response: ")) << field;
  }
}

TEST_F(ResponseSplitting, WhatFollowsABodyIsNotTakenForTheNextResponse) {
  const auto other = blob("world");
  server.on(blob_key(layer), raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
                                 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwOrld"));
  server.on(blob_key(other), ScriptedResponse(200, "world"));
  EXPECT_EQ(fetched(layer), "hello");
  EXPECT_EQ(fetched(other), "world");
  EXPECT_EQ(server.requests(blob_key(other)).size(), 1U);
  EXPECT_EQ(server.connections(), 2U);
}

TEST_F(ResponseSplitting, OfARequestByWhatTheRegistrySaysIsRefused) {
  ScriptedServer tokens;
  server.on(blob_key(layer),
            ScriptedResponse(401, "", {{"WWW-Authenticate", "Bearer realm=\"" + tokens.url() + "/token\""}}));
  tokens.on("GET /token", ScriptedResponse(200, R"({"token": "good\r\nX-Injected: 1"})"));
  const auto error = fetch_error(layer);
  EXPECT_EQ(error.code(), Errc::bad_response);
  EXPECT_THAT(error.message(), EndsWith("/token: the token has characters that no token may have"));
  EXPECT_EQ(server.requests().size(), 1U);
}

TEST_F(ResponseSplitting, ByAServiceNameInAChallengeStaysInTheQuery) {
  ScriptedServer tokens;
  server.on(blob_key(layer),
            ScriptedResponse(401, "",
                             {{"WWW-Authenticate", "Bearer realm=\"" + tokens.url() +
                                                       "/token\",service=\"a b&scope=x HTTP/1.1\""}}));
  tokens.otherwise([](const ScriptedRequest&) { return ScriptedResponse(200, R"({"token": "good"})"); });
  fetch_error(layer);
  ASSERT_FALSE(tokens.requests().empty());
  EXPECT_EQ(tokens.requests()[0].target,
            "/token?service=a%20b%26scope%3Dx%20HTTP%2F1.1&scope=repository%3Aapp%3Apull");
}

// ---- bodies ----

using HostileBody = Hostile;

TEST_F(HostileBody, OfAManifestThatIsAnnouncedTooLargeIsNotRead) {
  const HeaderList type{{"Content-Type", std::string(media_type::oci_manifest)}};
  ScriptedResponse large(200, "", type);
  large.claimed_length = max_manifest_bytes + 1;
  server.on("HEAD /v2/app/manifests/1", ScriptedResponse(405));
  server.on("GET /v2/app/manifests/1", large);
  const auto error = resolve_error(reference());
  EXPECT_EQ(error.code(), Errc::invalid_image);
  EXPECT_EQ(error.message(),
            "GET " + server.url() +
                "/v2/app/manifests/1: the manifest has 4194305 bytes, more than the limit of 4194304");
}

TEST_F(HostileBody, OfAManifestWithoutEndIsBounded) {
  ScriptedResponse endless(200, std::string(6U << 20U, ' '),
                           {{"Content-Type", std::string(media_type::oci_manifest)}});
  endless.chunked = true;
  server.on("HEAD /v2/app/manifests/1", ScriptedResponse(405));
  server.on("GET /v2/app/manifests/1", endless);
  const auto error = resolve_error(reference());
  EXPECT_EQ(error.code(), Errc::bad_response);
  EXPECT_EQ(error.message(),
            "GET " + server.url() + "/v2/app/manifests/1: the response is longer than 4194304 bytes");
}

TEST_F(HostileBody, OfATokenWithoutEndIsBounded) {
  ScriptedServer tokens;
  server.on(blob_key(layer),
            ScriptedResponse(401, "", {{"WWW-Authenticate", "Bearer realm=\"" + tokens.url() + "/token\""}}));
  ScriptedResponse endless(200, std::string(2U << 20U, ' '));
  endless.chunked = true;
  tokens.on("GET /token", endless);
  const auto error = fetch_error(layer);
  EXPECT_EQ(error.code(), Errc::bad_response);
  EXPECT_THAT(error.message(), EndsWith("/token: the response is longer than 1048576 bytes"));
}

TEST_F(HostileBody, OfARefusalIsReadInPartAndShownWithoutControlCharacters) {
  const std::string terminal = "\\u001b[2J\\u0007\\u009b31m";
  server.on(blob_key(layer), ScriptedResponse(404, R"({"errors":[{"code":"X","message":")" + terminal +
                                                       std::string(1'000'000, 'z') + R"("}]})"));
  server.on("GET /v2/app/blobs/x", ScriptedResponse(404));
  const auto long_one = fetch_error(layer);
  EXPECT_EQ(long_one.code(), Errc::not_found);
  EXPECT_LT(long_one.message().size(), 2000U);
  ScriptedServer other;
  other.on(blob_key(layer),
           ScriptedResponse(404, R"({"errors":[{"code":"X","message":")" + terminal + R"("}]})"));
  const auto error =
      test::error_of(home, test::fetch(client(), Reference::parse(other.host() + "/app:1"), layer));
  EXPECT_THAT(error.message(), Not(HasSubstr("\x1b")));
  EXPECT_THAT(error.message(), Not(HasSubstr("\xc2\x9b")));
  EXPECT_THAT(error.message(), Not(HasSubstr("\x07")));
}

TEST_F(HostileBody, OfABlobIsNotReadBeyondItsDescriptor) {
  ScriptedResponse more(200, content + std::string(1'000'000, 'x'));
  more.chunked = true;
  expect_refused(more, Errc::size_mismatch, "the server sends more, but its descriptor says 5 bytes");
}

TEST_F(HostileBody, OfChunksWhoseSizeNoNumberHoldsIsRefused) {
  expect_refused(raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello"),
                 Errc::bad_response, "malformed chunked body: bad chunk");
}

TEST_F(HostileBody, InAnEncodingThatNobodyAskedForIsRefused) {
  expect_refused(ScriptedResponse(200, content, {{"Content-Encoding", "gzip"}}), Errc::bad_response,
                 "the blob comes with Content-Encoding gzip, which was not asked for");
}

// ---- redirects ----

using HostileRedirect = Hostile;

TEST_F(HostileRedirect, InACircleEndsAfterTen) {
  server.on(blob_key(layer),
            ScriptedResponse(307, "", {{"Location", "/v2/app/blobs/" + layer.digest.str()}}));
  const auto error = fetch_error(layer);
  EXPECT_EQ(error.code(), Errc::bad_response);
  EXPECT_THAT(error.message(), EndsWith(": more than 10 redirects"));
  EXPECT_EQ(server.requests().size(), 11U);
}

TEST_F(HostileRedirect, ToAFileIsRefused) {
  expect_refused(ScriptedResponse(307, "", {{"Location", "file:///etc/passwd"}}), Errc::bad_response,
                 "307 Temporary Redirect: URL \"file:///etc/passwd\": only http and https are supported");
}

TEST_F(HostileRedirect, ToAUrlThatIsTooLongIsRefused) {
  ScriptedServer registry;
  registry.on(blob_key(layer), ScriptedResponse(307, "", {{"Location", "/" + std::string(20'000, 'a')}}));
  const auto error =
      test::error_of(home, test::fetch(client(), Reference::parse(registry.host() + "/app:1"), layer));
  EXPECT_EQ(error.code(), Errc::bad_response);
  EXPECT_THAT(error.message(), EndsWith("\": it is too long"));
  EXPECT_LT(error.message().size(), 1000U);
}

TEST_F(HostileRedirect, WithCredentialsInItsUrlSendsAndShowsNone) {
  ScriptedServer elsewhere;
  server.on(
      blob_key(layer),
      ScriptedResponse(307, "", {{"Location", "http://user:secret@" + elsewhere.host() + "/x?sig=secret"}}));
  const auto error = fetch_error(layer);
  EXPECT_EQ(error.code(), Errc::not_found);
  EXPECT_THAT(error.message(), Not(HasSubstr("secret")));
  ASSERT_EQ(elsewhere.requests().size(), 1U);
  EXPECT_FALSE(elsewhere.requests()[0].has_header("Authorization"));
}

TEST_F(HostileRedirect, TakesNoCredentialsToAnotherPortOfTheSameHost) {
  ScriptedServer elsewhere;
  elsewhere.on("GET /x", ScriptedResponse(200, content));
  server.on(blob_key(layer), [&](const ScriptedRequest& request) {
    if (!request.has_header("Authorization"))
      return ScriptedResponse(401, "", {{"WWW-Authenticate", "Basic realm=x"}});
    return ScriptedResponse(307, "", {{"Location", elsewhere.url() + "/x"}});
  });
  options.user = Credentials{"user", "secret", {}, {}};
  EXPECT_EQ(fetched(layer), content);
  ASSERT_EQ(elsewhere.requests().size(), 1U);
  EXPECT_FALSE(elsewhere.requests()[0].has_header("Authorization"));
}

// ---- from https to http ----

class TlsDowngrade : public Hostile {
 protected:
  TlsDowngrade() { options.http.tls.skip_verify = true; }
  Error error_at(const ScriptedServer& registry) {
    return test::error_of(home, test::fetch(client(), Reference::parse(registry.host() + "/app:1"), layer));
  }
  ScriptedServer secure{test::make_identity({"127.0.0.1"})};
  ScriptedServer plain;
};

TEST_F(TlsDowngrade, ByARedirectIsRefused) {
  secure.on(blob_key(layer), ScriptedResponse(307, "", {{"Location", plain.url() + "/x"}}));
  const auto error = error_at(secure);
  EXPECT_EQ(error.code(), Errc::bad_response);
  EXPECT_THAT(error.message(), EndsWith("refusing to go from https to " + plain.url() + "/x"));
  EXPECT_TRUE(plain.requests().empty());
}

TEST_F(TlsDowngrade, ByTheSecondOfTwoRedirectsIsRefused) {
  secure.on(blob_key(layer), ScriptedResponse(307, "", {{"Location", "/a"}}));
  secure.on("GET /a", ScriptedResponse(302, "", {{"Location", plain.url() + "/x"}}));
  const auto error = error_at(secure);
  EXPECT_THAT(error.message(), EndsWith("refusing to go from https to " + plain.url() + "/x"));
  EXPECT_TRUE(plain.requests().empty());
}

TEST_F(TlsDowngrade, ByATokenServiceWithoutTlsIsRefusedBeforeItIsAsked) {
  secure.on(
      blob_key(layer),
      ScriptedResponse(401, "", {{"WWW-Authenticate", "Bearer realm=\"http://tokens.example.com/token\""}}));
  options.user = Credentials{"user", "secret", {}, {}};
  const auto error = error_at(secure);
  EXPECT_EQ(error.code(), Errc::unauthorized);
  EXPECT_THAT(
      error.message(),
      EndsWith("the token service http://tokens.example.com/token is not https, unlike the registry"));
}

TEST_F(TlsDowngrade, ByARedirectOfTheTokenServiceIsRefused) {
  ScriptedServer tokens{test::make_identity({"127.0.0.1"})};
  secure.on(blob_key(layer),
            ScriptedResponse(401, "", {{"WWW-Authenticate", "Bearer realm=\"" + tokens.url() + "/token\""}}));
  tokens.on("GET /token", ScriptedResponse(307, "", {{"Location", plain.url() + "/token"}}));
  const auto error = error_at(secure);
  EXPECT_EQ(error.code(), Errc::bad_response);
  EXPECT_THAT(error.message(), HasSubstr("refusing to go from https to " + plain.url() + "/token"));
  EXPECT_TRUE(plain.requests().empty());
}

// ---- credentials ----

using HostileChallenge = Hostile;

TEST_F(HostileChallenge, SendsAPasswordNowhereButToTheRealmOfTheRegistry) {
  ScriptedServer tokens;
  ScriptedServer thief;
  server.on(blob_key(layer),
            ScriptedResponse(401, "", {{"WWW-Authenticate", "Bearer realm=\"" + tokens.url() + "/token\""}}));
  const ScriptedResponse to_thief(307, "", {{"Location", thief.url() + "/token"}});
  tokens.on("POST /token", to_thief);
  tokens.on("GET /token", to_thief);
  thief.otherwise([](const ScriptedRequest&) { return ScriptedResponse(401); });
  options.user = Credentials{"user", "secret", {}, {}};
  const auto error = fetch_error(layer);
  EXPECT_EQ(error.code(), Errc::unauthorized);
  EXPECT_THAT(error.message(), Not(HasSubstr("secret")));
  for (const auto& request : thief.requests()) {
    EXPECT_FALSE(request.has_header("Authorization"));
    EXPECT_THAT(request.body, Not(HasSubstr("secret")));
  }
}

TEST_F(HostileChallenge, WithARealmThatIsNoHttpUrlIsRefused) {
  for (const auto* realm : {"file:///etc/passwd", "gopher://h/", "//h/x", "http://[::1", "javascript:1"}) {
    ScriptedServer registry;
    registry.on(
        blob_key(layer),
        ScriptedResponse(401, "", {{"WWW-Authenticate", "Bearer realm=\"" + std::string(realm) + "\""}}));
    const auto error =
        test::error_of(home, test::fetch(client(), Reference::parse(registry.host() + "/app:1"), layer));
    EXPECT_EQ(error.code(), Errc::unauthorized) << realm;
    EXPECT_THAT(error.message(), HasSubstr("401 Unauthorized: the Bearer challenge's realm: URL ")) << realm;
  }
}

TEST_F(HostileChallenge, ThatIsRepeatedForEveryTokenEndsAfterOneMore) {
  ScriptedServer tokens;
  server.on(blob_key(layer),
            ScriptedResponse(401, "", {{"WWW-Authenticate", "Bearer realm=\"" + tokens.url() + "/token\""}}));
  tokens.on("GET /token", ScriptedResponse(200, R"({"token": "good"})"));
  const auto error = fetch_error(layer);
  EXPECT_EQ(error.code(), Errc::unauthorized);
  EXPECT_THAT(error.message(), EndsWith("401 Unauthorized: the token was refused"));
  EXPECT_LE(tokens.requests().size(), 2U);
}

TEST_F(HostileChallenge, AsksForNoMoreScopesThanAreSensible) {
  ScriptedServer tokens;
  std::string scopes;
  for (int i = 0; i < 1000; ++i) scopes += "repository:r" + std::to_string(i) + ":pull ";
  server.on(blob_key(layer),
            ScriptedResponse(401, "",
                             {{"WWW-Authenticate", "Bearer realm=\"" + tokens.url() + "/token\",scope=\"" +
                                                       scopes.substr(0, 12'000) + "\""}}));
  tokens.otherwise([](const ScriptedRequest&) { return ScriptedResponse(401); });
  fetch_error(layer);
  ASSERT_FALSE(tokens.requests().empty());
  const auto target = tokens.requests()[0].target;
  std::size_t asked = 0;
  for (auto at = target.find("scope="); at != std::string::npos; at = target.find("scope=", at + 1)) ++asked;
  EXPECT_LE(asked, 32U);
}

// ---- digests ----

class DigestConfusion : public Hostile {
 protected:
  const std::string manifest =
      R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[]})";
  const std::string digest = Digest::sha256_of(std::string_view(manifest)).str();
  const std::string other = Digest::sha256_of(std::string_view("something else")).str();

  ScriptedResponse manifest_with(const std::string& announced) const {
    return ScriptedResponse(
        200, manifest,
        {{"Content-Type", std::string(media_type::oci_manifest)}, {"Docker-Content-Digest", announced}});
  }
};

TEST_F(DigestConfusion, AHeaderThatLiesAboutTheBodyIsRefused) {
  server.on("HEAD /v2/app/manifests/1", ScriptedResponse(405));
  server.on("GET /v2/app/manifests/1", manifest_with(other));
  const auto error = resolve_error(reference());
  EXPECT_EQ(error.code(), Errc::digest_mismatch);
  EXPECT_EQ(error.message(), "GET " + server.url() + "/v2/app/manifests/1: the manifest's digest is " +
                                 digest + ", but the registry says " + other);
}

TEST_F(DigestConfusion, AHeaderThatIsNoDigestIsNoneAndTheBodyCounts) {
  for (const auto* nonsense : {"sha256:../../../../etc/passwd", "md5:0123", "sha256:", "sha256:ABC", ""}) {
    ScriptedServer registry;
    registry.on("HEAD /v2/app/manifests/1", manifest_with(nonsense));
    registry.on("GET /v2/app/manifests/1", manifest_with(nonsense));
    EXPECT_EQ(resolved(Reference::parse(registry.host() + "/app:1")).digest.str(), digest) << nonsense;
  }
}

TEST_F(DigestConfusion, AnotherDigestThanTheReferenceHasIsRefusedWhoeverSaysIt) {
  const auto wanted = reference("app@" + other);
  server.on("HEAD /v2/app/manifests/" + other, manifest_with(digest));
  const auto by_head = resolve_error(wanted);
  EXPECT_EQ(by_head.code(), Errc::digest_mismatch);
  EXPECT_THAT(by_head.message(),
              EndsWith("the manifest's digest is " + digest + ", but the reference says " + other));
  ScriptedServer registry;
  registry.on("HEAD /v2/app/manifests/" + other, ScriptedResponse(405));
  registry.on("GET /v2/app/manifests/" + other, manifest_with(other));
  const auto by_get = resolve_error(Reference::parse(registry.host() + "/app@" + other));
  EXPECT_EQ(by_get.code(), Errc::digest_mismatch);
}

// ---- slow loris: something comes now and then, for ever ----

class SlowLoris : public Hostile {
 protected:
  SlowLoris() {
    options.http.response_timeout = milliseconds(200);
    options.http.progress_timeout = milliseconds(200);
  }
  static ScriptedResponse dripping(ScriptedResponse response) {
    response.drip = milliseconds(10);
    return response;
  }
};

TEST_F(SlowLoris, AHeadByteByByteEndsInTime) {
  expect_refused(
      dripping(raw("HTTP/1.1 200 OK\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")),
      Errc::timed_out, "no response within 0.2 s");
}

TEST_F(SlowLoris, InterimResponsesByteByByteEndInTime) {
  expect_refused(dripping(raw("HTTP/1.1 100 Continue\r\n\r\n")), Errc::timed_out, "no response within 0.2 s");
}

TEST_F(SlowLoris, ABlobByteByByteEndsInTime) {
  const auto large = blob(std::string(1'000'000, 'x'));
  ScriptedResponse slow(200, "x");
  slow.claimed_length = large.size;
  server.on(blob_key(large), dripping(slow));
  const auto error = fetch_error(large);
  EXPECT_EQ(error.code(), Errc::timed_out);
  EXPECT_EQ(error.message(), "GET " + server.url() + "/v2/app/blobs/" + large.digest.str() +
                                 ": slower than 256 bytes a second for 0.2 s");
}

TEST_F(SlowLoris, AChunkSizeByteByByteEndsInTime) {
  expect_refused(dripping(raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")), Errc::timed_out,
                 "no response within 0.2 s");
  ScriptedResponse chunks(
      200, "5;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
      {{"Transfer-Encoding", "chunked"}});
  chunks.without_length = true;
  expect_refused(dripping(chunks), Errc::timed_out, "no data for 0.2 s");
}

TEST_F(SlowLoris, AManifestByteByByteEndsInTime) {
  server.on("HEAD /v2/app/manifests/1", ScriptedResponse(405));
  ScriptedResponse slow(200, " ");
  slow.claimed_length = 100'000;
  server.on("GET /v2/app/manifests/1", dripping(slow));
  const auto error = resolve_error(reference());
  EXPECT_EQ(error.code(), Errc::timed_out);
  EXPECT_THAT(error.message(), HasSubstr("/v2/app/manifests/1: slower than 256 bytes a second for 0.2 s"));
}

TEST_F(SlowLoris, ATokenByteByByteEndsInTime) {
  ScriptedServer tokens;
  server.on(blob_key(layer),
            ScriptedResponse(401, "", {{"WWW-Authenticate", "Bearer realm=\"" + tokens.url() + "/token\""}}));
  ScriptedResponse slow(200, " ");
  slow.claimed_length = 100'000;
  tokens.on("GET /token", dripping(slow));
  const auto error = fetch_error(layer);
  EXPECT_EQ(error.code(), Errc::timed_out);
  EXPECT_THAT(error.message(), HasSubstr("/token: slower than 256 bytes a second for 0.2 s"));
}

TEST_F(SlowLoris, TheBodyOfARefusalByteByByteIsGivenUp) {
  ScriptedResponse slow(403, " ");
  slow.claimed_length = 100'000;
  expect_refused(dripping(slow), Errc::forbidden, "403 Forbidden");
}

TEST_F(SlowLoris, AHandshakeByteByByteEndsInTime) {
  ScriptedServer registry;
  registry.on(blob_key(layer), raw("x"));
  registry.greet(std::string("\x16\x03\x03", 3));
  options.http.tls.skip_verify = true;
  options.http.connect_timeout = milliseconds(200);
  const auto error =
      test::error_of(home, test::fetch(client(), Reference::parse(registry.host() + "/app:1"), layer));
  EXPECT_EQ(error.code(), Errc::timed_out) << error.message();
  EXPECT_THAT(error.message(), HasSubstr(registry.host()));
}

}  // namespace
}  // namespace lazypull
