#include "engine/error.hpp"
#include "tests/support/coroutine.hpp"
#include "tests/support/temp_dir.hpp"
#include "tools/agent/status_server.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <exception>

namespace lazypull {
namespace {

using test::TempDir;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class StatusServerTest : public ::testing::Test {
 protected:
  std::map<std::string, StatusPage> pages() {
    return {{"/metrics", {"text/plain", [this] { return "asked " + std::to_string(++asked) + " times\n"; }}}};
  }
  ListenAddress socket() const { return {folder / "status.sock"}; }

  template <class Protocol>
  static Awaitable<> exchange(typename Protocol::endpoint endpoint, std::string request,
                              std::string& answer) {
    typename Protocol::socket client(co_await asio::this_coro::executor);
    co_await client.async_connect(endpoint, asio::use_awaitable);
    co_await asio::async_write(client, asio::buffer(request), asio::as_tuple(asio::use_awaitable));
    co_await asio::async_read(client, asio::dynamic_buffer(answer), asio::as_tuple(asio::use_awaitable));
  }

  /// What the server answers to these bytes.
  std::string ask(StatusServer& server, const std::string& request) {
    std::string answer;
    test::run_on(home, with_task_group([&](TaskGroup& group) -> Awaitable<> {
                   auto serving = group.spawn(server.serve());
                   if (const auto* path = std::get_if<std::filesystem::path>(&server.address().where)) {
                     co_await exchange<asio::local::stream_protocol>(path->string(), request, answer);
                   } else {
                     co_await exchange<asio::ip::tcp>(
                         std::get<asio::ip::tcp::endpoint>(server.address().where), request, answer);
                   }
                   serving.drop();
                 }));
    return answer;
  }

  TempDir folder{"status"};
  asio::io_context home{1};
  int asked = 0;
};

TEST_F(StatusServerTest, ServesAPageOnAUnixSocketForItsOwnerOnly) {
  StatusServer server(home.get_executor(), socket(), pages());
  struct stat status{};
  ASSERT_EQ(::stat((folder / "status.sock").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  const auto answer = ask(server, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n"));
  EXPECT_THAT(answer, HasSubstr("\r\n\r\nasked 1 times\n"));
}

TEST_F(StatusServerTest, ServesAPageOverTcpAndSaysOnWhichPort) {
  StatusServer server(home.get_executor(), parse_listen_address("127.0.0.1:0", "--metrics"), pages());
  EXPECT_THAT(server.address().str(), Not(testing::EndsWith(":0")));
  EXPECT_THAT(ask(server, "GET /metrics?x=y HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.1 200 "));
}

TEST_F(StatusServerTest, EachRequestGetsThePageAsItIsThen) {
  StatusServer server(home.get_executor(), socket(), pages());
  ask(server, "GET /metrics HTTP/1.1\r\n\r\n");
  EXPECT_THAT(ask(server, "GET /metrics HTTP/1.1\r\n\r\n"), HasSubstr("asked 2 times"));
}

TEST_F(StatusServerTest, HeadHasNoBody) {
  StatusServer server(home.get_executor(), socket(), pages());
  const auto answer = ask(server, "HEAD /metrics HTTP/1.1\r\n\r\n");
  EXPECT_THAT(answer, HasSubstr("Content-Length: 14\r\n"));
  EXPECT_THAT(answer, testing::EndsWith("\r\n\r\n"));
}

TEST_F(StatusServerTest, RefusesWhatItDoesNotServe) {
  StatusServer server(home.get_executor(), socket(), pages());
  EXPECT_THAT(ask(server, "GET /etc/passwd HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(ask(server, "POST /metrics HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(ask(server, "nonsense\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(ask(server, "GET /metrics HTTP/2.0\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  EXPECT_EQ(asked, 0);
}

TEST_F(StatusServerTest, HangsUpOnAHeadWithoutEnd) {
  StatusServer server(home.get_executor(), socket(), pages());
  EXPECT_EQ(ask(server, "GET /" + std::string(20'000, 'x')), "");
  EXPECT_THAT(ask(server, "GET /metrics HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 200 "));
}

TEST_F(StatusServerTest, ReplacesTheSocketOfADeadProcessAndTakesItsOwnAway) {
  {
    asio::local::stream_protocol::acceptor dead(
        home, asio::local::stream_protocol::endpoint(folder / "status.sock"));
  }
  ASSERT_TRUE(std::filesystem::exists(folder / "status.sock"));
  {
    StatusServer server(home.get_executor(), socket(), pages());
    EXPECT_THAT(ask(server, "GET /metrics HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 200 "));
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "status.sock"));
}

Errc refusal(const std::function<void()>& attempt) {
  try {
    attempt();
  } catch (const Error& error) {
    return error.code();
  }
  return Errc::internal;
}

TEST_F(StatusServerTest, DoesNotTakeWhatSomebodyElseHas) {
  StatusServer first(home.get_executor(), socket(), pages());
  EXPECT_EQ(refusal([&] { StatusServer(home.get_executor(), socket(), pages()); }),
            Errc::failed_precondition);
  EXPECT_TRUE(std::filesystem::exists(folder / "status.sock"));
  const auto file = folder / "file";
  test::write_file(file, "x");
  EXPECT_EQ(refusal([&] { StatusServer(home.get_executor(), {file}, pages()); }), Errc::failed_precondition);
  EXPECT_EQ(test::read_file(file), "x");
}

TEST(ListenAddressTest, UnderstandsSocketsAndAddresses) {
  for (const std::string text : {"/run/a.sock", "unix:/run/a.sock", "unix:///run/a.sock"}) {
    EXPECT_EQ(parse_listen_address(text, "x").str(), "unix:/run/a.sock") << text;
  }
  EXPECT_EQ(parse_listen_address("127.0.0.1:9750", "x").str(), "127.0.0.1:9750");
  EXPECT_EQ(parse_listen_address("[::1]:9750", "x").str(), "[::1]:9750");
}

TEST(ListenAddressTest, KnowsWhatIsReachableFromThisHostOnly) {
  EXPECT_TRUE(parse_listen_address("/run/a.sock", "x").is_local());
  EXPECT_TRUE(parse_listen_address("127.0.0.9:1", "x").is_local());
  EXPECT_TRUE(parse_listen_address("[::1]:1", "x").is_local());
  EXPECT_FALSE(parse_listen_address("0.0.0.0:1", "x").is_local());
  EXPECT_FALSE(parse_listen_address("[::]:1", "x").is_local());
}

TEST(ListenAddressTest, RefusesEverythingElseByTheOptionsName) {
  for (const std::string text : {"", "localhost:1", "127.0.0.1", "127.0.0.1:65536", "127.0.0.1:x", "::1:80",
                                 "[127.0.0.1]:80", "unix:", "unix:relative"}) {
    try {
      parse_listen_address(text, "metrics");
      ADD_FAILURE() << "taken: " << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::invalid_argument);
      EXPECT_THAT(error.message(), StartsWith("metrics: ")) << text;
    }
  }
  EXPECT_THROW(parse_listen_address("/" + std::string(200, 'x'), "metrics"), Error);
}

}  // namespace
}  // namespace lazypull
