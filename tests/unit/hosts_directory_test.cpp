// Which folder of a certs.d directory is about a registry, and what it may hold.
#include "transport/hosts_directory.hpp"

#include "engine/error.hpp"
#include "tests/support/temp_dir.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace lazypull {
namespace {

using test::write_file;
using testing::ElementsAre;
using testing::IsEmpty;

class HostsDirectory : public ::testing::Test {
 protected:
  /// A hosts.toml that can be told from others.
  void put(const std::string& folder, const std::string& name) {
    write_file(root / (folder + "/hosts.toml"), "server = \"https://" + name + "\"");
  }
  std::string found(std::string_view registry) {
    const auto hosts = load_hosts({(root / "first").string(), (root / "second").string()}, registry);
    return hosts.empty() ? "none" : hosts.back().origin ? hosts.back().origin->host : "registry";
  }

  test::TempDir root{"hosts"};
};

TEST_F(HostsDirectory, KnowsNothingWhereThereIsNone) {
  EXPECT_EQ(found("registry.example.com"), "none");
}

TEST_F(HostsDirectory, PrefersTheNameWithUnderlinesThenTheNameThenTheDefault) {
  put("first/_default", "default");
  EXPECT_EQ(found("registry.example.com:5000"), "default");
  EXPECT_EQ(found("registry.example.com"), "default");
  put("first/registry.example.com:5000", "as-it-is");
  EXPECT_EQ(found("registry.example.com:5000"), "as-it-is");
  put("first/registry.example.com_5000_", "underlines");
  EXPECT_EQ(found("registry.example.com:5000"), "underlines");
  put("first/registry.example.com", "other-port");
  EXPECT_EQ(found("registry.example.com:5000"), "underlines");
  EXPECT_EQ(found("registry.example.com"), "other-port");
}

TEST_F(HostsDirectory, KnowsDockerHubByItsDomain) {
  put("first/docker.io", "hub");
  EXPECT_EQ(found("docker.io"), "hub");
}

TEST_F(HostsDirectory, TakesTheFirstDirectoryThatKnowsTheRegistry) {
  put("second/registry.example.com", "second");
  EXPECT_EQ(found("registry.example.com"), "second");
  put("first/_default", "default");
  EXPECT_EQ(found("registry.example.com"), "default");
}

TEST_F(HostsDirectory, NeverLeavesTheDirectory) {
  put("hosts", "outside");
  EXPECT_EQ(found("../hosts"), "none");
  EXPECT_EQ(found(".."), "none");
  EXPECT_EQ(found(""), "none");
}

TEST_F(HostsDirectory, TakesCertificatesInDockersLayout) {
  const auto folder = root / "first/registry.example.com";
  for (const auto* name : {"b.crt", "a.crt", "client.cert", "client.key", "both.cert", "readme.txt"}) {
    write_file(folder / name, "x");
  }
  const auto hosts = load_hosts({(root / "first").string()}, "registry.example.com");
  ASSERT_EQ(hosts.size(), 1U);
  EXPECT_FALSE(hosts[0].origin);
  EXPECT_THAT(hosts[0].ca_files, ElementsAre(folder / "a.crt", folder / "b.crt"));
  EXPECT_THAT(hosts[0].clients,
              ElementsAre(ClientCertificate{folder / "both.cert", ""},
                          ClientCertificate{folder / "client.cert", folder / "client.key"}));
}

TEST_F(HostsDirectory, AHostsTomlGoesBeforeCertificates) {
  write_file(root / "first/registry.example.com/ca.crt", "x");
  put("first/registry.example.com", "toml");
  const auto hosts = load_hosts({(root / "first").string()}, "registry.example.com");
  EXPECT_THAT(hosts.at(0).ca_files, IsEmpty());
}

TEST_F(HostsDirectory, NamesTheFileThatItCannotUse) {
  const auto file = root / "first/registry.example.com/hosts.toml";
  write_file(file, "server = 1");
  try {
    found("registry.example.com");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), file.string() + ": server: it is not a string");
  }
  write_file(root / "first/other.example.com", "a file, not a folder");
  try {
    found("other.example.com");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::invalid_argument);
    EXPECT_EQ(error.message().find((root / "first/other.example.com").string()), 0U) << error.message();
  }
}

TEST(DefaultHostsDirectories, AreThoseOfNerdctl) {
  const std::map<std::string, std::string> variables = {{"HOME", "/home/me"}};
  const Environment environment = [&](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  };
  EXPECT_THAT(default_hosts_directories(environment, true),
              ElementsAre("/etc/containerd/certs.d", "/etc/docker/certs.d"));
  EXPECT_THAT(default_hosts_directories(environment, false),
              ElementsAre("/home/me/.config/containerd/certs.d", "/home/me/.config/docker/certs.d",
                          "/etc/containerd/certs.d", "/etc/docker/certs.d"));
}

}  // namespace
}  // namespace lazypull
