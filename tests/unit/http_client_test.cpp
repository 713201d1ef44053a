#include "transport/http_client.hpp"

#include "tests/support/registry_fixture.hpp"
#include "tests/support/temp_dir.hpp"

#include <gtest/gtest.h>

namespace lazypull {
namespace {

using std::chrono::milliseconds;
using test::make_authority;
using test::make_identity;
using test::ScriptedResponse;
using test::ScriptedServer;

Awaitable<std::string> get(HttpClient& client, std::string url) {
  HttpRequest request("GET", Url::parse(url));
  const auto response = co_await client.send(std::move(request));
  auto body = co_await response->read_all(10U << 20U);
  co_return std::to_string(response->status()) + " " + body;
}

class HttpClientTest : public ::testing::Test {
 protected:
  HttpClient& client() {
    if (!client_) client_ = std::make_unique<HttpClient>(home.get_executor(), options);
    return *client_;
  }
  std::string fetched(const std::string& url) { return test::value_of(home, get(client(), url)); }
  Error failure(const std::string& url) { return test::error_of(home, get(client(), url)); }

  asio::io_context home{1};
  HttpOptions options;

 private:
  std::unique_ptr<HttpClient> client_;
};

TEST_F(HttpClientTest, GetsABody) {
  ScriptedServer server;
  server.on("GET /x", ScriptedResponse(200, "hello"));
  EXPECT_EQ(fetched(server.url() + "/x?a=b"), "200 hello");
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 1U);
  EXPECT_EQ(requests[0].target, "/x?a=b");
  EXPECT_EQ(requests[0].header("Host"), server.host());
  EXPECT_EQ(requests[0].header("User-Agent"), "lazypull/0.1.0");
}

TEST_F(HttpClientTest, KeepsTheConnectionForTheNextRequest) {
  ScriptedServer server;
  server.on("GET /x", ScriptedResponse(200, "hello"));
  for (int i = 0; i < 3; ++i) fetched(server.url() + "/x");
  EXPECT_EQ(server.connections(), 1U);
}

TEST_F(HttpClientTest, ReplacesAKeptConnectionThatTheServerHasClosed) {
  ScriptedServer server;
  server.on("GET /x", ScriptedResponse(200, "hello"));
  fetched(server.url() + "/x");
  server.close_connections();
  EXPECT_EQ(fetched(server.url() + "/x"), "200 hello");
  EXPECT_EQ(server.connections(), 2U);
}

TEST_F(HttpClientTest, RepeatsARequestOnceWhenAKeptConnectionDiesUnderIt) {
  ScriptedServer server;
  server.on("GET /x", ScriptedResponse(200, "first"));
  ScriptedResponse dies;
  dies.hang_up = true;
  server.on("GET /x", dies);
  server.on("GET /x", ScriptedResponse(200, "second"));
  EXPECT_EQ(fetched(server.url() + "/x"), "200 first");
  EXPECT_EQ(fetched(server.url() + "/x"), "200 second");
  EXPECT_EQ(server.requests().size(), 3U);
}

TEST_F(HttpClientTest, DoesNotRepeatARequestOnANewConnection) {
  ScriptedServer server;
  ScriptedResponse dies;
  dies.hang_up = true;
  server.on("GET /x", dies);
  const auto error = failure(server.url() + "/x");
  EXPECT_EQ(error.code(), Errc::unavailable);
  EXPECT_EQ(error.message(), "GET " + server.url() + "/x: connection closed before a response");
  EXPECT_EQ(server.requests().size(), 1U);
}

TEST_F(HttpClientTest, DropsTheConnectionOfABodyThatIsNotRead) {
  ScriptedServer server;
  server.on("GET /x", ScriptedResponse(200, std::string(1U << 20U, 'a')));
  auto look = [](HttpClient& client, std::string url) -> Awaitable<int> {
    HttpRequest request("GET", Url::parse(url));
    const auto response = co_await client.send(std::move(request));
    co_return response->status();
  };
  EXPECT_EQ(test::value_of(home, look(client(), server.url() + "/x")), 200);
  EXPECT_EQ(client().pool().idle(), 0U);
}

TEST_F(HttpClientTest, ReadsChunkedBodies) {
  ScriptedServer server;
  ScriptedResponse response(200, std::string(300000, 'a') + "b");
  response.chunked = true;
  server.on("GET /x", response);
  EXPECT_EQ(fetched(server.url() + "/x"), "200 " + response.body);
  EXPECT_EQ(client().pool().idle(), 1U);
}

TEST_F(HttpClientTest, BoundsTheBodiesThatItCollects) {
  ScriptedServer server;
  server.on("GET /x", ScriptedResponse(200, std::string(1001, 'a')));
  server.on("GET /y", ScriptedResponse(200, std::string(1000, 'a')));
  auto bounded = [](HttpClient& client, std::string url) -> Awaitable<std::size_t> {
    HttpRequest request("GET", Url::parse(url));
    const auto response = co_await client.send(std::move(request));
    const auto body = co_await response->read_all(1000);
    co_return body.size();
  };
  EXPECT_EQ(test::value_of(home, bounded(client(), server.url() + "/y")), 1000U);
  const auto error = test::error_of(home, bounded(client(), server.url() + "/x"));
  EXPECT_EQ(error.code(), Errc::bad_response);
  EXPECT_EQ(error.message(), "GET " + server.url() + "/x: the response is longer than 1000 bytes");
}

TEST_F(HttpClientTest, SaysThatNobodyListens) {
  std::string url;
  std::string host;
  {
    const ScriptedServer gone;
    url = gone.url();
    host = gone.host();
  }
  const auto error = failure(url + "/x");
  EXPECT_EQ(error.code(), Errc::unavailable);
  EXPECT_EQ(error.message(), "GET " + url + "/x: connect to " + host + ": connection refused");
}

TEST_F(HttpClientTest, SaysThatAHostDoesNotExist) {
  const auto error = failure("http://nosuch.invalid/x?secret");
  // Without any name server the lookup fails for another reason.
  EXPECT_TRUE(error.code() == Errc::host_not_found || error.code() == Errc::unavailable);
  EXPECT_EQ(error.message().find("GET http://nosuch.invalid/x: resolve host nosuch.invalid: "), 0U)
      << error.message();
}

TEST_F(HttpClientTest, ResolvesNames) {
  ScriptedServer server;
  server.on("GET /x", ScriptedResponse(200, "hello"));
  EXPECT_EQ(fetched("http://localhost:" + std::to_string(server.port()) + "/x"), "200 hello");
}

TEST_F(HttpClientTest, GivesUpOnAServerThatDoesNotRespond) {
  ScriptedServer server;
  ScriptedResponse stalls;
  stalls.stall = true;
  server.on("GET /x", stalls);
  options.response_timeout = milliseconds(100);
  const auto error = failure(server.url() + "/x");
  EXPECT_EQ(error.code(), Errc::timed_out);
  EXPECT_EQ(error.message(), "GET " + server.url() + "/x: no response within 0.1 s");
}

TEST_F(HttpClientTest, GivesUpOnABodyThatStops) {
  ScriptedServer server;
  ScriptedResponse stalls(200, std::string(1000, 'a'));
  stalls.stall_after = 500;
  server.on("GET /x", stalls);
  options.progress_timeout = milliseconds(100);
  const auto error = failure(server.url() + "/x");
  EXPECT_EQ(error.code(), Errc::timed_out);
  EXPECT_EQ(error.message(), "GET " + server.url() + "/x: no data for 0.1 s");
}

TEST_F(HttpClientTest, MakesDoWithWhatIsThereOfAnErrorBody) {
  ScriptedServer server;
  ScriptedResponse stalls(503, "unavailable, sorry");
  stalls.stall_after = 11;
  server.on("GET /x", stalls);
  options.progress_timeout = milliseconds(100);
  auto look = [](HttpClient& client, std::string url) -> Awaitable<std::string> {
    HttpRequest request("GET", Url::parse(url));
    const auto response = co_await client.send(std::move(request));
    auto body = co_await response->read_what_is_there(1000);
    co_return body;
  };
  EXPECT_EQ(test::value_of(home, look(client(), server.url() + "/x")), "unavailable");
}

TEST_F(HttpClientTest, CanBeCancelledWhileItWaitsForAResponse) {
  ScriptedServer server;
  ScriptedResponse stalls;
  stalls.stall = true;
  server.on("GET /x", stalls);
  const auto arrived = [&] { return !server.requests().empty(); };
  const auto error = test::error_after_cancel(home, get(client(), server.url() + "/x"), arrived);
  EXPECT_EQ(error.code(), Errc::cancelled);
}

TEST_F(HttpClientTest, CanBeCancelledInTheMiddleOfABody) {
  ScriptedServer server;
  ScriptedResponse stalls(200, std::string(1000, 'a'));
  stalls.stall_after = 500;
  server.on("GET /x", stalls);
  bool reading = false;
  auto read = [](HttpClient& client, std::string url, bool& flag) -> Awaitable<std::size_t> {
    HttpRequest request("GET", Url::parse(url));
    const auto response = co_await client.send(std::move(request));
    flag = true;
    const auto body = co_await response->read_all(1000);
    co_return body.size();
  };
  const auto error =
      test::error_after_cancel(home, read(client(), server.url() + "/x", reading), [&] { return reading; });
  EXPECT_EQ(error.code(), Errc::cancelled);
  EXPECT_EQ(client().pool().idle(), 0U);
}

TEST_F(HttpClientTest, LogsRequestsWithoutQueriesOrUserinfo) {
  ScriptedServer server;
  server.on("GET /x", ScriptedResponse(200, "hello"));
  std::vector<RequestLog> lines;
  options.log = [&](const RequestLog& line) { lines.push_back(line); };
  const auto with_userinfo = "http://user:secret@" + server.host() + "/x?token=secret";
  fetched(with_userinfo);
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0].method, "GET");
  EXPECT_EQ(lines[0].url, server.url() + "/x");
  EXPECT_EQ(lines[0].status, 200);
  EXPECT_EQ(lines[0].body_bytes, 5U);
  EXPECT_EQ(lines[0].failure, "");
  EXPECT_FALSE(server.requests()[0].has_header("Authorization"));
}

