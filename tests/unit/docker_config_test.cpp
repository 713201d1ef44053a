#include "transport/docker_config.hpp"

#include "engine/error.hpp"
#include "tests/support/coroutine.hpp"
#include "tests/support/temp_dir.hpp"
#include "transport/base64.hpp"

#include <gtest/gtest.h>

#include <map>

namespace lazypull {
namespace {

// user:pass, other:word
constexpr std::string_view user_pass = "dXNlcjpwYXNz";

std::string auths(const std::string& entries) {
  return R"({"auths": {)" + entries + "}}";
}

Credentials find(const std::string& json, std::string_view domain,
                 std::string_view repository = "library/alpine") {
  return DockerConfig::parse(json, "config.json").find(domain, repository).value_or(Credentials());
}

std::string entry(const std::string& key, const std::string& user) {
  return "\"" + key + R"(": {"auth": ")" + base64_encode(user + ":pw") + "\"}";
}

TEST(DockerConfig, DecodesTheAuthField) {
  const auto found = find(auths(R"("registry.example.com": {"auth": ")" + std::string(user_pass) + "\"}"),
                          "registry.example.com");
  EXPECT_EQ(found.username, "user");
  EXPECT_EQ(found.password, "pass");
}

TEST(DockerConfig, PasswordsMayHaveColons) {
  const auto json = auths(R"("h": {"auth": ")" + base64_encode("user:a:b:c") + "\"}");
  EXPECT_EQ(find(json, "h").password, "a:b:c");
}

TEST(DockerConfig, TakesUsernameAndPasswordFields) {
  const auto found = find(auths(R"("h": {"username": "u", "password": "p"})"), "h");
  EXPECT_EQ(found.username, "u");
  EXPECT_EQ(found.password, "p");
}

TEST(DockerConfig, TakesIdentityAndRegistryTokens) {
  EXPECT_EQ(find(auths(R"("h": {"identitytoken": "it"})"), "h").identity_token, "it");
  EXPECT_EQ(find(auths(R"("h": {"registrytoken": "rt"})"), "h").registry_token, "rt");
}

TEST(DockerConfig, KnowsTheNamesOfDockerHub) {
  for (const auto* key :
       {"https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"}) {
    EXPECT_EQ(find(auths(entry(key, "hub")), "docker.io").username, "hub") << key;
  }
}

TEST(DockerConfig, UnderstandsEveryFormOfKey) {
  for (const auto* key : {"registry.example.com:5000", "https://registry.example.com:5000",
                          "https://registry.example.com:5000/v1/", "http://registry.example.com:5000/v2/",
                          "registry.example.com:5000/v2/", "registry.example.com:5000/"}) {
    EXPECT_EQ(find(auths(entry(key, "u")), "registry.example.com:5000").username, "u") << key;
  }
}

TEST(DockerConfig, TellsPortsApart) {
  const auto json = auths(entry("h", "plain") + "," + entry("h:5000", "ported"));
  EXPECT_EQ(find(json, "h").username, "plain");
  EXPECT_EQ(find(json, "h:5000").username, "ported");
  EXPECT_TRUE(find(json, "h:5001").empty());
}

TEST(DockerConfig, TheLongestPathThatFitsCounts) {
  const auto json =
      auths(entry("h", "host") + "," + entry("h/team", "team") + "," + entry("h/team/app", "app"));
  EXPECT_EQ(find(json, "h", "team/app").username, "app");
  EXPECT_EQ(find(json, "h", "team/app/sub").username, "app");
  EXPECT_EQ(find(json, "h", "team/application").username, "team");
  EXPECT_EQ(find(json, "h", "other").username, "host");
}

TEST(DockerConfig, IgnoresEntriesThatMeanNothing) {
  const auto json =
      auths(R"("a": {}, "b": {"auth": "!!!"}, "c": {"auth": "bm9jb2xvbg=="}, "d": 1, "e": {"auth": 5})");
  for (const auto* host : {"a", "b", "c", "d", "e"}) EXPECT_TRUE(find(json, host).empty()) << host;
}

TEST(DockerConfig, HasNoCredentialsWithoutAuths) {
  EXPECT_TRUE(find(R"({"credsStore": "desktop"})", "docker.io").empty());
  EXPECT_TRUE(find(R"({"auths": []})", "docker.io").empty());
}

TEST(DockerConfig, SaysWhichFileIsMalformedWithoutQuotingIt) {
  try {
    DockerConfig::parse(R"({"auths": {"h": {"auth": "c2VjcmV0)", "/home/me/config.json");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::invalid_argument);
    EXPECT_STREQ(error.what(), "/home/me/config.json: it is not valid JSON");
  }
}

TEST(DockerConfigPaths, ComeFromTheEnvironment) {
  std::map<std::string, std::string> variables = {{"HOME", "/home/me"}};
  const Environment environment = [&](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  };
  EXPECT_EQ(
      docker_config_paths(environment),
      (std::vector<std::string>{"/home/me/.docker/config.json", "/home/me/.config/containers/auth.json"}));
  variables = {{"REGISTRY_AUTH_FILE", "/a"}, {"DOCKER_CONFIG", "/d"}, {"XDG_RUNTIME_DIR", "/run/user/1"}};
  EXPECT_EQ(docker_config_paths(environment),
            (std::vector<std::string>{"/a", "/d/config.json", "/run/user/1/containers/auth.json"}));
}

TEST(DockerConfigCredentials, LooksThroughTheFilesInOrder) {
  const test::TempDir folder;
  test::write_file(folder / "second", auths(entry("h", "second") + "," + entry("other", "other")));
  test::write_file(folder / "first", auths(entry("h", "first")));
  DockerConfigCredentials store({folder / "missing", folder / "first", folder / "second"});
  test::run([](DockerConfigCredentials& from) -> Awaitable<> {
    const auto found = co_await from.find("h", "app");
    EXPECT_EQ(found.username, "first");
    const auto other = co_await from.find("other", "app");
    EXPECT_EQ(other.username, "other");
    const auto none = co_await from.find("unknown", "app");
    EXPECT_TRUE(none.empty());
  }(store));
}

TEST(Base64, RoundTrips) {
  for (const std::string_view text : {"", "f", "fo", "foo", "foob", "fooba", "foobar"}) {
    EXPECT_EQ(base64_decode(base64_encode(text)), text);
  }
  EXPECT_EQ(base64_encode("fooba"), "Zm9vYmE=");
  EXPECT_EQ(base64_decode("Zm9vYmE"), "fooba");
}

TEST(Base64, RefusesWhatIsNone) {
  for (const std::string_view bad : {"Z", "Zm9v!", "Zm9=v", "Zm9vY", "Zm 9v", "===="}) {
    EXPECT_FALSE(base64_decode(bad)) << bad;
  }
}

}  // namespace
}  // namespace lazypull
