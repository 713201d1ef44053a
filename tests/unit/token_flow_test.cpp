#include "transport/token_flow.hpp"

#include "engine/error.hpp"

#include <gtest/gtest.h>

namespace lazypull {

void PrintTo(TokenStep step, std::ostream* out) {
  *out << to_string(step);
}

namespace {

using std::chrono::seconds;

TokenRequest request() {
  return {Url::parse("https://auth.example.com/token?x=1"),
          "registry.example.com",
          {"repository:a:pull", "repository:b:pull"}};
}
Credentials account() {
  return {"us er", "p&ss", {}, {}};
}
Credentials identity() {
  return {{}, {}, "refresh", {}};
}

TEST(TokenFlow, IsAnonymousWithoutCredentials) {
  TokenFlow flow{Credentials()};
  EXPECT_EQ(flow.begin(), TokenStep::get_anonymous);
  EXPECT_EQ(flow.on_status(200), TokenStep::accept);
}

TEST(TokenFlow, FailsWhenAnonymousTokensAreRefused) {
  for (const int status : {400, 401, 403, 404, 405, 302}) {
    TokenFlow flow{Credentials()};
    flow.begin();
    EXPECT_EQ(flow.on_status(status), TokenStep::fail) << status;
  }
}

TEST(TokenFlow, PostsThePasswordFirst) {
  TokenFlow flow(account());
  EXPECT_EQ(flow.begin(), TokenStep::post_password);
  EXPECT_EQ(flow.on_status(200), TokenStep::accept);
}

TEST(TokenFlow, FallsBackToGetWhereThereIsNoPost) {
  for (const int status : {400, 401, 404, 405, 302}) {
    TokenFlow flow(account());
    flow.begin();
    EXPECT_EQ(flow.on_status(status), TokenStep::get_basic) << status;
    EXPECT_EQ(flow.on_status(401), TokenStep::fail) << status;
  }
}

TEST(TokenFlow, TakesOtherRefusalsAtTheirWord) {
  for (const int status : {403, 429, 500, 503}) {
    TokenFlow flow(account());
    flow.begin();
    EXPECT_EQ(flow.on_status(status), TokenStep::fail) << status;
  }
}

TEST(TokenFlow, PostsAnIdentityTokenAndHasNoOtherWay) {
  TokenFlow flow(identity());
  EXPECT_EQ(flow.begin(), TokenStep::post_refresh_token);
  EXPECT_EQ(flow.on_status(401), TokenStep::fail);
}

TEST(TokenRequestMessage, OfGetHasServiceAndScopesInTheQuery) {
  const auto get = make_token_request(TokenStep::get_anonymous, request(), {});
  EXPECT_EQ(get.method, "GET");
  EXPECT_EQ(
      get.url.target(),
      "/token?x=1&service=registry.example.com&scope=repository%3Aa%3Apull&scope=repository%3Ab%3Apull");
  EXPECT_FALSE(get.fields.find("Authorization"));
  EXPECT_EQ(get.body, "");
}

TEST(TokenRequestMessage, OfGetWithBasicHasAnAuthorizationHeader) {
  const auto get = make_token_request(TokenStep::get_basic, request(), account());
  EXPECT_EQ(get.fields.find("Authorization"), "Basic dXMgZXI6cCZzcw==");
}

TEST(TokenRequestMessage, OfPostHasThePasswordInTheBodyAlone) {
  const auto post = make_token_request(TokenStep::post_password, request(), account());
  EXPECT_EQ(post.method, "POST");
  EXPECT_EQ(post.url, request().realm);
  EXPECT_EQ(post.fields.find("Content-Type"), "application/x-www-form-urlencoded");
  EXPECT_EQ(post.body,
            "grant_type=password&client_id=lazypull&service=registry.example.com&"
            "scope=repository%3Aa%3Apull%20repository%3Ab%3Apull&username=us%20er&password=p%26ss");
  EXPECT_FALSE(post.fields.find("Authorization"));
}

TEST(TokenRequestMessage, OfPostMayRefresh) {
  const auto post = make_token_request(TokenStep::post_refresh_token, request(), identity());
  EXPECT_NE(post.body.find("grant_type=refresh_token&"), std::string::npos);
  EXPECT_NE(post.body.find("&refresh_token=refresh"), std::string::npos);
}

TEST(TokenAnswer, HasTokenOrAccessToken) {
  EXPECT_EQ(parse_token(R"({"token": "a", "access_token": "b"})").value, "a");
  EXPECT_EQ(parse_token(R"({"access_token": "b"})").value, "b");
  EXPECT_EQ(parse_token(R"({"token": "", "access_token": "b"})").value, "b");
}

TEST(TokenAnswer, LivesForAMinuteAtLeast) {
  EXPECT_EQ(parse_token(R"({"token": "a"})").lifetime, seconds(60));
  EXPECT_EQ(parse_token(R"({"token": "a", "expires_in": 300})").lifetime, seconds(300));
  EXPECT_EQ(parse_token(R"({"token": "a", "expires_in": 300.5})").lifetime, seconds(300));
  EXPECT_EQ(parse_token(R"({"token": "a", "expires_in": 5})").lifetime, seconds(60));
  EXPECT_EQ(parse_token(R"({"token": "a", "expires_in": -5})").lifetime, seconds(60));
  EXPECT_EQ(parse_token(R"({"token": "a", "expires_in": "x"})").lifetime, seconds(60));
  EXPECT_EQ(parse_token(R"({"token": "a", "expires_in": 1e300})").lifetime, std::chrono::hours(24));
}

TEST(TokenAnswer, MustBeUsable) {
  for (const auto* bad : {"", "[]", "{}", R"({"token": 5})", R"({"token": ""})", R"({"token": "a b"})",
                          R"({"token": "a\r\nX: y"})", R"({"token": "é"})", "{\"token\": \"a\""}) {
    EXPECT_THROW(parse_token(bad), Error) << bad;
  }
}

}  // namespace
}  // namespace lazypull