TEST_F(HttpClientTest, LogsFailures) {
  ScriptedServer server;
  ScriptedResponse dies;
  dies.hang_up = true;
  server.on("GET /x", dies);
  std::vector<RequestLog> lines;
  options.log = [&](const RequestLog& line) { lines.push_back(line); };
  failure(server.url() + "/x");
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0].status, 0);
  EXPECT_NE(lines[0].failure, "");
}

class HttpsClientTest : public HttpClientTest {
 protected:
  std::string file(const std::string& name, const std::string& content) {
    test::write_file(folder / name, content);
    return folder / name;
  }
  static void serve(ScriptedServer& server) { server.on("GET /x", ScriptedResponse(200, "hello")); }

  test::TempDir folder;
  test::Identity authority = make_authority("Test CA");
};

TEST_F(HttpsClientTest, TrustsAServerOfAGivenAuthority) {
  ScriptedServer server(make_identity({"127.0.0.1"}, &authority));
  serve(server);
  options.tls.ca_files = {file("ca.pem", authority.certificate)};
  EXPECT_EQ(fetched(server.url() + "/x"), "200 hello");
  EXPECT_EQ(fetched(server.url() + "/x"), "200 hello");
  EXPECT_EQ(server.connections(), 1U);
}

TEST_F(HttpsClientTest, RefusesASelfSignedCertificate) {
  ScriptedServer server(make_identity({"127.0.0.1"}));
  serve(server);
  const auto error = failure(server.url() + "/x");
  EXPECT_EQ(error.code(), Errc::tls_failure);
  EXPECT_EQ(error.message(), "GET " + server.url() + "/x: TLS handshake with " + server.host() +
                                 ": certificate verify failed (self-signed certificate)");
  EXPECT_TRUE(server.requests().empty());
}

