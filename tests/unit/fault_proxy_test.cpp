// The fault-injecting proxy as a client sees it: each fault, once, and what the log says of it.

#include "engine/error.hpp"
#include "tests/support/fault_proxy_thread.hpp"
#include "tests/support/scripted_server.hpp"
#include "tools/faults/decision.hpp"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <netinet/in.h>
#include <poll.h>
#include <stdexcept>
#include <string>
#include <unistd.h>

namespace lazypull::test {
namespace {

using std::chrono::milliseconds;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

/// A client that says what it likes.
class RawClient {
 public:
  enum class End { closed, reset, silent };

  explicit RawClient(const std::string& host) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(host.substr(host.find(':') + 1))));
    if (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      throw std::runtime_error("the proxy does not listen");
    }
  }
  ~RawClient() { ::close(socket_); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  void say(const std::string& bytes) {
    ASSERT_EQ(::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  void get(const std::string& target, const std::string& fields = "Connection: close\r\n",
           const std::string& method = "GET") {
    say(method + " " + target + " HTTP/1.1\r\nHost: registry.example.com\r\n" + fields + "\r\n");
  }
  /// Everything until the connection ends, or until nothing has come for so long.
  std::string hear(milliseconds patience = std::chrono::seconds(10)) {
    std::string heard;
    std::array<char, 65536> piece{};
    for (;;) {
      pollfd poll{.fd = socket_, .events = POLLIN, .revents = 0};
      if (::poll(&poll, 1, static_cast<int>(patience.count())) == 0) {
        end = End::silent;
        return heard;
      }
      const auto got = ::recv(socket_, piece.data(), piece.size(), 0);
      if (got <= 0) {
        end = got == 0 ? End::closed : End::reset;
        return heard;
      }
      heard.append(piece.data(), static_cast<std::size_t>(got));
    }
  }

  End end = End::silent;

 private:
  int socket_;
};

std::string body_of(const std::string& response) {
  const auto end = response.find("\r\n\r\n");
  return end == std::string::npos ? std::string() : response.substr(end + 4);
}

class FaultProxyTest : public ::testing::Test {
 protected:
  FaultProxyTest() {
    server.on("GET /v2/app/blobs/x", [this](const ScriptedRequest& request) {
      const auto range = request.header("Range");
      if (range.empty()) return ScriptedResponse(200, content, {{"X-Registry", "yes"}});
      return ScriptedResponse(206, content.substr(3), {{"Content-Range", "bytes 3-9/10"}});
    });
    server.on("HEAD /v2/app/blobs/x", ScriptedResponse(200, content));
  }

  void use(const std::string& rule, std::uint64_t seed = 1) {
    FaultProfile profile;
    profile.rules.push_back(parse_fault_rule(rule));
    proxy.use(std::move(profile), seed);
  }
  std::string fetch(const std::string& fields = "Connection: close\r\n", const std::string& method = "GET") {
    RawClient client(proxy.host());
    client.get("/v2/app/blobs/x", fields, method);
    auto heard = client.hear();
    end = client.end;
    return heard;
  }
  FaultRecord record() { return proxy.wait_for_records(1).front(); }

  std::string content = "0123456789";
  ScriptedServer server;
  FaultProxyThread proxy{server.url()};
  RawClient::End end = RawClient::End::silent;
};

TEST_F(FaultProxyTest, WithoutFaultsItOnlyPassesOn) {
  const auto response = fetch("Authorization: Bearer t\r\nConnection: close\r\nUser-Agent: me\r\n");
  EXPECT_THAT(response, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(response, HasSubstr("X-Registry: yes\r\n"));
  EXPECT_EQ(body_of(response), content);
  const auto request = server.requests("GET /v2/app/blobs/x").at(0);
  EXPECT_EQ(request.header("Authorization"), "Bearer t");
  EXPECT_EQ(request.header("User-Agent"), "me");
  EXPECT_EQ(request.header("Host"), server.host());
  const auto seen = record();
  EXPECT_EQ(seen.status, 200);
  EXPECT_EQ(seen.body_bytes, content.size());
  EXPECT_EQ(seen.end, FaultRecord::End::complete);
}

TEST_F(FaultProxyTest, AConnectionServesOneRequestAfterAnother) {
  RawClient client(proxy.host());
  client.get("/v2/app/blobs/x", "");
  client.get("/v2/app/blobs/x", "Range: bytes=3-\r\n");
  client.get("/v2/app/blobs/x", "", "HEAD");
  client.get("/v2/app/blobs/none");
  const auto heard = client.hear();
  EXPECT_THAT(heard, HasSubstr(content + "HTTP/1.1 206"));
  EXPECT_THAT(heard, HasSubstr("3456789HTTP/1.1 200"));
  EXPECT_THAT(heard, HasSubstr("HTTP/1.1 404"));
  const auto records = proxy.wait_for_records(4);
  EXPECT_EQ(records[1].number, 2U);
  EXPECT_EQ(records[1].range, "bytes=3-");
  EXPECT_EQ(records[2].number, 1U) << "another method";
  for (const auto& one : records) EXPECT_EQ(one.connection, 1U);
}

TEST_F(FaultProxyTest, WhatIsNoRequestEndsTheConnection) {
  for (const auto* nonsense : {"banana\r\n\r\n", "POST /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"}) {
    RawClient client(proxy.host());
    client.say(nonsense);
    EXPECT_EQ(client.hear(), "");
    EXPECT_NE(client.end, RawClient::End::silent);
  }
}

TEST_F(FaultProxyTest, ACutComesAfterTheByteThatWasAskedFor) {
  use("cut,at=4");
  EXPECT_EQ(body_of(fetch()), "0123");
  EXPECT_EQ(end, RawClient::End::closed);
  EXPECT_EQ(record().end, FaultRecord::End::cut);
  EXPECT_EQ(record().at, 4U);
  EXPECT_EQ(record().body_bytes, 4U);
}

TEST_F(FaultProxyTest, AResetIsOne) {
  use("reset,at=4");
  EXPECT_THAT(fetch(), StartsWith("HTTP/1.1 200"));
  EXPECT_EQ(end, RawClient::End::reset);
}

TEST_F(FaultProxyTest, CorruptionChangesOneByte) {
  use("corrupt,at=4");
  const auto body = body_of(fetch());
  EXPECT_EQ(body.size(), content.size());
  EXPECT_NE(body[4], content[4]);
  EXPECT_EQ(body.substr(0, 4) + body.substr(5), content.substr(0, 4) + content.substr(5));
}

TEST_F(FaultProxyTest, AStallEndsAfterItsTime) {
  use("stall,at=4,for=200ms");
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(body_of(fetch()), content);
  EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(200));
}

TEST_F(FaultProxyTest, AStallForEverEndsWithTheClient) {
  use("stall,at=4");
  {
    RawClient client(proxy.host());
    client.get("/v2/app/blobs/x");
    EXPECT_EQ(body_of(client.hear(milliseconds(300))), "0123");
    EXPECT_EQ(client.end, RawClient::End::silent);
  }
  EXPECT_EQ(record().end, FaultRecord::End::client_gone);
}

TEST_F(FaultProxyTest, ADroppedConnectionGivesNothing) {
  use("drop");
  EXPECT_EQ(fetch(), "");
  EXPECT_NE(end, RawClient::End::silent);
  EXPECT_EQ(record().status, 0);
  EXPECT_TRUE(server.requests().empty());
}

TEST_F(FaultProxyTest, AStatusComesOnceAndIsFollowedByTheRegistrysAnswer) {
  use("status,code=429,retry-after=2,times=1");
  EXPECT_THAT(fetch(), StartsWith("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 2\r\n"));
  EXPECT_EQ(body_of(fetch()), content);
}

TEST_F(FaultProxyTest, LengthsLieAndTheConnectionEnds) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    use("length", seed);
    const auto response = fetch("");
    EXPECT_EQ(body_of(response), content);
    EXPECT_THAT(response, testing::Not(HasSubstr("Content-Length: 10\r\n")));
    EXPECT_EQ(end, RawClient::End::closed);
  }
}

