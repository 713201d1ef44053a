#include "transport/auth_flow.hpp"

#include <gtest/gtest.h>

namespace lazypull {

void PrintTo(AuthAction action, std::ostream* out) {
  *out << to_string(action);
}

namespace {

const Origin https_registry{true, "registry.example.com", 443};
const Origin http_registry{false, "registry.example.com", 5000};

Challenge bearer(const std::string& realm = "https://auth.example.com/token", const std::string& scope = {}) {
  Challenge challenge{"bearer", {}, {{"realm", realm}, {"service", "registry.example.com"}}};
  if (!scope.empty()) challenge.parameters.emplace_back("scope", scope);
  return challenge;
}
Challenge basic() {
  return {"basic", {}, {{"realm", "x"}}};
}

Credentials account() {
  Credentials credentials;
  credentials.username = "user";
  credentials.password = "password";
  return credentials;
}

AuthFlow anonymous(const Origin& registry = https_registry) {
  return {registry, "team/app", {}};
}
AuthFlow with_account() {
  return {https_registry, "team/app", account()};
}

TEST(AuthFlow, StartsWithoutCredentials) {
  auto flow = with_account();
  EXPECT_EQ(flow.begin(std::nullopt), AuthAction::send_plain);
  EXPECT_EQ(flow.on_response(200, {}), AuthAction::accept);
  EXPECT_FALSE(flow.answered());
}

TEST(AuthFlow, AnswersABearerChallengeWithAToken) {
  auto flow = anonymous();
  flow.begin(std::nullopt);
  ASSERT_EQ(flow.on_response(401, {bearer()}), AuthAction::get_token);
  EXPECT_EQ(flow.token_request().realm.str(), "https://auth.example.com/token");
  EXPECT_EQ(flow.token_request().service, "registry.example.com");
  EXPECT_EQ(flow.on_token("t", false), AuthAction::send_bearer);
  EXPECT_EQ(flow.token(), "t");
  EXPECT_EQ(flow.on_response(200, {}), AuthAction::accept);
  EXPECT_EQ(flow.answered(), bearer());
}

TEST(AuthFlow, AsksForPullWhereTheChallengeHasNoScope) {
  auto flow = anonymous();
  flow.begin(std::nullopt);
  flow.on_response(401, {bearer()});
  EXPECT_EQ(flow.token_request().scopes, std::vector<std::string>{"repository:team/app:pull"});
}

TEST(AuthFlow, SortsScopesAndDropsDuplicates) {
  auto flow = anonymous();
  flow.begin(std::nullopt);
  flow.on_response(401, {bearer("https://auth.example.com/token",
                                "repository:b:pull  repository:a:pull repository:b:pull")});
  EXPECT_EQ(flow.token_request().scopes,
            (std::vector<std::string>{"repository:a:pull", "repository:b:pull"}));
}

TEST(AuthFlow, PrefersBearerToBasic) {
  auto flow = with_account();
  flow.begin(std::nullopt);
  EXPECT_EQ(flow.on_response(401, {basic(), bearer()}), AuthAction::get_token);
}

TEST(AuthFlow, SendsThePasswordOnlyAfterABasicChallenge) {
  auto flow = with_account();
  flow.begin(std::nullopt);
  EXPECT_EQ(flow.on_response(401, {basic()}), AuthAction::send_basic);
  EXPECT_EQ(flow.on_response(200, {}), AuthAction::accept);
  EXPECT_EQ(flow.answered(), basic());
}

TEST(AuthFlow, FailsWhenThePasswordIsRefused) {
  auto flow = with_account();
  flow.begin(std::nullopt);
  flow.on_response(401, {basic()});
  EXPECT_EQ(flow.on_response(401, {basic()}), AuthAction::fail);
  EXPECT_EQ(flow.failure(), "the user name or password was refused");
}

TEST(AuthFlow, NeedsCredentialsForBasic) {
  auto flow = anonymous();
  flow.begin(std::nullopt);
  EXPECT_EQ(flow.on_response(401, {basic()}), AuthAction::fail);
  EXPECT_EQ(flow.failure(), "no credentials for registry.example.com");
}

TEST(AuthFlow, SkipsSchemesThatItDoesNotKnow) {
  auto flow = anonymous();
  flow.begin(std::nullopt);
  EXPECT_EQ(flow.on_response(401, {{"negotiate", {}, {}}, {"digest", {}, {}}, bearer()}),
            AuthAction::get_token);
}

TEST(AuthFlow, FailsWithoutAChallengeThatItCanAnswer) {
  auto flow = with_account();
  flow.begin(std::nullopt);
  EXPECT_EQ(flow.on_response(401, {{"negotiate", {}, {}}}), AuthAction::fail);
  auto other = with_account();
  other.begin(std::nullopt);
  EXPECT_EQ(other.on_response(401, {}), AuthAction::fail);
  EXPECT_EQ(other.failure(), "no challenge that we can answer");
}

TEST(AuthFlow, FailsAtOnceWhenAFreshTokenIsRefused) {
  auto flow = anonymous();
  flow.begin(std::nullopt);
  flow.on_response(401, {bearer()});
  flow.on_token("t", false);
  EXPECT_EQ(flow.on_response(401, {bearer()}), AuthAction::fail);
}

TEST(AuthFlow, FailsWithTheReasonInTheChallenge) {
  auto flow = anonymous();
  flow.begin(std::nullopt);
  flow.on_response(401, {bearer()});
  flow.on_token("t", false);
  auto challenge = bearer();
  challenge.parameters.emplace_back("error", "insufficient_scope");
  challenge.parameters.emplace_back("error_description", "no\npull");
  EXPECT_EQ(flow.on_response(401, {challenge}), AuthAction::fail);
  EXPECT_EQ(flow.failure(), "insufficient_scope (no pull)");
}

TEST(AuthFlow, ReplacesACachedTokenOnce) {
  auto flow = anonymous();
  flow.begin(std::nullopt);
  flow.on_response(401, {bearer()});
  flow.on_token("old", true);
  EXPECT_EQ(flow.on_response(401, {bearer()}), AuthAction::get_token);
  EXPECT_EQ(flow.refused_token(), "old");
  flow.on_token("new", false);
  EXPECT_EQ(flow.on_response(401, {bearer()}), AuthAction::fail);
}

TEST(AuthFlow, UsesARememberedChallengeWithoutBeingAskedAgain) {
  auto flow = anonymous();
  EXPECT_EQ(flow.begin(bearer()), AuthAction::get_token);
  auto other = with_account();
  EXPECT_EQ(other.begin(basic()), AuthAction::send_basic);
}

TEST(AuthFlow, ForgetsARememberedChallengeThatIsOutOfDate) {
  auto flow = anonymous();
  flow.begin(bearer("https://old.example.com/token"));
  flow.on_token("t", false);
  EXPECT_EQ(flow.on_response(401, {bearer("https://new.example.com/token")}), AuthAction::get_token);
  EXPECT_EQ(flow.token_request().realm.str(), "https://new.example.com/token");
}

TEST(AuthFlow, DoesNotRepeatAPasswordThatWasRefused) {
  auto flow = with_account();
  flow.begin(basic());
  EXPECT_EQ(flow.on_response(401, {basic()}), AuthAction::fail);
}

TEST(AuthFlow, RefusesAPlainTokenServiceForAnHttpsRegistry) {
  auto flow = with_account();
  flow.begin(std::nullopt);
  EXPECT_EQ(flow.on_response(401, {bearer("http://auth.example.com/token")}), AuthAction::fail);
  EXPECT_EQ(flow.failure(),
            "the token service http://auth.example.com/token is not https, unlike the registry");
  auto local = with_account();
  local.begin(std::nullopt);
  EXPECT_EQ(local.on_response(401, {bearer("http://127.0.0.1:5001/token")}), AuthAction::get_token);
  auto plain = anonymous(http_registry);
  plain.begin(std::nullopt);
  EXPECT_EQ(plain.on_response(401, {bearer("http://auth.example.com/token")}), AuthAction::get_token);
}

TEST(AuthFlow, RefusesRealmsThatAreNoHttpUrl) {
  for (const auto* realm : {"", "/token", "ftp://h/token", "auth.example.com"}) {
    auto flow = anonymous();
    flow.begin(std::nullopt);
    EXPECT_EQ(flow.on_response(401, {bearer(realm)}), AuthAction::fail) << realm;
  }
  auto flow = anonymous();
  flow.begin(std::nullopt);
  EXPECT_EQ(flow.on_response(401, {{"bearer", {}, {}}}), AuthAction::fail);
  EXPECT_EQ(flow.failure(), "the Bearer challenge has no realm");
}

TEST(AuthFlow, SendsARegistryTokenAsItIs) {
  Credentials credentials;
  credentials.registry_token = "rt";
  AuthFlow flow(https_registry, "app", credentials);
  flow.begin(std::nullopt);
  EXPECT_EQ(flow.on_response(401, {bearer()}), AuthAction::send_bearer);
  EXPECT_EQ(flow.token(), "rt");
  EXPECT_EQ(flow.on_response(401, {bearer()}), AuthAction::fail);
}

TEST(AuthFlow, LeavesEveryOtherStatusToTheCaller) {
  for (const int status : {200, 206, 307, 403, 404, 429, 500}) {
    auto flow = anonymous();
    flow.begin(std::nullopt);
    EXPECT_EQ(flow.on_response(status, {bearer()}), AuthAction::accept) << status;
  }
}

}  // namespace
}  // namespace lazypull