TEST_F(HttpsClientTest, RefusesACertificateForAnotherHost) {
  ScriptedServer server(make_identity({"registry.example.com", "127.0.0.2"}, &authority));
  serve(server);
  options.tls.ca_files = {file("ca.pem", authority.certificate)};
  const auto by_address = failure(server.url() + "/x");
  EXPECT_EQ(by_address.code(), Errc::tls_failure);
  EXPECT_NE(by_address.message().find("IP address mismatch"), std::string::npos) << by_address.message();
  const auto by_name = failure("https://localhost:" + std::to_string(server.port()) + "/x");
  EXPECT_EQ(by_name.code(), Errc::tls_failure);
  EXPECT_NE(by_name.message().find("hostname mismatch"), std::string::npos) << by_name.message();
}

TEST_F(HttpsClientTest, VerifiesNames) {
  ScriptedServer server(make_identity({"localhost"}, &authority));
  serve(server);
  options.tls.ca_files = {file("ca.pem", authority.certificate)};
  EXPECT_EQ(fetched("https://localhost:" + std::to_string(server.port()) + "/x"), "200 hello");
}

TEST_F(HttpsClientTest, AcceptsAnythingWhenToldToSkipVerification) {
  ScriptedServer server(make_identity({"registry.example.com"}));
  serve(server);
  options.tls.skip_verify = true;
  EXPECT_EQ(fetched(server.url() + "/x"), "200 hello");
}

