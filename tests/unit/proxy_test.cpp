// Proxies as Go's net/http takes them from the environment, and what goes over the wire to them.
#include "transport/proxy.hpp"

#include "tests/support/connect_proxy.hpp"
#include "tests/support/registry_fixture.hpp"
#include "tests/support/temp_dir.hpp"
#include "transport/http_client.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace lazypull {
namespace {

using test::ConnectProxy;
using test::ScriptedResponse;
using test::ScriptedServer;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

Environment variables(std::map<std::string, std::string> values) {
  return [values = std::move(values)](const std::string& name) -> std::optional<std::string> {
    const auto found = values.find(name);
    if (found == values.end()) return std::nullopt;
    return found->second;
  };
}

bool exempt(std::string_view list, const std::string& url) {
  return NoProxy(list).exempts(Url::parse(url).origin());
}

TEST(NoProxy, NeverSendsThisHostToAProxy) {
  EXPECT_TRUE(exempt("", "http://localhost:5000"));
  EXPECT_TRUE(exempt("", "http://127.0.0.1"));
  EXPECT_TRUE(exempt("", "http://127.9.8.7"));
  EXPECT_TRUE(exempt("", "http://[::1]:5000"));
  EXPECT_FALSE(exempt("", "http://registry.example.com"));
  EXPECT_FALSE(exempt("", "http://localhost.example.com"));
}

TEST(NoProxy, ADomainStandsForItselfAndThoseBelow) {
  EXPECT_TRUE(exempt("example.com", "https://example.com"));
  EXPECT_TRUE(exempt("example.com", "https://a.b.example.com"));
  EXPECT_FALSE(exempt("example.com", "https://badexample.com"));
  EXPECT_TRUE(exempt("EXAMPLE.com", "https://Example.COM"));
}

TEST(NoProxy, ADotOrAStarBeforeADomainStandsForThoseBelowOnly) {
  for (const auto* list : {".example.com", "*.example.com"}) {
    EXPECT_FALSE(exempt(list, "https://example.com")) << list;
    EXPECT_TRUE(exempt(list, "https://a.example.com")) << list;
  }
}

TEST(NoProxy, AStarStandsForAll) {
  EXPECT_TRUE(exempt("*", "https://example.com"));
  EXPECT_TRUE(exempt("a.com, *", "https://8.8.8.8"));
}

TEST(NoProxy, APortNarrowsARule) {
  EXPECT_TRUE(exempt("example.com:5000", "https://a.example.com:5000"));
  EXPECT_FALSE(exempt("example.com:5000", "https://a.example.com"));
  EXPECT_TRUE(exempt("example.com:443", "https://example.com"));
  EXPECT_TRUE(exempt("10.0.0.1:80", "http://10.0.0.1"));
  EXPECT_FALSE(exempt("10.0.0.1:80", "https://10.0.0.1"));
  EXPECT_TRUE(exempt("[2001:db8::1]:80", "http://[2001:db8::1]"));
}

TEST(NoProxy, AddressesAndNetworks) {
  EXPECT_TRUE(exempt("10.0.0.1", "http://10.0.0.1:5000"));
  EXPECT_FALSE(exempt("10.0.0.1", "http://10.0.0.10"));
  EXPECT_TRUE(exempt("10.0.0.0/8", "http://10.200.0.1"));
  EXPECT_FALSE(exempt("10.0.0.0/8", "http://11.0.0.1"));
  EXPECT_TRUE(exempt("2001:db8::/32", "http://[2001:db8::5]"));
  EXPECT_TRUE(exempt("2001:db8::1", "http://[2001:db8:0::1]"));
  EXPECT_FALSE(exempt("10.0.0.0/8", "http://[2001:db8::5]"));
  EXPECT_TRUE(exempt("10.0.0.1", "http://[::ffff:10.0.0.1]"));
}

TEST(NoProxy, PassesOverWhatItDoesNotUnderstand) {
  for (const auto* list : {",,", " , .", ":80", "10.0.0.0/99", "x/8", "example.com:http", "[", "]:"}) {
    EXPECT_FALSE(exempt(list, "https://example.com")) << list;
    EXPECT_TRUE(exempt(std::string(list) + ", example.com", "https://example.com")) << list;
  }
}

std::string proxy_for(const std::string& url, std::map<std::string, std::string> values) {
  const auto rules = ProxyRules::from_environment(variables(std::move(values)));
  const auto proxy = rules.proxy_of(Url::parse(url).origin());
  return proxy ? proxy->origin.host_port() + (proxy->authorization.empty() ? "" : " " + proxy->authorization)
               : "none";
}

TEST(ProxyRules, ThereIsOneForEachScheme) {
  const std::map<std::string, std::string> both = {{"HTTP_PROXY", "http://a:1"},
                                                   {"HTTPS_PROXY", "http://b:2"}};
  EXPECT_EQ(proxy_for("http://r.example.com", both), "a:1");
  EXPECT_EQ(proxy_for("https://r.example.com", both), "b:2");
  EXPECT_EQ(proxy_for("https://r.example.com", {{"HTTP_PROXY", "http://a:1"}}), "none");
  EXPECT_EQ(proxy_for("https://r.example.com", {}), "none");
}

TEST(ProxyRules, NamesInLowerCaseCountWhereTheOthersAreNotSet) {
  EXPECT_EQ(proxy_for("https://r.example.com", {{"https_proxy", "b:2"}}), "b:2");
  EXPECT_EQ(proxy_for("https://r.example.com", {{"https_proxy", "b:2"}, {"HTTPS_PROXY", "c:3"}}), "c:3");
  EXPECT_EQ(proxy_for("https://r.example.com", {{"https_proxy", "b:2"}, {"no_proxy", "example.com"}}),
            "none");
}

TEST(ProxyRules, SchemeAndPortMayBeMissing) {
  EXPECT_EQ(proxy_for("https://r.example.com", {{"HTTPS_PROXY", "proxy.example.com"}}),
            "proxy.example.com:80");
  EXPECT_EQ(proxy_for("https://r.example.com", {{"HTTPS_PROXY", "proxy.example.com:3128"}}),
            "proxy.example.com:3128");
}

TEST(ProxyRules, TheUserinfoBecomesAuthorization) {
  EXPECT_EQ(proxy_for("https://r.example.com", {{"HTTPS_PROXY", "http://user:p%40ss@p:1"}}),
            "p:1 Basic dXNlcjpwQHNz");
}

TEST(ProxyRules, HttpProxyIsNotUsedWhereAClientOfCgiCanSetIt) {
  EXPECT_EQ(proxy_for("http://r.example.com", {{"HTTP_PROXY", "a:1"}, {"REQUEST_METHOD", "GET"}}), "none");
}

TEST(ProxyRules, NameTheVariableThatIsWrongButNoPassword) {
  for (const auto* url :
       {"http://user:s3cret@", "http://user:s3cret@h:99999", "http://user:s3cret@[x", "ht tp://s3cret"}) {
    try {
      proxy_for("https://r.example.com", {{"HTTPS_PROXY", url}});
      ADD_FAILURE() << url;
    } catch (const Error& error) {
      EXPECT_THAT(error.message(), HasSubstr("HTTPS_PROXY")) << url;
      if (std::string_view(url).find('@') != std::string_view::npos) {
        EXPECT_THAT(error.message(), Not(HasSubstr("s3cret"))) << url;
      }
    }
  }
  for (const auto* url : {"https://p:1", "socks5://p:1"}) {
    try {
      proxy_for("https://r.example.com", {{"HTTPS_PROXY", url}});
      ADD_FAILURE() << url;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::unsupported);
    }
  }
}

