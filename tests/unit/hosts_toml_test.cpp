// The hosts.toml files of containerd (docs/hosts.md there), field by field.
#include "transport/hosts_toml.hpp"

#include "engine/error.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace lazypull {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

const std::string file = "/etc/containerd/certs.d/registry.example.com/hosts.toml";

std::vector<HostEntry> parse(std::string_view text) {
  return parse_hosts_toml(text, file);
}

std::string refusal(std::string_view text) {
  try {
    parse(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::invalid_argument);
    EXPECT_THAT(error.message(), StartsWith(file + ": "));
    return error.message().substr(file.size() + 2);
  }
  return "accepted";
}

HostEntry mirror(const std::string& fields) {
  return parse("[host.\"https://mirror.example.com\"]\n" + fields).at(0);
}

std::string url_of(const HostEntry& entry) {
  return entry.origin->str() + entry.api_root;
}

TEST(HostsToml, AFileWithoutHostsIsAboutTheRegistryItself) {
  const auto hosts = parse("");
  ASSERT_EQ(hosts.size(), 1U);
  EXPECT_FALSE(hosts[0].origin);
  EXPECT_EQ(hosts[0].api_root, "/v2");
  EXPECT_TRUE(hosts[0].resolve);
  EXPECT_TRUE(hosts[0].pull);
  EXPECT_FALSE(hosts[0].skip_verify);
}

TEST(HostsToml, HostsComeInTheOrderOfTheFileAndTheServerLast) {
  const auto hosts = parse(R"(
server = "https://registry.example.com"
[host."https://z.example.com"]
[host."https://a.example.com"]
[host."http://m.example.com:5000"]
)");
  ASSERT_EQ(hosts.size(), 4U);
  EXPECT_EQ(url_of(hosts[0]), "https://z.example.com/v2");
  EXPECT_EQ(url_of(hosts[1]), "https://a.example.com/v2");
  EXPECT_EQ(url_of(hosts[2]), "http://m.example.com:5000/v2");
  EXPECT_EQ(url_of(hosts[3]), "https://registry.example.com/v2");
}

TEST(HostsToml, TheOrderIsThatOfTheFirstMentionOfEachHost) {
  const auto hosts = parse(R"(
[host."https://z.example.com".header]
  X-Test = "1"
[host."https://a.example.com"]
[host."https://z.example.com"]
  skip_verify = true
)");
  ASSERT_EQ(hosts.size(), 3U);
  EXPECT_EQ(url_of(hosts[0]), "https://z.example.com/v2");
  EXPECT_EQ(hosts[0].skip_verify, true);
}

TEST(HostsToml, WithoutAServerTheRegistryItselfIsTheLastHost) {
  const auto hosts = parse("[host.\"https://mirror.example.com\"]\n");
  ASSERT_EQ(hosts.size(), 2U);
  EXPECT_FALSE(hosts[1].origin);
}

TEST(HostsToml, AUrlWithoutASchemeIsHttps) {
  EXPECT_EQ(url_of(parse("server = \"registry.example.com:5000\"").at(0)),
            "https://registry.example.com:5000/v2");
}

TEST(HostsToml, ThePathOfAUrlIsBeforeTheApiUnlessItOverridesIt) {
  const auto root = [](const std::string& url, const std::string& fields = "") {
    return parse("[host.\"" + url + "\"]\n" + fields).at(0).api_root;
  };
  EXPECT_EQ(root("https://m"), "/v2");
  EXPECT_EQ(root("https://m/"), "/v2");
  EXPECT_EQ(root("https://m/v2"), "/v2");
  EXPECT_EQ(root("https://m/v2/"), "/v2");
  EXPECT_EQ(root("https://m/proxy"), "/proxy/v2");
  EXPECT_EQ(root("https://m/a/../b//c"), "/b/c/v2");
  EXPECT_EQ(root("https://m/v2/proxy", "override_path = true"), "/v2/proxy");
  EXPECT_EQ(root("https://m", "override_path = true"), "");
}

TEST(HostsToml, CapabilitiesSayWhatAHostIsAskedFor) {
  const auto may = [](const std::string& list) {
    const auto host = mirror("capabilities = " + list);
    return std::string(host.resolve ? "resolve " : "") + (host.pull ? "pull" : "");
  };
  EXPECT_EQ(may(R"(["pull", "resolve", "push"])"), "resolve pull");
  EXPECT_EQ(may(R"(["pull"])"), "pull");
  EXPECT_EQ(may(R"(["Resolve"])"), "resolve ");
  EXPECT_EQ(may(R"(["push", "referrers"])"), "");
  EXPECT_EQ(may("[]"), "resolve pull");
}