TEST_F(FaultProxyTest, RangesLie) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    use("range", seed);
    const auto response = fetch("Range: bytes=3-\r\nConnection: close\r\n");
    EXPECT_THAT(response, StartsWith("HTTP/1.1 206"));
    EXPECT_THAT(response, testing::Not(HasSubstr("bytes 3-9/10\r\n")));
  }
}

TEST_F(FaultProxyTest, RangesAreIgnored) {
  use("whole");
  const auto response = fetch("Range: bytes=3-\r\nConnection: close\r\n");
  EXPECT_THAT(response, StartsWith("HTTP/1.1 200"));
  EXPECT_EQ(body_of(response), content);
}

TEST_F(FaultProxyTest, ChunksEndWithoutTheLastOne) {
  use("chunks,at=4");
  EXPECT_EQ(body_of(fetch()), "4\r\n0123\r\n");
  use("chunks,at=1000");
  EXPECT_EQ(body_of(fetch()), "a\r\n0123456789\r\n");
}

TEST_F(FaultProxyTest, ABodyInChunksIsPassedOnInChunks) {
  ScriptedResponse chunked(200, content);
  chunked.chunked = true;
  server.on("GET /chunked", chunked);
  RawClient client(proxy.host());
  client.get("/chunked");
  EXPECT_THAT(client.hear(), EndsWith("\r\n\r\na\r\n0123456789\r\n0\r\n\r\n"));
}

