// Hosts of a hosts.toml as the client uses them: order, capabilities, credentials, and what happens when one
// of them fails.
#include "tests/support/registry_fixture.hpp"
#include "tests/support/temp_dir.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lazypull {
namespace {

using test::ScriptedRequest;
using test::ScriptedResponse;
using test::ScriptedServer;
using testing::HasSubstr;
using testing::Not;

const std::string manifest = R"({"schemaVersion": 2, "config": {}, "layers": []})";

/// Two mirrors and the registry itself, which is `server`.
class Mirrors : public test::RegistryFixture {
 protected:
  Mirrors() {
    options.hosts_directories = {folder.path()};
    options.mirror_connect_timeout = std::chrono::seconds(2);
  }

  void configure(const std::string& text) {
    auto name = server.host();
    name[name.find(':')] = '_';
    test::write_file(folder / (name + "_/hosts.toml"), text);
  }
  static std::string host(const std::string& url, const std::string& fields = "") {
    return "[host.\"" + url + "\"]\n" + fields + "\n";
  }
  void both(const std::string& fields = "") {
    configure(host(first.url(), fields) + host(second.url(), fields));
  }

  /// Under the digest of `manifest`, whatever the body is.
  static void has_manifest(ScriptedServer& where, const std::string& body = manifest) {
    const ScriptedResponse response(
        200, body,
        {{"Content-Type", std::string(media_type::oci_manifest)},
         {"Docker-Content-Digest", Digest::sha256_of(std::string_view(manifest)).str()}});
    for (const auto* method : {"HEAD", "GET"})
      where.on(std::string(method) + " /v2/app/manifests/1", response);
  }
  static void has(ScriptedServer& where, const Descriptor& layer, const std::string& content) {
    where.on(blob_key(layer), [content](const ScriptedRequest& request) {
      const auto range = request.header("Range");
      if (range.empty()) return ScriptedResponse(200, content);
      const auto from = std::stoul(range.substr(6));
      const auto last = std::to_string(content.size() - 1);
      return ScriptedResponse(206, content.substr(from),
                              {{"Content-Range", "bytes " + std::to_string(from) + "-" + last + "/" +
                                                     std::to_string(content.size())}});
    });
  }
  /// A port that nobody listens on.
  static std::string dead_url() {
    const ScriptedServer gone;
    return gone.url();
  }
  static std::string large(char seed) {
    std::string text;
    while (text.size() < (5U << 20U)) text += seed + std::to_string(text.size());
    return text;
  }

