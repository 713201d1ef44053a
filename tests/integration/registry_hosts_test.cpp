// Registries as nodes reach them: mirrors and certificates of hosts.toml, credential helpers, proxies, and
// large layers in parts, all with Debian's docker-registry.

#include "tests/integration/support/embedded.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/push.hpp"
#include "tests/integration/support/registry.hpp"
#include "tests/support/connect_proxy.hpp"

#include <boost/json.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

namespace lazypull::test {
namespace {

using testing::Each;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

const Credentials alice{"alice", "wonderland"};

Image image_of(std::size_t layer_bytes) {
  ImageBuilder builder;
  for (unsigned i = 0; i < 3; ++i) {
    builder.layer({tar::file("file" + std::to_string(i), tar::noise(layer_bytes, i + 1))}, Compression::none);
  }
  return builder.build();
}

class RegistryHosts : public ::testing::Test {
 protected:
  /// The hosts.toml of a registry.
  void configure(std::string host, const std::string& text) {
    const auto colon = host.find(':');
    if (colon != std::string::npos) host = host.substr(0, colon) + "_" + host.substr(colon + 1) + "_";
    write_file(folder / (host + "/hosts.toml"), text);
  }
  static std::string host(const std::string& url, const std::string& fields = "") {
    return "[host.\"" + url + "\"]\n" + fields + "\n";
  }
  static std::string url(const Registry& registry) {
    return (registry.options().tls ? "https://" : "http://") + registry.host();
  }

