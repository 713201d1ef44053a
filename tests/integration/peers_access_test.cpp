// The harness itself: registries that want TLS, a password or a token.

#include "tests/integration/support/containerd.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/push.hpp"
#include "tests/integration/support/registry.hpp"
#include "tests/integration/support/tar.hpp"
#include "tests/integration/support/token_server.hpp"
#include "tests/support/process.hpp"
#include "tests/support/temp_dir.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

namespace lazypull::test {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;

// ctr speaks plain HTTP to loopback whatever its TLS flags say, unless hosts.toml says otherwise.
class TlsTest : public testing::Test {
 protected:
  TempDir folder;
  Containerd containerd;

  ProcessResult pull(const Registry& registry, const std::string& reference, const std::string& settings) {
    write_file(folder / registry.host() / "hosts.toml", "server = \"https://" + registry.host() +
                                                            "\"\n[host.\"https://" + registry.host() +
                                                            "\"]\n" + settings);
    return containerd.ctr({"images", "pull", "--hosts-dir", folder.path(), reference});
  }
  static std::string quoted(const std::filesystem::path& path) { return '"' + path.string() + '"'; }
};

TEST_F(TlsTest, RegistryIsTrustedThroughItsAuthorityOnly) {
  Registry registry({.tls = true});
  const auto& files = registry.certificates();
  const auto reference = push(ImageBuilder().layer({tar::file("a", "1")}).build(), registry, "tests/tls:1");
  EXPECT_THAT(pull(registry, reference, "").err, HasSubstr("x509"));
  const auto trusting = pull(registry, reference, "ca = " + quoted(files.ca) + "\n");
  EXPECT_EQ(trusting.exit_code, 0) << trusting.err;
}

TEST_F(TlsTest, RegistryMayInsistOnClientCertificates) {
  Registry registry({.tls = true, .client_certificate = true});
  const auto& files = registry.certificates();
  const auto reference =
      push(ImageBuilder().layer({tar::file("a", "1")}).build(), registry, "tests/mutual:1");
  const auto authority = "ca = " + quoted(files.ca) + "\n";
  EXPECT_THAT(pull(registry, reference, authority).err, HasSubstr("certificate"));
  const auto known =
      pull(registry, reference,
           authority + "client = [[" + quoted(files.client) + ", " + quoted(files.client_key) + "]]\n");
  EXPECT_EQ(known.exit_code, 0) << known.err;
}

TEST(BasicRegistry, WantsThePassword) {
  Registry registry({.basic = Credentials{"bob", "builder"}});
  Containerd containerd;
  const auto reference = push(ImageBuilder().layer({tar::file("a", "1")}).build(), registry, "tests/basic:1");
  EXPECT_NE(containerd.ctr({"images", "pull", "--plain-http", reference}).exit_code, 0);
  EXPECT_NE(containerd.ctr({"images", "pull", "--plain-http", "--user", "bob:wrong", reference}).exit_code,
            0);
  containerd.ctr_ok({"images", "pull", "--plain-http", "--user", "bob:builder", reference});
}

class TokenTest : public testing::Test {
 protected:
  const Image image = ImageBuilder().layer({tar::file("a", "1")}).build();
  Containerd containerd;
};

TEST_F(TokenTest, AnybodyPullsWhatIsPublic) {
  TokenServer tokens;
  Registry registry({.tokens = &tokens});
  const auto open = registry.store(image, "public/app:1");
  const auto closed = registry.store(image, "private/app:1");
  containerd.ctr_ok({"images", "pull", "--plain-http", open});
  EXPECT_NE(containerd.ctr({"images", "pull", "--plain-http", closed}).exit_code, 0);
  EXPECT_THAT(tokens.requests(),
              Contains(AllOf(Field(&TokenRequest::method, "GET"), Field(&TokenRequest::user, ""),
                             Field(&TokenRequest::service, TokenServer::service),
                             Field(&TokenRequest::scopes, ElementsAre("repository:public/app:pull")),
                             Field(&TokenRequest::status, 200))));
}

TEST_F(TokenTest, TheAccountPullsAndPushesEverything) {
  TokenServer tokens;
  Registry registry({.tokens = &tokens});
  const auto reference = push(image, registry, "private/app:1");
  tokens.reset_log();
  containerd.ctr_ok({"images", "pull", "--plain-http", "--user", "alice:wonderland", reference});
  EXPECT_THAT(tokens.requests(),
              Contains(AllOf(Field(&TokenRequest::method, "POST"), Field(&TokenRequest::user, "alice"),
                             Field(&TokenRequest::grant_type, "password"))));
  EXPECT_NE(containerd.ctr({"images", "pull", "--plain-http", "--user", "alice:wrong", reference}).exit_code,
            0);
}

TEST_F(TokenTest, OlderServersKnowGetOnly) {
  TokenServer tokens({.oauth = false, .access_token_field = true});
  Registry registry({.tokens = &tokens});
  const auto reference = registry.store(image, "private/app:1");
  containerd.ctr_ok({"images", "pull", "--plain-http", "--user", "alice:wonderland", reference});
  EXPECT_THAT(tokens.requests(),
              Contains(AllOf(Field(&TokenRequest::method, "GET"), Field(&TokenRequest::user, "alice"),
                             Field(&TokenRequest::status, 200))));
}

}  // namespace
}  // namespace lazypull::test