/// A client behind a proxy; the names of its servers exist nowhere.
class ThroughProxy : public ::testing::Test {
 protected:
  void use(const std::string& proxy) {
    options.proxies =
        ProxyRules::from_environment(variables({{"HTTP_PROXY", proxy}, {"HTTPS_PROXY", proxy}}));
    options.tls.ca_files = {folder / "ca.pem"};
    client = std::make_unique<HttpClient>(home.get_executor(), options);
  }
  static Awaitable<std::string> get(HttpClient& from, std::string url) {
    HttpRequest request("GET", Url::parse(url));
    auto response = co_await from.send(std::move(request));
    auto body = co_await response->read_all(1000);
    co_return std::to_string(response->status()) + " " + body;
  }
  std::string fetched(const std::string& url) { return test::value_of(home, get(*client, url)); }
  Error failure(const std::string& url) { return test::error_of(home, get(*client, url)); }

  ThroughProxy() { test::write_file(folder / "ca.pem", authority.certificate); }

  asio::io_context home{1};
  test::TempDir folder;
  test::Identity authority = test::make_authority("Test CA");
  HttpOptions options;
  std::unique_ptr<HttpClient> client;
};

TEST_F(ThroughProxy, PlainHttpIsAskedForInAbsoluteForm) {
  ScriptedServer proxy;
  proxy.on("GET http://registry.example.com:5000/v2/x", ScriptedResponse(200, "hello"));
  use("http://user:pass@" + proxy.host());
  EXPECT_EQ(fetched("http://registry.example.com:5000/v2/x?y=z"), "200 hello");
  EXPECT_EQ(fetched("http://registry.example.com:5000/v2/x"), "200 hello");
  const auto request = proxy.requests().at(0);
  EXPECT_EQ(request.target, "http://registry.example.com:5000/v2/x?y=z");
  EXPECT_EQ(request.header("Host"), "registry.example.com:5000");
  EXPECT_EQ(request.header("Proxy-Authorization"), "Basic dXNlcjpwYXNz");
  EXPECT_EQ(proxy.connections(), 1U);
}

