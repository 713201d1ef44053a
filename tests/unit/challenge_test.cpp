#include "transport/challenge.hpp"

#include <gtest/gtest.h>

namespace lazypull {
namespace {

using Parameters = std::vector<std::pair<std::string, std::string>>;

std::vector<Challenge> parse(std::string_view header) {
  return parse_challenges(std::vector<std::string_view>(1, header));
}

TEST(Challenge, OfARegistryHasRealmServiceAndScope) {
  const auto challenges = parse(
      R"(Bearer realm="https://auth.example.com/token",service="registry.example.com",scope="repository:app:pull,push")");
  ASSERT_EQ(challenges.size(), 1U);
  EXPECT_EQ(challenges[0].scheme, "bearer");
  EXPECT_EQ(challenges[0].parameter("realm"), "https://auth.example.com/token");
  EXPECT_EQ(challenges[0].parameter("service"), "registry.example.com");
  EXPECT_EQ(challenges[0].parameter("scope"), "repository:app:pull,push");
  EXPECT_EQ(challenges[0].parameter("error"), std::nullopt);
}

TEST(Challenge, SchemesAndNamesAreCaseInsensitive) {
  const auto challenges = parse(R"(BEARER Realm="X")");
  ASSERT_EQ(challenges.size(), 1U);
  EXPECT_EQ(challenges[0].scheme, "bearer");
  EXPECT_EQ(challenges[0].parameter("realm"), "X");
}

TEST(Challenge, SeveralMayShareAHeader) {
  const auto challenges = parse(R"(Basic realm="a, b", Negotiate, Bearer realm="c", service=d)");
  ASSERT_EQ(challenges.size(), 3U);
  EXPECT_EQ(challenges[0].parameters, (Parameters{{"realm", "a, b"}}));
  EXPECT_EQ(challenges[1].scheme, "negotiate");
  EXPECT_TRUE(challenges[1].parameters.empty());
  EXPECT_EQ(challenges[2].parameters, (Parameters{{"realm", "c"}, {"service", "d"}}));
}

TEST(Challenge, SeveralHeadersAreReadInOrder) {
  const auto challenges = parse_challenges({R"(Basic realm="a")", R"(Bearer realm="b")"});
  ASSERT_EQ(challenges.size(), 2U);
  EXPECT_EQ(challenges[0].scheme, "basic");
  EXPECT_EQ(challenges[1].scheme, "bearer");
}

TEST(Challenge, QuotedPairsStandForTheirSecondCharacter) {
  EXPECT_EQ(parse(R"(Basic realm="he\"l\\lo")")[0].parameter("realm"), R"(he"l\lo)");
}

TEST(Challenge, MayHaveAToken68InsteadOfParameters) {
  const auto challenges = parse(R"(Negotiate oYG+/x==, Basic realm=x)");
  ASSERT_EQ(challenges.size(), 2U);
  EXPECT_EQ(challenges[0].token68, "oYG+/x==");
  EXPECT_EQ(challenges[1].parameter("realm"), "x");
}

TEST(Challenge, ToleratesMissingQuotesCommasAndExtraSpaces) {
  const auto challenges =
      parse("  ,Bearer   realm = https://a.example.com/token , , service = \"s\" scope=x ,");
  ASSERT_EQ(challenges.size(), 1U);
  EXPECT_EQ(challenges[0].parameters,
            (Parameters{{"realm", "https://a.example.com/token"}, {"service", "s"}, {"scope", "x"}}));
}

TEST(Challenge, EmptyValuesAreValues) {
  const auto challenges = parse(R"(Bearer realm="",service=x)");
  ASSERT_EQ(challenges.size(), 1U);
  EXPECT_EQ(challenges[0].parameter("realm"), "");
  EXPECT_EQ(challenges[0].parameter("service"), "x");
}

TEST(Challenge, TheFirstOfTwoEqualNamesCounts) {
  EXPECT_EQ(parse("Bearer realm=a,realm=b")[0].parameter("realm"), "a");
}

TEST(Challenge, AnUnterminatedQuoteEndsTheHeaderWithoutThatParameter) {
  const auto challenges = parse(R"(Bearer service="s",realm="https://a)");
  ASSERT_EQ(challenges.size(), 1U);
  EXPECT_EQ(challenges[0].parameters, (Parameters{{"service", "s"}}));
}

TEST(Challenge, NonsenseIsNoChallenge) {
  EXPECT_TRUE(parse("").empty());
  EXPECT_TRUE(parse(" , ,").empty());
  EXPECT_TRUE(parse("\"Bearer\" realm=x").empty());
  EXPECT_TRUE(parse("=").empty());
  EXPECT_TRUE(parse_challenges({}).empty());
}

TEST(Challenge, AreBoundedInNumberAndSize) {
  std::string many;
  for (int i = 0; i < 100; ++i) many += "Scheme" + std::to_string(i) + ", ";
  EXPECT_EQ(parse(many).size(), 16U);
  std::string wide = "Bearer ";
  for (int i = 0; i < 100; ++i) wide += "p" + std::to_string(i) + "=v,";
  ASSERT_EQ(parse(wide).size(), 1U);
  EXPECT_EQ(parse(wide)[0].parameters.size(), 32U);
  EXPECT_TRUE(parse("Bearer realm=\"" + std::string(20000, 'a') + "\"")[0].parameters.empty());
}

}  // namespace
}  // namespace lazypull