TEST_F(HttpsClientTest, IdentifiesItselfWithAClientCertificate) {
  ScriptedServer server(make_identity({"127.0.0.1"}, &authority), &authority);
  serve(server);
  const auto me = make_identity({"client"}, &authority);
  options.tls.ca_files = {file("ca.pem", authority.certificate)};
  options.tls.clients = {{file("me.pem", me.certificate), file("me.key", me.key)}};
  EXPECT_EQ(fetched(server.url() + "/x"), "200 hello");
}

TEST_F(HttpsClientTest, FindsTheKeyInTheCertificateFileIfThereIsNoOther) {
  ScriptedServer server(make_identity({"127.0.0.1"}, &authority), &authority);
  serve(server);
  const auto me = make_identity({"client"}, &authority);
  options.tls.ca_files = {file("ca.pem", authority.certificate)};
  options.tls.clients = {{file("both.pem", me.certificate + me.key), {}}};
  EXPECT_EQ(fetched(server.url() + "/x"), "200 hello");
}

TEST_F(HttpsClientTest, ChoosesTheClientCertificateOfAnAuthorityThatTheServerNames) {
  ScriptedServer server(make_identity({"127.0.0.1"}, &authority), &authority);
  serve(server);
  const auto stranger = make_authority("Another CA");
  const auto other = make_identity({"client"}, &stranger);
  const auto me = make_identity({"client"}, &authority);
  options.tls.ca_files = {file("ca.pem", authority.certificate)};
  options.tls.clients = {{file("other.pem", other.certificate + other.key), {}},
                         {file("me.pem", me.certificate + me.key), {}}};
  EXPECT_EQ(fetched(server.url() + "/x"), "200 hello");
}

TEST_F(HttpsClientTest, ReachesAHostInItsOwnWay) {
  ScriptedServer server(make_identity({"127.0.0.1"}, &authority));
  serve(server);
  auto send = [](HttpClient& client, std::string url, std::shared_ptr<HostAccess> access) -> Awaitable<int> {
    HttpRequest request("GET", Url::parse(url));
    request.access = std::move(access);
    auto response = co_await client.send(std::move(request));
    co_await response->read_all(100);
    co_return response->status();
  };
  TlsOptions own;
  own.ca_files = {file("ca.pem", authority.certificate)};
  const auto access = std::make_shared<HostAccess>(own, std::chrono::seconds(5));
  EXPECT_EQ(test::value_of(home, send(client(), server.url() + "/x", access)), 200);
  EXPECT_EQ(failure(server.url() + "/x").code(), Errc::tls_failure)
      << "a connection that trusts more is not for others";
  own.ca_files = {"/nonexistent/ca.pem"};
  const auto broken = std::make_shared<HostAccess>(own, std::chrono::seconds(5), "/etc/certs.d/h/hosts.toml");
  const auto error = test::error_of(home, send(client(), server.url() + "/x", broken));
  EXPECT_EQ(error.code(), Errc::invalid_argument);
  EXPECT_NE(error.message().find("/etc/certs.d/h/hosts.toml: CA certificate file /nonexistent/ca.pem"),
            std::string::npos)
      << error.message();
}

