// Authorization, redirects and retries as a registry sees them.
#include "engine/task_group.hpp"
#include "tests/support/registry_fixture.hpp"

#include <gtest/gtest.h>

namespace lazypull {
namespace {

using test::HeaderList;
using test::ScriptedRequest;
using test::ScriptedResponse;
using test::ScriptedServer;

const std::string content = "hello";

class Auth : public test::RegistryFixture {
 protected:
  Auth() {
    server.on(blob_key(layer), [this](const ScriptedRequest& request) {
      if (request.header("Authorization") == accepted) return ScriptedResponse(200, content);
      return ScriptedResponse(401, "", {{"WWW-Authenticate", challenge}});
    });
  }

  std::string bearer_challenge() const {
    return "Bearer realm=\"" + tokens.url() + "/token\",service=\"test\",scope=\"repository:app:pull\"";
  }

  const Descriptor layer = blob(content);
  ScriptedServer tokens;
  std::string challenge = bearer_challenge();
  std::string accepted = "Bearer good";
};

TEST_F(Auth, GetsAnAnonymousToken) {
  tokens.on("GET /token", ScriptedResponse(200, R"({"token": "good"})"));
  EXPECT_EQ(fetched(layer), content);
  ASSERT_EQ(tokens.requests().size(), 1U);
  EXPECT_EQ(tokens.requests()[0].target, "/token?service=test&scope=repository%3Aapp%3Apull");
  EXPECT_FALSE(tokens.requests()[0].has_header("Authorization"));
}

TEST_F(Auth, SendsTheTokenAtOnceNextTime) {
  tokens.on("GET /token", ScriptedResponse(200, R"({"token": "good"})"));
  fetched(layer);
  fetched(layer);
  EXPECT_EQ(server.requests().size(), 3U);
  EXPECT_EQ(tokens.requests().size(), 1U);
  EXPECT_EQ(server.connections(), 1U);
}

TEST_F(Auth, PostsAPasswordToTheTokenService) {
  tokens.on("POST /token", ScriptedResponse(200, R"({"access_token": "good"})"));
  options.user = Credentials{"user", "pass", {}, {}};
  EXPECT_EQ(fetched(layer), content);
  EXPECT_NE(tokens.requests().at(0).body.find("grant_type=password"), std::string::npos);
  EXPECT_FALSE(server.requests().at(0).has_header("Authorization"));
}

TEST_F(Auth, FallsBackToGetWithBasic) {
  tokens.on("POST /token", ScriptedResponse(405));
  tokens.on("GET /token", ScriptedResponse(200, R"({"token": "good"})"));
  options.user = Credentials{"user", "pass", {}, {}};
  EXPECT_EQ(fetched(layer), content);
  EXPECT_EQ(tokens.requests().at(1).header("Authorization"), "Basic dXNlcjpwYXNz");
}

TEST_F(Auth, RefreshesWithAnIdentityToken) {
  tokens.on("POST /token", ScriptedResponse(200, R"({"access_token": "good"})"));
  options.user = Credentials{{}, {}, "identity", {}};
  EXPECT_EQ(fetched(layer), content);
  EXPECT_NE(tokens.requests().at(0).body.find("refresh_token=identity"), std::string::npos);
}

TEST_F(Auth, AsksTheCredentialStoreWithDomainAndRepository) {
  struct Store : CredentialStore {
    Awaitable<Credentials> find(std::string domain, std::string repository) override {
      asked = domain + " " + repository;
      co_return Credentials{"user", "pass", {}, {}};
    }
    std::string asked;
  };
  const auto store = std::make_shared<Store>();
  options.credentials = store;
  challenge = "Basic realm=x";
  accepted = "Basic dXNlcjpwYXNz";
  EXPECT_EQ(fetched(layer), content);
  EXPECT_EQ(store->asked, server.host() + " app");
}

TEST_F(Auth, SendsAPasswordOnlyAfterABasicChallenge) {
  challenge = "Basic realm=\"x\"";
  accepted = "Basic dXNlcjpwYXNz";
  options.user = Credentials{"user", "pass", {}, {}};
  EXPECT_EQ(fetched(layer), content);
  EXPECT_FALSE(server.requests().at(0).has_header("Authorization"));
}

TEST_F(Auth, FailsOnAWrongPasswordWithoutTellingIt) {
  challenge = "Basic realm=\"x\"";
  accepted = "none";
  options.user = Credentials{"user", "wrongsecret", {}, {}};
  const auto error = fetch_error(layer);
  EXPECT_EQ(error.code(), Errc::unauthorized);
  EXPECT_EQ(error.message(), "GET " + server.url() + "/v2/app/blobs/" + layer.digest.str() +
                                 ": 401 Unauthorized: the user name or password was refused");
}

TEST_F(Auth, FailsWhereTheTokenServiceRefusesWithoutTellingThePassword) {
  const std::string body = R"({"details": "incorrect username or password wrongsecret"})";
  tokens.on("POST /token", ScriptedResponse(401));
  tokens.on("GET /token", ScriptedResponse(401, body));
  options.user = Credentials{"user", "wrongsecret", {}, {}};
  const auto error = fetch_error(layer);
  EXPECT_EQ(error.code(), Errc::unauthorized);
  EXPECT_EQ(error.message(), "GET " + server.url() + "/v2/app/blobs/" + layer.digest.str() +
                                 ": authorization: GET " + tokens.url() +
                                 "/token: 401 Unauthorized: incorrect username or password <hidden>");
}

TEST_F(Auth, IsUnauthorizedWhereTheTokenServiceKnowsNothing) {
  tokens.on("GET /token", ScriptedResponse(404));
  EXPECT_EQ(fetch_error(layer).code(), Errc::unauthorized);
}

TEST_F(Auth, RefusesAUselessToken) {
  tokens.on("GET /token", ScriptedResponse(200, "{}"));
  const auto error = fetch_error(layer);
  EXPECT_EQ(error.code(), Errc::bad_response);
  EXPECT_NE(error.message().find("GET " + tokens.url() + "/token: there is no token in the response"),
            std::string::npos)
      << error.message();
}

TEST_F(Auth, ReplacesACachedTokenThatIsRefused) {
  tokens.on("GET /token", ScriptedResponse(200, R"({"token": "good"})"));
  fetched(layer);
  accepted = "Bearer better";
  tokens.on("GET /token", ScriptedResponse(200, R"({"token": "better"})"));
  EXPECT_EQ(fetched(layer), content);
  EXPECT_EQ(tokens.requests().size(), 2U);
}

TEST_F(Auth, FailsWithTheReasonWhereAFreshTokenIsRefused) {
  tokens.on("GET /token", ScriptedResponse(200, R"({"token": "bad"})"));
  challenge += ",error=\"insufficient_scope\"";
  const auto error = fetch_error(layer);
  EXPECT_EQ(error.code(), Errc::unauthorized);
  EXPECT_TRUE(error.message().ends_with(": 401 Unauthorized: insufficient_scope")) << error.message();
  EXPECT_EQ(server.requests().size(), 2U);
}

TEST_F(Auth, SharesOneTokenRequestBetweenConcurrentFetches) {
  tokens.on("GET /token", ScriptedResponse(200, R"({"token": "good"})"));
  auto& registry = client();
  const auto where = reference();
  test::run_on(home, with_task_group([&](TaskGroup& group) -> Awaitable<> {
                 const auto one = [](RegistryClient& from, Reference reference,
                                     Descriptor what) -> Awaitable<> {
                   const auto bytes = co_await test::fetch(from, std::move(reference), std::move(what));
                   EXPECT_EQ(bytes, content);
                 };
                 for (int i = 0; i < 5; ++i) group.spawn(one(registry, where, layer));
                 co_return;
               }));
  EXPECT_EQ(tokens.requests().size(), 1U);
}

TEST_F(Auth, FollowsARedirectOfTheTokenServiceWithoutThePassword) {
  ScriptedServer other;
  tokens.on("POST /token", ScriptedResponse(404));
  tokens.on("GET /token", ScriptedResponse(307, "", {{"Location", other.url() + "/t"}}));
  other.on("GET /t", ScriptedResponse(200, R"({"token": "good"})"));
  options.user = Credentials{"user", "pass", {}, {}};
  EXPECT_EQ(fetched(layer), content);
  EXPECT_FALSE(other.requests().at(0).has_header("Authorization"));
}

class Redirects : public test::RegistryFixture {
 protected:
  static ScriptedResponse to(const std::string& location, int status = 307) {
    return ScriptedResponse(status, "elsewhere", {{"Location", location}});
  }
  const Descriptor layer = blob(content);
};

TEST_F(Redirects, AreFollowedWhateverTheirStatus) {
  ScriptedServer cdn;
  cdn.on("GET /x", ScriptedResponse(200, content));
  for (const int status : {301, 302, 303, 307, 308}) {
    ScriptedServer registry;
    registry.on(blob_key(layer), to(cdn.url() + "/x?signature=a%2Fb", status));
    const auto where = Reference::parse(registry.host() + "/app:1");
    EXPECT_EQ(test::value_of(home, test::fetch(client(), where, layer)), content) << status;
    EXPECT_EQ(cdn.requests().back().target, "/x?signature=a%2Fb");
  }
}

TEST_F(Redirects, MayBeRelative) {
  server.on(blob_key(layer), to("/storage/x"));
  server.on("GET /storage/x", to("y"));
  server.on("GET /storage/y", ScriptedResponse(200, content));
  EXPECT_EQ(fetched(layer), content);
}

TEST_F(Redirects, KeepTheRange) {
  ScriptedServer cdn;
  server.on(blob_key(layer), to(cdn.url() + "/x"));
  cdn.on("GET /x", ScriptedResponse(206, "llo", {{"Content-Range", "bytes 2-4/5"}}));
  EXPECT_EQ(fetched(layer, 2), "llo");
  EXPECT_EQ(cdn.requests().at(0).header("Range"), "bytes=2-");
}

TEST_F(Redirects, TakeNoCredentialsToAnotherOrigin) {
  ScriptedServer cdn;
  cdn.on("GET /x", ScriptedResponse(200, content));
  server.on(blob_key(layer), [&](const ScriptedRequest& request) {
    if (request.has_header("Authorization")) return to(cdn.url() + "/x");
    return ScriptedResponse(401, "", {{"WWW-Authenticate", "Basic realm=x"}});
  });
  options.user = Credentials{"user", "pass", {}, {}};
  EXPECT_EQ(fetched(layer), content);
  EXPECT_EQ(fetched(layer), content);
  for (const auto& request : cdn.requests()) EXPECT_FALSE(request.has_header("Authorization"));
}

TEST_F(Redirects, TakeNoPasswordToAnotherOriginThatAsksForIt) {
  ScriptedServer cdn;
  cdn.on("GET /x", ScriptedResponse(401, "", {{"WWW-Authenticate", "Basic realm=x"}}));
  server.on(blob_key(layer), to(cdn.url() + "/x"));
  options.user = Credentials{"user", "pass", {}, {}};
  const auto error = fetch_error(layer);
  EXPECT_EQ(error.code(), Errc::unauthorized);
  EXPECT_EQ(cdn.requests().size(), 1U);
}

TEST_F(Redirects, GetAnAnonymousTokenForAnotherRegistry) {
  ScriptedServer other;
  other.on("GET /v2/x", [&](const ScriptedRequest& request) {
    if (request.header("Authorization") == "Bearer anonymous") return ScriptedResponse(200, content);
    return ScriptedResponse(401, "", {{"WWW-Authenticate", "Bearer realm=\"" + other.url() + "/token\""}});
  });
  other.on("GET /token", ScriptedResponse(200, R"({"token": "anonymous"})"));
  server.on(blob_key(layer), to(other.url() + "/v2/x"));
  options.user = Credentials{"user", "pass", {}, {}};
  EXPECT_EQ(fetched(layer), content);
  EXPECT_FALSE(other.requests("GET /token").at(0).has_header("Authorization"));
  EXPECT_TRUE(other.requests("POST /token").empty());
}

TEST_F(Redirects, EndAfterTen) {
  server.otherwise([](const ScriptedRequest& request) { return to(request.target + "x"); });
  const auto error = fetch_error(layer);
  EXPECT_EQ(error.code(), Errc::bad_response);
  EXPECT_EQ(error.message(),
            "GET " + server.url() + "/v2/app/blobs/" + layer.digest.str() + ": more than 10 redirects");
  EXPECT_EQ(server.requests().size(), 11U);
}

TEST_F(Redirects, NeedAValidLocation) {
  for (const auto& headers :
       {HeaderList{}, HeaderList{{"Location", "ftp://h/x"}}, HeaderList{{"Location", "http://[x"}}}) {
    ScriptedServer registry;
    registry.on(blob_key(layer), ScriptedResponse(307, "", headers));
    const auto where = Reference::parse(registry.host() + "/app:1");
    EXPECT_EQ(test::error_of(home, test::fetch(client(), where, layer)).code(), Errc::bad_response);
  }
}

TEST_F(Redirects, NeverLeadFromHttpsToHttp) {
  ScriptedServer secure(test::make_identity({"127.0.0.1"}));
  ScriptedServer plain;
  secure.on(blob_key(layer), to(plain.url() + "/x?secret"));
  options.http.tls.skip_verify = true;
  const auto where = Reference::parse(secure.host() + "/app:1");
  const auto error = test::error_of(home, test::fetch(client(), where, layer));
  EXPECT_EQ(error.code(), Errc::bad_response);
  EXPECT_TRUE(error.message().ends_with("refusing to go from https to " + plain.url() + "/x"))
      << error.message();
  EXPECT_TRUE(plain.requests().empty());
}

TEST_F(Redirects, AreNamedInErrors) {
  ScriptedServer cdn;
  cdn.on("GET /x", ScriptedResponse(403));
  server.on(blob_key(layer), to(cdn.url() + "/x?signature=secret"));
  const auto error = fetch_error(layer);
  EXPECT_EQ(error.code(), Errc::forbidden);
  EXPECT_EQ(error.message(), "GET " + server.url() + "/v2/app/blobs/" + layer.digest.str() +
                                 ": redirected to " + cdn.url() + "/x: 403 Forbidden");
}

class Retries : public test::RegistryFixture {
 protected:
  void then(ScriptedResponse response) { server.on(blob_key(layer), std::move(response)); }
  const Descriptor layer = blob(content);
};

TEST_F(Retries, OvercomeFailuresThatPass) {
  then(ScriptedResponse(503));
  then(ScriptedResponse(429, "", {{"Retry-After", "0"}}));
  ScriptedResponse lost;
  lost.hang_up = true;
  then(lost);
  then(ScriptedResponse(502));
  then(ScriptedResponse(200, content));
  EXPECT_EQ(fetched(layer), content);
}

TEST_F(Retries, EndAfterFiveAttempts) {
  then(ScriptedResponse(503, R"({"errors": [{"code": "UNAVAILABLE"}]})"));
  const auto error = fetch_error(layer);
  EXPECT_EQ(error.code(), Errc::server_error);
  EXPECT_TRUE(error.message().ends_with(": 503 Service Unavailable: UNAVAILABLE")) << error.message();
  EXPECT_EQ(server.requests().size(), 5U);
}

TEST_F(Retries, TellTooManyRequestsApart) {
  then(ScriptedResponse(429));
  EXPECT_EQ(fetch_error(layer).code(), Errc::too_many_requests);
}

TEST_F(Retries, AreNotMadeForRefusals) {
  then(ScriptedResponse(403));
  EXPECT_EQ(fetch_error(layer).code(), Errc::forbidden);
  EXPECT_EQ(server.requests().size(), 1U);
}

TEST_F(Retries, CanBeCancelledWhileTheyWait) {
  options.retry.base_delay = std::chrono::hours(1);
  options.retry.max_delay = std::chrono::hours(1);
  then(ScriptedResponse(503));
  const auto arrived = [&] { return !server.requests().empty(); };
  const auto error = test::error_after_cancel(home, test::fetch(client(), reference(), layer), arrived);
  EXPECT_EQ(error.code(), Errc::cancelled);
}

}  // namespace
}  // namespace lazypull
