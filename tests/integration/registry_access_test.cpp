// How the registry is reached: plain HTTP, TLS with and without client certificates, Basic, Bearer tokens,
// and where the credentials come from.

#include "tests/integration/support/containerd_state.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/lazypull.hpp"
#include "tests/integration/support/push.hpp"
#include "tests/integration/support/registry.hpp"
#include "tests/integration/support/token_server.hpp"

#include <boost/json.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lazypull::test {
namespace {

using testing::Each;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const Credentials alice{"alice", "wonderland"};

Image small_image() {
  return ImageBuilder()
      .layer({tar::file("one", tar::noise(50'000, 1))})
      .layer({tar::file("two", tar::noise(50'000, 2))})
      .layer({tar::file("three", tar::noise(50'000, 3))})
      .build();
}

class RegistryAccess : public ::testing::Test {
 protected:
  PullOutcome pull(const std::string& reference, Argv more = {}, ProcessOptions options = {}) {
    Argv arguments{"pull", reference};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Lazypull(containerd).run(arguments, std::move(options));
  }

  void expect_pulled(const PullOutcome& outcome) {
    EXPECT_EQ(outcome.process.exit_code, 0) << outcome.process.err;
    if (outcome.process.exit_code == 0) EXPECT_THAT(outcome.decisions(), Each(std::string("download")));
  }

  void expect_denied(const PullOutcome& outcome) {
    EXPECT_EQ(outcome.process.exit_code, 4) << outcome.process.err;
    EXPECT_EQ(outcome.error_code(), "unauthorized");
    const auto state = read_state(containerd);
    EXPECT_THAT(state.images, IsEmpty());
    EXPECT_THAT(state.leases, IsEmpty());
  }

  /// A Docker configuration with credentials for the host; returns the environment that names it.
  ProcessOptions docker_config(const std::string& host, const Credentials& credentials) {
    const boost::json::object config{
        {"auths", {{host, {{"username", credentials.user}, {"password", credentials.password}}}}}};
    write_file(folder / "config.json", boost::json::serialize(config));
    return {.env = {{"DOCKER_CONFIG", folder.path()}}};
  }

  TempDir folder{"docker"};
  Containerd containerd;
};

TEST_F(RegistryAccess, TlsWithAnAuthorityOfOnesOwn) {
  Registry registry({.tls = true});
  const auto reference = push(small_image(), registry, "app:1");
  const auto refused = pull(reference, {"--tlscacert", make_certificates(folder.path()).ca});
  EXPECT_EQ(refused.process.exit_code, 5);
  EXPECT_EQ(refused.error_code(), "tls_failure");
  EXPECT_THAT(refused.error_message(), HasSubstr(registry.host()));
  expect_pulled(pull(reference, {"--tlscacert", registry.certificates().ca}));
}

TEST_F(RegistryAccess, TlsWithoutVerification) {
  Registry registry({.tls = true});
  expect_pulled(pull(push(small_image(), registry, "app:1"), {"--skip-verify"}));
}

TEST_F(RegistryAccess, TlsWithAClientCertificate) {
  Registry registry({.tls = true, .client_certificate = true});
  const auto reference = push(small_image(), registry, "app:1");
  const auto& files = registry.certificates();
  const auto refused = pull(reference, {"--tlscacert", files.ca});
  EXPECT_EQ(refused.process.exit_code, 5);
  expect_pulled(
      pull(reference, {"--tlscacert", files.ca, "--tlscert", files.client, "--tlskey", files.client_key}));
}

TEST_F(RegistryAccess, BasicCredentialsFromTheFlag) {
  Registry registry({.basic = alice});
  const auto reference = push(small_image(), registry, "app:1");
  expect_denied(pull(reference));
  expect_denied(pull(reference, {"--user", "alice:wrong"}));
  expect_pulled(pull(reference, {"--user", "alice:wonderland"}));
}

TEST_F(RegistryAccess, BasicCredentialsFromTheDockerConfiguration) {
  Registry registry({.basic = alice});
  const auto reference = push(small_image(), registry, "app:1");
  expect_denied(pull(reference, {}, docker_config("registry.example.com", alice)));
  expect_pulled(pull(reference, {}, docker_config(registry.host(), alice)));
}

TEST_F(RegistryAccess, AnAnonymousTokenForAPublicRepository) {
  TokenServer tokens;
  Registry registry({.tokens = &tokens});
  const auto reference = registry.store(small_image(), "public/app:1");
  expect_pulled(pull(reference));
  const auto requests = tokens.requests();
  ASSERT_EQ(requests.size(), 1U) << "one token serves the whole pull, however many requests need it at once";
  EXPECT_EQ(requests[0].method, "GET");
  EXPECT_EQ(requests[0].user, "");
  EXPECT_EQ(requests[0].scopes, std::vector<std::string>{"repository:public/app:pull"});
  EXPECT_EQ(requests[0].service, TokenServer::service);
}

TEST_F(RegistryAccess, ATokenForCredentials) {
  TokenServer tokens;
  Registry registry({.tokens = &tokens});
  const auto reference = registry.store(small_image(), "private/app:1");
  expect_denied(pull(reference));
  expect_denied(pull(reference, {"--user", "alice:wrong"}));
  tokens.reset_log();
  expect_pulled(pull(reference, {"--user", "alice:wonderland"}));
  ASSERT_EQ(tokens.requests().size(), 1U);
  EXPECT_EQ(tokens.requests()[0].method, "POST");
  EXPECT_EQ(tokens.requests()[0].grant_type, "password");
  EXPECT_EQ(tokens.requests()[0].user, "alice");
}

TEST_F(RegistryAccess, ATokenServerWithoutOAuthIsAskedByGet) {
  TokenServer tokens({.oauth = false, .access_token_field = true});
  Registry registry({.tokens = &tokens});
  const auto reference = registry.store(small_image(), "private/app:1");
  expect_pulled(pull(reference, {}, docker_config(registry.host(), alice)));
  const auto requests = tokens.requests();
  ASSERT_FALSE(requests.empty());
  EXPECT_EQ(requests.back().method, "GET");
  EXPECT_EQ(requests.back().user, "alice");
}

TEST_F(RegistryAccess, AnIdentityTokenIsExchanged) {
  TokenServer tokens;
  Registry registry({.tokens = &tokens});
  const auto reference = registry.store(small_image(), "private/app:1");
  const boost::json::object config{
      {"auths", {{registry.host(), {{"identitytoken", tokens.options().refresh_token}}}}}};
  write_file(folder / "config.json", boost::json::serialize(config));
  expect_pulled(pull(reference, {}, {.env = {{"DOCKER_CONFIG", folder.path()}}}));
  ASSERT_FALSE(tokens.requests().empty());
  EXPECT_EQ(tokens.requests().back().grant_type, "refresh_token");
}

TEST_F(RegistryAccess, NoSecretIsEverPrinted) {
  TokenServer tokens;
  Registry registry({.tokens = &tokens});
  const auto reference = registry.store(small_image(), "private/app:1");
  for (const auto* password : {"alice:wonderland", "alice:wr0ng-secret"}) {
    const auto outcome = pull(reference, {"--debug", "--user", password});
    for (const auto* secret : {"wonderland", "wr0ng-secret", "Bearer ey", "eyJ", "Basic YWxpY2U"}) {
      EXPECT_THAT(outcome.process.err, Not(HasSubstr(secret)));
      EXPECT_THAT(outcome.process.out, Not(HasSubstr(secret)));
    }
    EXPECT_THAT(outcome.process.err, HasSubstr("/v2/private/app/manifests/1")) << "--debug logs requests";
  }
}

}  // namespace
}  // namespace lazypull::test