TEST(HostsToml, AuthoritiesAreOneFileOrAListRelativeToTheFile) {
  EXPECT_THAT(mirror("ca = \"ca.pem\"").ca_files,
              ElementsAre("/etc/containerd/certs.d/registry.example.com/ca.pem"));
  EXPECT_THAT(mirror("ca = [\"../ca.pem\", \"/etc/ssl/ca.pem\"]").ca_files,
              ElementsAre("/etc/containerd/certs.d/ca.pem", "/etc/ssl/ca.pem"));
}

TEST(HostsToml, ClientCertificatesAreAFileAListOrPairs) {
  EXPECT_THAT(mirror("client = \"/c.pem\"").clients, ElementsAre(ClientCertificate{"/c.pem", ""}));
  EXPECT_THAT(mirror("client = [\"/c.pem\", \"/d.pem\"]").clients,
              ElementsAre(ClientCertificate{"/c.pem", ""}, ClientCertificate{"/d.pem", ""}));
  EXPECT_THAT(
      mirror("client = [[\"/c.cert\", \"/c.key\"], [\"d.cert\", \"/d.key\"]]").clients,
      ElementsAre(ClientCertificate{"/c.cert", "/c.key"},
                  ClientCertificate{"/etc/containerd/certs.d/registry.example.com/d.cert", "/d.key"}));
}

TEST(HostsToml, VerificationIsAsEverywhereUnlessAHostSaysOtherwise) {
  EXPECT_EQ(mirror("").skip_verify, std::nullopt);
  EXPECT_EQ(mirror("skip_verify = true").skip_verify, true);
  EXPECT_EQ(mirror("skip_verify = false").skip_verify, false);
}

TEST(HostsToml, HeadersHaveOneValueOrMany) {
  const auto host = mirror(
      "[host.\"https://mirror.example.com\".header]\n"
      "X-One = \"1\"\nX-Many = [\"a\", \"b\"]");
  EXPECT_EQ(host.headers.find("x-one"), "1");
  EXPECT_THAT(host.headers.all("X-Many"), ElementsAre("a", "b"));
}

TEST(HostsToml, DialTimeoutIsADurationOfGo) {
  EXPECT_EQ(mirror("").dial_timeout, std::nullopt);
  EXPECT_EQ(mirror("dial_timeout = \"1m0.5s\"").dial_timeout, std::chrono::milliseconds(60500));
}

TEST(HostsToml, FieldsOfTheServerAreAtTheTop) {
  const auto host = parse(R"(
server = "https://registry.example.com"
ca = "/ca.pem"
skip_verify = true
dial_timeout = "3s"
capabilities = ["pull"]
[header]
  X-Test = "1"
)")
                        .at(0);
  EXPECT_THAT(host.ca_files, ElementsAre("/ca.pem"));
  EXPECT_EQ(host.skip_verify, true);
  EXPECT_EQ(host.dial_timeout, std::chrono::seconds(3));
  EXPECT_FALSE(host.resolve);
  EXPECT_EQ(host.headers.find("X-Test"), "1");
}

TEST(HostsToml, UnknownFieldsArePassedOver) {
  EXPECT_TRUE(mirror("invented_later = 1").pull);
}

TEST(HostsToml, SaysWhichLineIsNoToml) {
  EXPECT_THAT(refusal("server = \"a\"\nserver = \"b\""), StartsWith("line 2: "));
  EXPECT_THAT(refusal("[host"), StartsWith("line 1: "));
}