TEST_F(FaultProxyTest, GarbageIsNoHead) {
  use("garbage");
  EXPECT_THAT(fetch("Connection: close\r\n", "HEAD"),
              testing::Not(HasSubstr("HTTP/1.1 200 OK\r\nX-Registry: yes\r\nContent-Length: 10\r\n\r\n")));
  EXPECT_EQ(end, RawClient::End::closed);
}

TEST_F(FaultProxyTest, EveryConnectionIsCutAfterARandomNumberOfBytes) {
  content.assign(1'000'000, 'x');
  FaultProfile profile;
  profile.cut_mean = 10'000;
  proxy.use(profile, 1);
  for (int i = 0; i < 10; ++i) EXPECT_LT(body_of(fetch()).size(), 200'000U);
  for (const auto& one : proxy.wait_for_records(10)) EXPECT_EQ(one.end, FaultRecord::End::cut);
}

TEST_F(FaultProxyTest, BandwidthIsKept) {
  content.assign(60'000, 'x');
  FaultProfile profile;
  profile.bandwidth = 200'000;
  proxy.use(profile, 1);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(body_of(fetch()).size(), content.size());
  EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(180)) << "a tenth of a second is saved up";
}

TEST_F(FaultProxyTest, ResponsesOvertakeEachOther) {
  FaultProfile profile;
  profile.jitter = milliseconds(600);
  // A seed by which what is asked for first comes last, by far.
  std::uint64_t seed = 1;
  const auto delay = [&](const std::string& target) {
    return decide_fault(profile, seed, {"GET", target, 1}).delay;
  };
  while (delay("/a") < delay("/b") + milliseconds(400)) ++seed;
  proxy.use(profile, seed);
  RawClient slow(proxy.host());
  RawClient fast(proxy.host());
  slow.get("/a");
  fast.get("/b");
  slow.hear();
  fast.hear();
  const auto records = proxy.wait_for_records(2);
  EXPECT_EQ(records[0].target, "/b");
  EXPECT_EQ(records[1].target, "/a");
}

TEST_F(FaultProxyTest, ARegistryThatIsNotThereIsSaidToBeMissing) {
  FaultProxyThread nowhere("127.0.0.1:1");
  RawClient client(nowhere.host());
  client.get("/v2/");
  EXPECT_EQ(client.hear(), "");
  const auto seen = nowhere.wait_for_records(1).front();
  EXPECT_EQ(seen.end, FaultRecord::End::upstream_failed);
  EXPECT_THAT(seen.failure, HasSubstr("127.0.0.1:1"));
}

TEST_F(FaultProxyTest, AnUpstreamThatIsNoUrlIsRefused) {
  asio::io_context home(1);
  FaultProxyOptions options;
  options.upstream = "ftp://registry.example.com";
  EXPECT_THROW(FaultProxy(home.get_executor(), std::move(options)), Error);
}

}  // namespace
}  // namespace lazypull::test