TEST_F(ThroughProxy, HttpsGoesThroughATunnelThatSeesNoRequest) {
  ScriptedServer server(test::make_identity({"registry.example.com"}, &authority));
  server.on("GET /x", ScriptedResponse(200, "hello"));
  const ConnectProxy proxy(server.port(), "Basic dXNlcjpwYXNz");
  use("http://user:pass@" + proxy.host());
  EXPECT_EQ(fetched("https://registry.example.com/x"), "200 hello");
  EXPECT_EQ(fetched("https://registry.example.com/x"), "200 hello");
  EXPECT_THAT(proxy.targets(), ElementsAre("registry.example.com:443"));
  EXPECT_FALSE(server.requests().at(0).has_header("Proxy-Authorization"));
}

TEST_F(ThroughProxy, TheServerIsVerifiedThroughTheTunnel) {
  ScriptedServer server(test::make_identity({"other.example.com"}, &authority));
  const ConnectProxy proxy(server.port());
  use(proxy.host());
  EXPECT_EQ(failure("https://registry.example.com/x").code(), Errc::tls_failure);
}

TEST_F(ThroughProxy, ARefusalNamesTheProxyAndNoPassword) {
  const ConnectProxy proxy(1, "Basic other");
  use("http://user:s3cret@" + proxy.host());
  const auto error = failure("https://registry.example.com/x");
  EXPECT_EQ(error.code(), Errc::unauthorized);
  EXPECT_EQ(error.message(),
            "GET https://registry.example.com/x: CONNECT registry.example.com:443 through proxy " +
                proxy.host() + ": 407 Proxy Authentication Required");
}

TEST_F(ThroughProxy, AProxyThatIsDownIsNamed) {
  use("http://127.0.0.1:1");
  const auto error = failure("https://registry.example.com/x");
  EXPECT_EQ(error.code(), Errc::unavailable);
  EXPECT_THAT(error.message(), HasSubstr("connect to proxy 127.0.0.1:1: "));
}

TEST_F(ThroughProxy, AProxyThatDoesNotSpeakHttpIsABadResponse) {
  ScriptedServer proxy;
  proxy.greet("SSH-2.0-something\r\n\r\n");
  use(proxy.host());
  EXPECT_EQ(failure("https://registry.example.com/x").code(), Errc::bad_response);
}

TEST_F(ThroughProxy, AProxyThatSaysNothingTimesOut) {
  ScriptedServer silent;
  ScriptedResponse stalls;
  stalls.stall = true;
  silent.on("CONNECT registry.example.com:443", stalls);
  options.connect_timeout = std::chrono::milliseconds(200);
  use(silent.host());
  EXPECT_EQ(failure("https://registry.example.com/x").code(), Errc::timed_out);
}

TEST_F(ThroughProxy, ThisHostIsReachedDirectly) {
  ScriptedServer server;
  server.on("GET /x", ScriptedResponse(200, "hello"));
  use("http://127.0.0.1:1");
  EXPECT_EQ(fetched(server.url() + "/x"), "200 hello");
}

}  // namespace
}  // namespace lazypull
