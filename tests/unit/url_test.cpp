#include "transport/url.hpp"

#include "engine/error.hpp"

#include <gtest/gtest.h>

namespace lazypull {
namespace {

std::string refusal(std::string_view text) {
  try {
    Url::parse(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::bad_response);
    return error.message();
  }
  return "accepted";
}

TEST(Url, HasAnOriginAndATarget) {
  const auto url = Url::parse("https://Registry.Example.com/v2/a%2Fb?x=1&y=%41");
  EXPECT_EQ(url.origin(), (Origin{true, "registry.example.com", 443}));
  EXPECT_EQ(url.target(), "/v2/a%2Fb?x=1&y=%41");
  EXPECT_EQ(url.origin().authority(), "registry.example.com");
  EXPECT_EQ(url.origin().host_port(), "registry.example.com:443");
}

TEST(Url, KeepsAnExplicitPortUnlessItIsTheSchemesOwn) {
  EXPECT_EQ(Url::parse("http://h:5000/").origin().authority(), "h:5000");
  EXPECT_EQ(Url::parse("http://h:80/").origin().authority(), "h");
  EXPECT_EQ(Url::parse("https://h:80/").origin().authority(), "h:80");
  EXPECT_EQ(Url::parse("http://h:/x").origin().port, 80);
}

TEST(Url, UnderstandsIpv6Literals) {
  const auto url = Url::parse("http://[::1]:5000/v2/");
  EXPECT_EQ(url.origin(), (Origin{false, "::1", 5000}));
  EXPECT_EQ(url.origin().authority(), "[::1]:5000");
}

TEST(Url, HasATargetEvenWithoutAPath) {
  EXPECT_EQ(Url::parse("http://h").target(), "/");
  EXPECT_EQ(Url::parse("http://h?a=b").target(), "/?a=b");
}

TEST(Url, DropsUserinfoAndFragment) {
  const auto url = Url::parse("https://user:secret@h/x?q#frag");
  EXPECT_EQ(url.str(), "https://h/x?q");
}

TEST(Url, EncodesWhatServersForgetToEncode) {
  EXPECT_EQ(Url::parse("http://h/a b?c={d}|e").target(), "/a%20b?c=%7Bd%7D%7Ce");
}

TEST(Url, IsShownWithoutItsQuery) {
  EXPECT_EQ(Url::parse("https://h/x?X-Amz-Signature=secret").display(), "https://h/x");
}

TEST(Url, RefusesWhatIsNotHttp) {
  EXPECT_EQ(refusal("ftp://h/x"), "URL \"ftp://h/x\": only http and https are supported");
  EXPECT_NE(refusal("/v2/"), "accepted");
  EXPECT_NE(refusal("registry.example.com"), "accepted");
  EXPECT_NE(refusal("https:///x"), "accepted");
  EXPECT_NE(refusal("file:///etc/passwd"), "accepted");
  EXPECT_NE(refusal(""), "accepted");
}

TEST(Url, RefusesBadPortsAndControlCharacters) {
  EXPECT_NE(refusal("http://h:0/"), "accepted");
  EXPECT_NE(refusal("http://h:65536/"), "accepted");
  EXPECT_NE(refusal("http://h/a\r\nX: y"), "accepted");
  EXPECT_NE(refusal("http://h\n/"), "accepted");
  EXPECT_NE(refusal("http://h%0d%0a/"), "accepted");
  EXPECT_NE(refusal("http://h/" + std::string(20000, 'a')), "accepted");
}

TEST(Url, NamesNoSecretsWhenItRefuses) {
  const auto message = refusal("ftp://user:secret@h/x?token=secret#secret");
  EXPECT_EQ(message, "URL \"ftp://h/x\": only http and https are supported");
}

TEST(Url, ResolvesReferencesAsALocationMeansThem) {
  const auto base = Url::parse("https://h:8443/v2/app/blobs/x?old=1");
  EXPECT_EQ(base.resolve("https://cdn.example.com/y?s=%2B").str(), "https://cdn.example.com/y?s=%2B");
  EXPECT_EQ(base.resolve("//cdn.example.com/y").str(), "https://cdn.example.com/y");
  EXPECT_EQ(base.resolve("/storage/y?s=1").str(), "https://h:8443/storage/y?s=1");
  EXPECT_EQ(base.resolve("y").str(), "https://h:8443/v2/app/blobs/y");
  EXPECT_EQ(base.resolve("../y").str(), "https://h:8443/v2/app/y");
  EXPECT_EQ(base.resolve("?new=1").str(), "https://h:8443/v2/app/blobs/x?new=1");
  EXPECT_THROW(base.resolve("javascript:alert(1)"), Error);
  EXPECT_THROW(base.resolve("http://[::1"), Error);
}

TEST(Url, AddsParametersToItsQuery) {
  const auto url = Url::parse("https://auth.example.com/token");
  const auto with = url.with_parameter("service", "a b").with_parameter("scope", "repository:x:pull");
  EXPECT_EQ(with.target(), "/token?service=a%20b&scope=repository%3Ax%3Apull");
}

TEST(Origin, IsMadeOfAHostAndAPort) {
  EXPECT_EQ(parse_origin(true, "registry.example.com"), (Origin{true, "registry.example.com", 443}));
  EXPECT_EQ(parse_origin(false, "localhost:5000"), (Origin{false, "localhost", 5000}));
  EXPECT_EQ(parse_origin(false, "[::1]:5000"), (Origin{false, "::1", 5000}));
  for (const auto* bad : {"", "a/b", "u@h", "h:x", "h:70000", "a b"}) {
    EXPECT_THROW(parse_origin(true, bad), Error) << bad;
  }
}

TEST(PrintableUrl, HidesUserinfoQueriesAndControlCharacters) {
  EXPECT_EQ(printable_url("https://u:p@h/x?secret"), "https://h/x");
  EXPECT_EQ(printable_url("https://h/a@b"), "https://h/a@b");
  EXPECT_EQ(printable_url("u:p@h"), "h");
  EXPECT_EQ(printable_url("a\x1b[1mb"), "a?[1mb");
}

}  // namespace
}  // namespace lazypull