  test::TempDir folder{"hosts"};
  ScriptedServer first;
  ScriptedServer second;
};

TEST_F(Mirrors, AreAskedInTheOrderOfTheFile) {
  both();
  has_manifest(first);
  EXPECT_EQ(resolved(reference()).size, manifest.size());
  const auto layer = blob("hello");
  has(first, layer, "hello");
  EXPECT_EQ(fetched(layer), "hello");
  EXPECT_TRUE(second.requests().empty());
  EXPECT_TRUE(server.requests().empty());
}

TEST_F(Mirrors, AreBelievedAboutATagOnlyWithTheBodyThatProvesIt) {
  both();
  has_manifest(first, manifest + "longer");
  has_manifest(second);
  EXPECT_EQ(resolved(reference()).size, manifest.size());
  EXPECT_EQ(first.requests().size(), 1U);
}

TEST_F(Mirrors, AreToldWhichRegistryIsMeant) {
  both();
  has_manifest(server);
  resolved(reference());
  const auto ns = "?ns=127.0.0.1%3A" + std::to_string(server.port());
  EXPECT_EQ(first.requests().at(0).target, "/v2/app/manifests/1" + ns);
  EXPECT_EQ(server.requests().at(0).target, "/v2/app/manifests/1");
}

TEST_F(Mirrors, WithoutTheImageArePassedOver) {
  both();
  has_manifest(server);
  EXPECT_EQ(resolved(reference()).size, manifest.size());
  const auto layer = blob("hello");
  has(second, layer, "hello");
  EXPECT_EQ(fetched(layer), "hello");
  EXPECT_EQ(first.requests().size(), 2U);
  EXPECT_EQ(second.requests().size(), 2U);
}

TEST_F(Mirrors, WithoutTheCapabilityToResolveAreAskedForNoTag) {
  both("capabilities = [\"pull\"]");
  has_manifest(server);
  resolved(reference());
  EXPECT_TRUE(first.requests().empty());
  const auto layer = blob("hello");
  has(first, layer, "hello");
  EXPECT_EQ(fetched(layer), "hello");
}

TEST_F(Mirrors, WithoutTheCapabilityToPullAreAskedForNothingThatHasADigest) {
  both("capabilities = [\"resolve\"]");
  has_manifest(first);
  resolved(reference());
  EXPECT_TRUE(server.requests().empty());
  const auto layer = blob("hello");
  has(server, layer, "hello");
  EXPECT_EQ(fetched(layer), "hello");
  EXPECT_EQ(first.requests().size(), 1U);
  EXPECT_EQ(resolve_error(reference("app@" + layer.digest.str())).code(), Errc::not_found);
  EXPECT_EQ(first.requests().size(), 1U);
}

TEST_F(Mirrors, ArePassedOverForOneWhoseFilesHaveNoSuitableHost) {
  configure("server = \"" + server.url() + "\"\ncapabilities = [\"pull\"]\n" +
            host(first.url(), "capabilities = [\"pull\"]"));
  const auto error = resolve_error(reference());
  EXPECT_EQ(error.code(), Errc::invalid_argument);
  EXPECT_EQ(error.message(),
            server.host() + "/app:1: no host of its hosts.toml has the capability \"resolve\"");
}

TEST_F(Mirrors, FailTogetherWithAllTheirReasons) {
  both();
  first.on("GET /v2/app/manifests/1", ScriptedResponse(500));
  const auto error = resolve_error(reference());
  EXPECT_EQ(error.code(), Errc::not_found) << "the registry's own answer counts";
  EXPECT_EQ(error.message(), "HEAD " + server.url() +
                                 "/v2/app/manifests/1: 404 Not Found; before that: GET " + first.url() +
                                 "/v2/app/manifests/1: 500 Internal Server Error; GET " + second.url() +
                                 "/v2/app/manifests/1: 404 Not Found");
}

TEST_F(Mirrors, AreNotRetriedWhereAnotherHostIsLeft) {
  both();
  first.on("GET /v2/app/manifests/1", ScriptedResponse(503));
  second.on("GET /v2/app/manifests/1", ScriptedResponse(429));
  server.on("HEAD /v2/app/manifests/1", ScriptedResponse(503));
  has_manifest(server);
  EXPECT_EQ(resolved(reference()).size, manifest.size());
  EXPECT_EQ(first.requests().size(), 1U);
  EXPECT_EQ(second.requests().size(), 1U);
  EXPECT_EQ(server.requests().size(), 2U) << "the last one is";
}

TEST_F(Mirrors, ThatAreDeadCostOneAttemptAndNotOneForEachBlob) {
  std::vector<std::string> failures;
  options.http.log = [&](const RequestLog& line) {
    if (line.status == 0) failures.push_back(line.url);
  };
  configure(host(dead_url()));
  has_manifest(server);
  EXPECT_EQ(resolved(reference()).size, manifest.size());
  for (int i = 0; i < 5; ++i) {
    const auto content = std::to_string(i);
    has(server, blob(content), content);
    EXPECT_EQ(fetched(blob(content)), content);
  }
  EXPECT_EQ(failures.size(), 1U);
}

TEST_F(Mirrors, ThatComeBackAreFoundByAProbe) {
  options.breaker.first_pause = std::chrono::milliseconds(0);
  both();
  const auto layer = blob("hello");
  ScriptedResponse gone;
  gone.hang_up = true;
  first.on(blob_key(layer), gone);
  first.on(blob_key(layer), ScriptedResponse(200, "hello"));
  has(server, layer, "hello");
  EXPECT_EQ(fetched(layer), "hello");
  EXPECT_EQ(fetched(layer), "hello");
  EXPECT_EQ(first.requests().size(), 2U);
  EXPECT_EQ(server.requests().size(), 1U);
}

TEST_F(Mirrors, ThatBreakOffAreFollowedByTheNextAtTheOffsetReached) {
  both();
  const auto content = large('a');
  const auto layer = blob(content);
  ScriptedResponse cut(200, content);
  cut.cut_after = 1000000;
  first.on(blob_key(layer), cut);
  second.on(blob_key(layer), ScriptedResponse(503));
  has(server, layer, content);
  EXPECT_EQ(fetched(layer), content);
  EXPECT_EQ(second.requests().at(0).header("Range"), "bytes=1000000-");
  EXPECT_EQ(server.requests().at(0).header("Range"), "bytes=1000000-");
}

TEST_F(Mirrors, ThatServeASmallBlobWrongAreFollowedByTheNext) {
  both();
  const auto layer = blob("hello");
  has(first, layer, "HELLO");
  has(second, layer, "hello");
  EXPECT_EQ(fetched(layer), "hello");
  EXPECT_EQ(fetched(layer), "hello");
  EXPECT_EQ(first.requests().size(), 1U) << "it is not trusted with this blob again";
}

TEST_F(Mirrors, ThatServeALargeBlobWrongAreFoundOutBeforeTheLastByteAndNotAskedAgain) {
  both();
  const auto content = large('a');
  const auto layer = blob(content);
  has(first, layer, large('b'));
  has(second, layer, content);
  const auto error = fetch_error(layer);
  EXPECT_EQ(error.code(), Errc::digest_mismatch);
  EXPECT_THAT(error.message(), HasSubstr(first.url()));
  EXPECT_EQ(client().distrusted(), 1U);
  EXPECT_EQ(fetched(layer), content);
  EXPECT_EQ(first.requests().size(), 1U);
}

TEST_F(Mirrors, NeverGetTheCredentialsOfTheRegistry) {
  both();
  options.user = Credentials{"user", "pass", {}, {}};
  const auto layer = blob("hello");
  const ScriptedResponse refusal(401, "", {{"WWW-Authenticate", "Basic realm=x"}});
  first.on(blob_key(layer), refusal);
  second.on(blob_key(layer), refusal);
  server.on(blob_key(layer), [](const ScriptedRequest& request) {
    if (request.header("Authorization") == "Basic dXNlcjpwYXNz") return ScriptedResponse(200, "hello");
    return ScriptedResponse(401, "", {{"WWW-Authenticate", "Basic realm=x"}});
  });
  EXPECT_EQ(fetched(layer), "hello");
  for (const auto& request : first.requests()) EXPECT_FALSE(request.has_header("Authorization"));
  for (const auto& request : second.requests()) EXPECT_FALSE(request.has_header("Authorization"));
}

TEST_F(Mirrors, GetCredentialsOfTheirOwn) {
  struct Store : CredentialStore {
    Awaitable<Credentials> find(std::string domain, std::string /*repository*/) override {
      asked.push_back(domain);
      co_return Credentials{domain, "pw", {}, {}};
    }
    std::vector<std::string> asked;
  };
  const auto store = std::make_shared<Store>();
  options.credentials = store;
  configure(host(first.url()));
  const auto layer = blob("hello");
  first.on(blob_key(layer), ScriptedResponse(404));
  has(server, layer, "hello");
  EXPECT_EQ(fetched(layer), "hello");
  EXPECT_THAT(store->asked, testing::ElementsAre(first.host(), server.host()));
}

TEST_F(Mirrors, AreReachedAtTheirPathAndWithTheirHeaders) {
  const auto url = first.url() + "/v2/proxy";
  configure(host(url, "override_path = true\n[host.\"" + url + "\".header]\nX-Test = [\"a\", \"b\"]\n" +
                          "Authorization = \"Basic own\"\nUser-Agent = \"theirs\""));
  const auto layer = blob("hello");
  first.on("GET /v2/proxy/app/blobs/" + layer.digest.str(),
           ScriptedResponse(307, "", {{"Location", second.url() + "/x"}}));
  second.on("GET /x", ScriptedResponse(200, "hello"));
  options.user = Credentials{"user", "pass", {}, {}};
  EXPECT_EQ(fetched(layer), "hello");
  const auto request = first.requests().at(0);
  EXPECT_EQ(request.header("X-Test"), "a");
  EXPECT_EQ(request.header("Authorization"), "Basic own");
  EXPECT_EQ(request.header("User-Agent"), "theirs");
  EXPECT_FALSE(second.requests().at(0).has_header("X-Test")) << "headers are for the host alone";
  EXPECT_FALSE(second.requests().at(0).has_header("Authorization"));
}

TEST_F(Mirrors, HaveTlsOptionsOfTheirOwn) {
  const auto authority = test::make_authority("Mirror CA");
  ScriptedServer secure(test::make_identity({"127.0.0.1"}, &authority), &authority);
  const auto me = test::make_identity({"client"}, &authority);
  test::write_file(folder / "ca.pem", authority.certificate);
  test::write_file(folder / "me.cert", me.certificate);
  test::write_file(folder / "me.key", me.key);
  const auto layer = blob("hello");
  has(secure, layer, "hello");
  configure(host(secure.url(), "ca = \"../ca.pem\"\nclient = [[\"../me.cert\", \"../me.key\"]]"));
  EXPECT_EQ(fetched(layer), "hello");
  EXPECT_TRUE(server.requests().empty());
}

TEST_F(Mirrors, WithFilesThatCannotBeUsedAreAnErrorThatNamesTheFile) {
  configure(host("https://127.0.0.1:1", "ca = \"missing.pem\""));
  const auto error = fetch_error(blob("hello"));
  EXPECT_EQ(error.code(), Errc::invalid_argument);
  EXPECT_THAT(error.message(), HasSubstr("missing.pem"));
}

TEST_F(Mirrors, AreReadAnewAfterAReload) {
  has_manifest(first);
  has_manifest(server);
  resolved(reference());
  both();
  resolved(reference());
  EXPECT_TRUE(first.requests().empty());
  client().reload();
  resolved(reference());
  EXPECT_EQ(first.requests().size(), 1U);
}

TEST_F(Mirrors, CanBeTheRegistryItselfByAnotherScheme) {
  configure("server = \"" + server.url() + "\"");
  has_manifest(server);
  resolved(reference());
  EXPECT_EQ(server.requests().at(0).target, "/v2/app/manifests/1") << "it is no mirror";
}

TEST_F(Mirrors, CanBeCancelled) {
  both();
  ScriptedResponse stalls;
  stalls.stall = true;
  const auto layer = blob("hello");
  first.on(blob_key(layer), stalls);
  const auto arrived = [&] { return !first.requests().empty(); };
  EXPECT_EQ(test::error_after_cancel(home, test::fetch(client(), reference(), layer), arrived).code(),
            Errc::cancelled);
  EXPECT_TRUE(second.requests().empty());
}

}  // namespace
}  // namespace lazypull