  PullOutcome pull(const std::string& reference, Argv more = {}, ProcessOptions options = {}) {
    return lazypull.run(arguments(reference, std::move(more)), std::move(options));
  }
  Argv arguments(const std::string& reference, Argv more) const {
    Argv all{"pull", reference, "--hosts-dir", folder.path()};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  /// The image is there, whole and as its digests say.
  void expect_pulled(const PullOutcome& outcome) {
    ASSERT_EQ(outcome.process.exit_code, 0) << outcome.process.err;
    EXPECT_THAT(outcome.decisions(), Each(std::string("download")));
    const auto store = lazypull.open();
    EXPECT_THAT(faults(*store), IsEmpty());
  }

  TempDir folder{"certs.d"};
  StoreLazypull lazypull;
};

TEST_F(RegistryHosts, AMirrorServesAnImageWhoseRegistryIsUnreachable) {
  Registry mirror;
  mirror.store(image_of(50'000), "app:1");
  configure("127.0.0.1:1", host(url(mirror)));
  expect_pulled(pull("127.0.0.1:1/app:1"));
  const auto requests = mirror.requests();
  ASSERT_FALSE(requests.empty());
  for (const auto& request : requests) EXPECT_THAT(request.path, HasSubstr("ns=127.0.0.1%3A1"));
}

TEST_F(RegistryHosts, AMirrorWithoutTheImageIsPassedOver) {
  Registry mirror;
  Registry registry;
  const auto reference = registry.store(image_of(50'000), "app:1");
  configure(registry.host(), host(url(mirror)));
  expect_pulled(pull(reference));
  EXPECT_THAT(mirror.fetched_blobs(), IsEmpty());
  EXPECT_THAT(registry.fetched_blobs(), SizeIs(4));
}

TEST_F(RegistryHosts, AMirrorThatIsDownCostsOneAttempt) {
  Registry registry;
  const auto reference = registry.store(image_of(50'000), "app:1");
  configure(registry.host(), host("http://127.0.0.1:1"));
  const auto outcome = pull(reference, {"--debug"});
  expect_pulled(outcome);
  const auto& log = outcome.process.err;
  const std::string attempt = "http://127.0.0.1:1/";
  const auto first = log.find(attempt);
  ASSERT_NE(first, std::string::npos) << log;
  const auto end_of_line = log.find('\n', first);
  EXPECT_EQ(log.find(attempt, end_of_line), std::string::npos) << log;
}

TEST_F(RegistryHosts, AMirrorThatDiesInTheMiddleIsFollowedByTheRegistry) {
  Registry mirror;
  Registry registry;
  const auto image = image_of(6'000'000);
  mirror.store(image, "app:1");
  const auto reference = registry.store(image, "app:1");
  configure(registry.host(), host(url(mirror)));
  auto process = lazypull.start(arguments(reference, {"--debug", "--limit-rate", "4M"}));
  wait_until([&] { return process.err().find("/blobs/" + image.config_digest) != std::string::npos; },
             "the config to have been read");
  mirror.stop();
  ASSERT_EQ(process.wait(std::chrono::seconds(60)), 0) << process.err();
  EXPECT_THAT(registry.fetched_blobs(), Not(IsEmpty()));
  const auto store = lazypull.open();
  EXPECT_THAT(faults(*store), IsEmpty());
}

TEST_F(RegistryHosts, AMirrorThatServesSomethingElseIsFollowedByTheRegistry) {
  Registry mirror;
  Registry registry;
  const auto image = image_of(6'000'000);
  mirror.store(image, "app:1");
  const auto reference = registry.store(image, "app:1");
  for (const auto& layer : image.layers) {
    auto bytes = layer.blob;
    bytes[bytes.size() / 2] = static_cast<char>(~bytes[bytes.size() / 2]);
    write_file(mirror.blob_file(layer.digest), bytes);
  }
  configure(registry.host(), host(url(mirror)));
  const auto outcome = pull(reference);
  ASSERT_EQ(outcome.process.exit_code, 0) << outcome.process.err;
  const auto store = lazypull.open();
  EXPECT_THAT(faults(*store), IsEmpty());
}

TEST_F(RegistryHosts, APullThroughCacheFetchesFromTheRegistryItself) {
  Registry registry;
  registry.store(image_of(50'000), "app:1");
  Registry cache({.proxy_of = url(registry)});
  configure("registry.example.com", "server = \"http://127.0.0.1:1\"\n" + host(url(cache)));
  expect_pulled(pull("registry.example.com/app:1"));
  EXPECT_THAT(registry.fetched_blobs("lazypull"), IsEmpty());
  EXPECT_THAT(registry.fetched_blobs(), Not(IsEmpty()));
}

TEST_F(RegistryHosts, TheDefaultIsForEveryRegistry) {
  Registry mirror;
  mirror.store(image_of(50'000), "app:1");
  configure("_default", host(url(mirror)));
  expect_pulled(pull("registry.example.com/app:1"));
}

TEST_F(RegistryHosts, AnAuthorityAndAClientCertificate) {
  Registry registry({.tls = true, .client_certificate = true});
  const auto reference = push(image_of(50'000), registry, "app:1");
  const auto& files = registry.certificates();
  EXPECT_NE(pull(reference).process.exit_code, 0);
  configure(registry.host(), "server = \"" + url(registry) + "\"\nca = \"" + files.ca.string() +
                                 "\"\nclient = [[\"" + files.client.string() + "\", \"" +
                                 files.client_key.string() + "\"]]\n");
  expect_pulled(pull(reference));
}

TEST_F(RegistryHosts, CertificatesInTheLayoutOfDocker) {
  Registry registry({.tls = true, .client_certificate = true});
  const auto reference = push(image_of(50'000), registry, "app:1");
  const auto& files = registry.certificates();
  const auto its = folder / registry.host();
  write_file(its / "ca.crt", read_file(files.ca));
  write_file(its / "client.cert", read_file(files.client));
  write_file(its / "client.key", read_file(files.client_key));
  expect_pulled(pull(reference));
}

TEST_F(RegistryHosts, ABrokenFileIsNamed) {
  configure("registry.example.com", "capabilities = [\"fly\"]");
  const auto outcome = pull("registry.example.com/app:1");
  EXPECT_EQ(outcome.error_code(), "invalid_argument");
  EXPECT_THAT(outcome.error_message(), HasSubstr("registry.example.com/hosts.toml: capabilities: \"fly\""));
}

TEST_F(RegistryHosts, TheDirectoryMayComeFromTheEnvironment) {
  Registry mirror;
  mirror.store(image_of(50'000), "app:1");
  configure("registry.example.com", host(url(mirror)));
  const ProcessOptions environment{.env = {{"LAZYPULL_HOSTS_DIR", folder.path()}}};
  EXPECT_EQ(lazypull.run({"pull", "registry.example.com/app:1"}, environment).process.exit_code, 0);
}

TEST_F(RegistryHosts, ACredentialHelperKnowsThePassword) {
  Registry registry({.basic = alice});
  const auto reference = push(image_of(50'000), registry, "app:1");
  const auto helper = folder / "bin/docker-credential-test";
  write_file(helper, "#!/bin/sh\nread -r server\n[ \"$1 $server\" = \"get " + registry.host() +
                         "\" ] || { echo credentials not found in native keychain; exit 1; }\n"
                         "echo '{\"Username\": \"alice\", \"Secret\": \"wonderland\"}'\n");
  std::filesystem::permissions(helper, std::filesystem::perms::owner_all);
  write_file(folder / "docker/config.json", R"({"credsStore": "test"})");
  const std::string path = (folder / "bin").string() + ":" + std::getenv("PATH");
  const ProcessOptions environment{.env = {{"DOCKER_CONFIG", folder / "docker"}, {"PATH", path}}};
  const auto outcome = pull(reference, {"--debug"}, environment);
  expect_pulled(outcome);
  EXPECT_THAT(outcome.process.err, Not(HasSubstr("wonderland")));
  const auto refused = pull(reference, {}, {.env = {{"DOCKER_CONFIG", folder / "docker"}}});
  EXPECT_THAT(refused.error_message(), HasSubstr("docker-credential-test"));
}

TEST_F(RegistryHosts, AProxyIsUsedUnlessTheHostIsExempt) {
  Registry registry({.tls = true});
  push(image_of(50'000), registry, "app:1");
  const auto port = registry.host().substr(registry.host().find(':') + 1);
  const ConnectProxy proxy(static_cast<std::uint16_t>(std::stoul(port)), "Basic dXNlcjpzM2NyZXQ=");
  std::map<std::string, std::string> variables = {{"HTTPS_PROXY", "http://user:s3cret@" + proxy.host()}};
  // The certificate is for localhost, which no proxy is asked for; verification is not what is tested here.
  const auto outcome = pull("registry.test/app:1", {"--skip-verify", "--debug"}, {.env = variables});
  expect_pulled(outcome);
  EXPECT_THAT(proxy.targets(), Each(std::string("registry.test:443")));
  EXPECT_THAT(outcome.process.err, Not(HasSubstr("s3cret")));
  const auto before = proxy.targets().size();
  variables["NO_PROXY"] = ".test";
  EXPECT_NE(pull("registry.test/app:2", {"--skip-verify"}, {.env = variables}).process.exit_code, 0);
  EXPECT_EQ(proxy.targets().size(), before);
}

TEST_F(RegistryHosts, LargeLayersComeInBoundedPartsAndAreTheSame) {
  Registry registry;
  const auto image = image_of(3'000'000);
  const auto reference = registry.store(image, "app:1");
  expect_pulled(pull(reference, {"--concurrent-layer-fetch-buffer", "512k"}));
  std::uint64_t bytes = 0;
  std::size_t parts = 0;
  for (const auto& request : registry.requests()) {
    if (request.status != 206) continue;
    ++parts;
    bytes += request.bytes;
    EXPECT_LE(request.bytes, 512U << 10U);
  }
  std::uint64_t all = 0;
  for (const auto& layer : image.layers) all += layer.blob.size();
  EXPECT_EQ(bytes, all) << "each byte once";
  EXPECT_EQ(parts, 18U);
}

}  // namespace
}  // namespace lazypull::test