TEST(HostsToml, SaysWhichFieldIsWrong) {
  const auto in_host = [](const std::string& fields) {
    const std::string path = "host.\"https://m.example.com\"";
    const auto text = refusal("[" + path + "]\n" + fields);
    EXPECT_THAT(text, StartsWith(path + "."));
    return text.substr(std::min(text.size(), path.size() + 1));
  };
  EXPECT_EQ(in_host("capabilities = [\"fly\"]"),
            "capabilities: \"fly\" is none of pull, resolve, push, referrers");
  EXPECT_EQ(in_host("capabilities = 1"), "capabilities: it is neither a string nor a list");
  EXPECT_EQ(in_host("ca = 1"), "ca: it is neither a string nor a list");
  EXPECT_EQ(in_host("ca = [1]"), "ca: an item is not a string");
  EXPECT_EQ(in_host("client = [[\"/c\"]]"), "client: a pair is a certificate file and a key file");
  EXPECT_EQ(in_host("client = true"), "client: it is neither a string nor a list");
  EXPECT_EQ(in_host("skip_verify = \"yes\""), "skip_verify: it is neither true nor false");
  EXPECT_EQ(in_host("override_path = 1"), "override_path: it is neither true nor false");
  EXPECT_EQ(in_host("dial_timeout = 3"), "dial_timeout: it is not a string");
  EXPECT_EQ(in_host("dial_timeout = \"soon\""), "dial_timeout: it is not a duration such as 3s or 500ms");
  EXPECT_EQ(in_host("header = 1"), "header: it is not a table");
  EXPECT_EQ(in_host("header = {\"a b\" = \"1\"}"), "header: a name is malformed");
  EXPECT_EQ(in_host("header = {Host = \"x\"}"), "header.Host: it cannot be set");
  EXPECT_EQ(in_host("header = {A = \"x\\r\\ny\"}"), "header.A: it has control characters");
  EXPECT_EQ(refusal("server = 1"), "server: it is not a string");
  EXPECT_EQ(refusal("host = 1"), "host: it is not a table");
  EXPECT_EQ(refusal("[host]\nx = 1"), "host.\"x\": it is not a table");
}

TEST(HostsToml, RefusesUrlsThatAreNone) {
  EXPECT_THAT(refusal("server = \"https://\""), StartsWith("server: "));
  EXPECT_THAT(refusal("[host.\"http://h:99999\"]"), HasSubstr("port"));
  EXPECT_THAT(refusal("[host.\"https://h/v2?x=1\"]"), HasSubstr("query"));
  EXPECT_EQ(refusal("[host.\"https://user:secret@\"]").find("secret"), std::string::npos);
}

TEST(HostsToml, IsBounded) {
  EXPECT_EQ(refusal(std::string(max_hosts_toml_bytes + 1, ' ')), "it is larger than 1 MiB");
  std::string many;
  for (int i = 0; i <= 100; ++i) many += "[host.\"https://h" + std::to_string(i) + "\"]\n";
  EXPECT_EQ(refusal(many), "host: there are more than 100");
}

TEST(HostsToml, TextBeyondAsciiMayBeInStringsAndComments) {
  const auto host = parse(
                        "# \xC3\xBC\"ber '\n"
                        "ca = \"/z\xC3\xBCrich \\\"#\\\\\" # \xC3\xBC\n"
                        "client = '''/\xC3\xBC\\''''\n"
                        "dial_timeout = \"\"\"\n3s\"\"\" # \"\n")
                        .at(0);
  EXPECT_THAT(host.ca_files, ElementsAre("/z\xC3\xBCrich \"#\\"));
  EXPECT_THAT(host.clients, ElementsAre(ClientCertificate{"/\xC3\xBC\\'", ""}));
  EXPECT_EQ(host.dial_timeout, std::chrono::seconds(3));
  const std::string stray =
      "there is a character beyond ASCII outside of strings and comments, or a line separator";
  EXPECT_EQ(refusal("ca = \"a\"\n\xC3\xBC = 1"), "line 2: " + stray);
  EXPECT_EQ(refusal("ca = \"a\" \xC2\xA0"), "line 1: " + stray);
  EXPECT_EQ(refusal("# a \xE2\x80\xA8 \xC3\xBC = 1"), "line 1: " + stray);
}

TEST(HostsToml, DamagedFilesAreErrorsAndNothingWorse) {
  const std::string good = R"(server = "https://registry.example.com"
[host."https://mirror.example.com"]
capabilities = ["pull", "resolve"]
ca = ["a.pem"]
client = [["a", "b"]]
dial_timeout = "3s"
[host."https://mirror.example.com".header]
X-Test = ["1", "2"]
)";
  std::minstd_rand random(1);
  for (int i = 0; i < 3000; ++i) {
    auto text = good;
    for (int j = 0; j < 3; ++j) text[random() % text.size()] = static_cast<char>(random() % 256);
    if (i % 3 == 0) text.resize(random() % text.size());
    try {
      parse(text);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::invalid_argument) << text;
    }
  }
  EXPECT_THAT(refusal("ca = " + std::string(500000, '[')), StartsWith("line 1: "));
  EXPECT_THAT(refusal("ca = " + std::string(500000, '{')), StartsWith("line 1: "));
}

}  // namespace
}  // namespace lazypull