TEST_F(HttpsClientTest, IsRefusedWithoutTheClientCertificateThatTheServerWants) {
  ScriptedServer server(make_identity({"127.0.0.1"}, &authority), &authority);
  serve(server);
  options.tls.ca_files = {file("ca.pem", authority.certificate)};
  const auto error = failure(server.url() + "/x");
  EXPECT_TRUE(error.code() == Errc::tls_failure || error.code() == Errc::unavailable) << error.message();
  EXPECT_TRUE(server.requests().empty());
}

TEST_F(HttpsClientTest, ReadsLargeBodies) {
  ScriptedServer server(make_identity({"127.0.0.1"}, &authority));
  std::string body;
  while (body.size() < 3000000) body += std::to_string(body.size()) + ",";
  server.on("GET /x", ScriptedResponse(200, body));
  options.tls.ca_files = {file("ca.pem", authority.certificate)};
  EXPECT_EQ(fetched(server.url() + "/x"), "200 " + body);
}

TEST_F(HttpsClientTest, ReplacesAKeptConnectionThatTheServerHasClosed) {
  ScriptedServer server(make_identity({"127.0.0.1"}, &authority));
  serve(server);
  options.tls.ca_files = {file("ca.pem", authority.certificate)};
  fetched(server.url() + "/x");
  server.close_connections();
  EXPECT_EQ(fetched(server.url() + "/x"), "200 hello");
}

TEST_F(HttpsClientTest, GivesUpOnAHandshakeThatDoesNotCome) {
  const ScriptedServer silent;
  options.connect_timeout = milliseconds(100);
  const auto error = failure("https://" + silent.host() + "/x");
  EXPECT_EQ(error.code(), Errc::timed_out);
  EXPECT_EQ(error.message(),
            "GET https://" + silent.host() + "/x: TLS handshake with " + silent.host() + ": timed out");
}

TEST_F(HttpsClientTest, SaysThatAServerMaySpeakPlainHttp) {
  ScriptedServer server;
  server.greet("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
  const auto error = failure("https://" + server.host() + "/x");
  EXPECT_EQ(error.code(), Errc::tls_failure);
  EXPECT_EQ(error.message(), "GET https://" + server.host() + "/x: TLS handshake with " + server.host() +
                                 ": wrong version number (the server may speak plain HTTP)");
}

TEST_F(HttpsClientTest, CanBeCancelledInTheHandshake) {
  ScriptedServer server;
  const auto connected = [&] { return server.connections() == 1; };
  const auto error =
      test::error_after_cancel(home, get(client(), "https://" + server.host() + "/x"), connected);
  EXPECT_EQ(error.code(), Errc::cancelled);
}

TEST_F(HttpsClientTest, NamesTheFilesThatItCannotUse) {
  const auto refusal = [&](TlsOptions tls) {
    try {
      TlsContext context(tls);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::invalid_argument);
      return error.message();
    }
    return std::string("accepted");
  };
  TlsOptions tls;
  tls.ca_files = {"/nonexistent/ca.pem"};
  EXPECT_EQ(refusal(tls).find("CA certificate file /nonexistent/ca.pem"), 0U) << refusal(tls);
  tls.ca_files = {file("bad.pem", "this is no certificate")};
  EXPECT_EQ(refusal(tls).find("CA certificate file " + tls.ca_files[0]), 0U) << refusal(tls);
  const auto me = make_identity({"client"}, &authority);
  const auto other = make_identity({"other"}, &authority);
  TlsOptions pair;
  const auto certificate = file("me.pem", me.certificate);
  const auto key = file("other.key", other.key);
  pair.clients = {{certificate, {}}};
  EXPECT_EQ(refusal(pair).find("client key file " + certificate), 0U) << refusal(pair);
  pair.clients = {{certificate, key}};
  EXPECT_EQ(refusal(pair).find("client key file " + key), 0U) << refusal(pair);
  pair.clients = {{"/nonexistent/me.pem", key}};
  EXPECT_EQ(refusal(pair).find("client certificate file /nonexistent/me.pem"), 0U) << refusal(pair);
}

}  // namespace
}  // namespace lazypull
