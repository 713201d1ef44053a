#include "transport/http_connection.hpp"

#include "engine/error.hpp"
#include "tests/support/registry_fixture.hpp"

#include <gtest/gtest.h>

#include <deque>

namespace lazypull {
namespace {

// A connection whose peer has said everything already, in pieces as the test likes.
class SpokenStream : public ByteStream {
 public:
  explicit SpokenStream(std::deque<std::string> pieces) : pieces_(std::move(pieces)) {}

  Awaitable<std::size_t> read_some(std::span<std::byte> buffer, Clock::time_point) override {
    if (pieces_.empty()) co_return 0;
    auto& piece = pieces_.front();
    const auto count = std::min(buffer.size(), piece.size());
    std::copy_n(std::as_bytes(std::span(piece)).begin(), count, buffer.begin());
    piece.erase(0, count);
    if (piece.empty()) pieces_.pop_front();
    co_return count;
  }
  Awaitable<> write(std::span<const std::byte>, Clock::time_point) override { co_return; }
  bool idle_and_open() noexcept override { return pieces_.empty(); }

 private:
  std::deque<std::string> pieces_;
};

std::deque<std::string> byte_by_byte(const std::string& text) {
  std::deque<std::string> pieces;
  for (const char c : text) pieces.emplace_back(1, c);
  return pieces;
}

struct Outcome {
  HttpHead head;
  std::string body;
  bool reusable = false;
};

Awaitable<Outcome> converse(std::deque<std::string> pieces, bool is_head, std::size_t buffer_size) {
  HttpConnection connection(std::make_unique<SpokenStream>(std::move(pieces)));
  Outcome outcome;
  outcome.head = co_await connection.exchange("GET / HTTP/1.1\r\n\r\n", is_head, Clock::time_point::max());
  std::vector<std::byte> buffer(buffer_size);
  for (;;) {
    const auto got = co_await connection.read_body(buffer, Clock::time_point::max());
    if (got == 0) break;
    outcome.body.append(reinterpret_cast<const char*>(buffer.data()), got);
  }
  outcome.reusable = connection.reusable();
  co_return outcome;
}

Outcome receive(std::deque<std::string> pieces, bool is_head = false, std::size_t buffer_size = 4096) {
  asio::io_context home(1);
  return test::value_of(home, converse(std::move(pieces), is_head, buffer_size));
}

Error refusal(std::deque<std::string> pieces) {
  asio::io_context home(1);
  return test::error_of(home, converse(std::move(pieces), false, 4096));
}

TEST(HttpConnection, ReadsABodyOfAKnownLength) {
  const auto outcome = receive({"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhe", "llo"});
  EXPECT_EQ(outcome.head.status, 200);
  EXPECT_EQ(outcome.head.fields.find("x"), "y");
  EXPECT_EQ(outcome.body, "hello");
  EXPECT_TRUE(outcome.reusable);
}

TEST(HttpConnection, ReadsAChunkedBodyHoweverItIsCut) {
  const std::string text =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nTrailer: "
      "z\r\n\r\n";
  for (const auto& pieces : {std::deque<std::string>{text}, byte_by_byte(text)}) {
    for (const std::size_t buffer_size : {1U, 2U, 4096U}) {
      const auto outcome = receive(pieces, false, buffer_size);
      EXPECT_EQ(outcome.body, "hello");
      EXPECT_TRUE(outcome.reusable);
    }
  }
}

TEST(HttpConnection, ReadsABodyUntilTheConnectionEnds) {
  const auto outcome = receive({"HTTP/1.1 200 OK\r\n\r\nhe", "llo"});
  EXPECT_EQ(outcome.body, "hello");
  EXPECT_FALSE(outcome.reusable);
}

TEST(HttpConnection, ReadsAHeadThatComesByteByByte) {
  const auto outcome = receive(byte_by_byte("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"));
  EXPECT_EQ(outcome.head.status, 404);
  EXPECT_TRUE(outcome.reusable);
}

TEST(HttpConnection, ExpectsNoBodyAfterHead) {
  const auto outcome = receive({"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"}, true);
  EXPECT_EQ(outcome.head.content_length(), 500U);
  EXPECT_EQ(outcome.body, "");
  EXPECT_TRUE(outcome.reusable);
}

TEST(HttpConnection, ExpectsNoBodyWithStatusesThatHaveNone) {
  EXPECT_TRUE(receive({"HTTP/1.1 204 No Content\r\n\r\n"}).reusable);
  EXPECT_TRUE(receive({"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"}).reusable);
}

TEST(HttpConnection, SkipsInterimResponses) {
  const auto outcome =
      receive({"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
               "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"});
  EXPECT_EQ(outcome.head.status, 200);
  EXPECT_EQ(outcome.head.fields.find("Link"), std::nullopt);
  EXPECT_EQ(outcome.body, "a");
}

TEST(HttpConnection, RefusesInterimResponsesWithoutEnd) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "HTTP/1.1 100 Continue\r\n\r\n";
  EXPECT_EQ(refusal({text}).message(), "too many interim responses");
  EXPECT_EQ(refusal({"HTTP/1.1 101 Switching Protocols\r\n\r\n"}).code(), Errc::bad_response);
}

TEST(HttpConnection, IsNotReusedWhereTheServerSaysSo) {
  EXPECT_FALSE(receive({"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na"}).reusable);
  EXPECT_FALSE(receive({"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na"}).reusable);
}

TEST(HttpConnection, IsNotReusedWithBytesThatNobodyAskedFor) {
  EXPECT_FALSE(receive({"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\n"}).reusable);
}

TEST(HttpConnection, KeepsAllFieldsOfAName) {
  const auto outcome =
      receive({"HTTP/1.1 401 No\r\nWWW-Authenticate: a\r\nContent-Length: 0\r\n"
               "www-authenticate: b\r\n\r\n"});
  EXPECT_EQ(outcome.head.fields.all("WWW-Authenticate"), (std::vector<std::string_view>{"a", "b"}));
}

TEST(HttpConnection, SaysWhetherItWasLostBeforeOrInAResponse) {
  EXPECT_EQ(refusal({}).code(), Errc::unavailable);
  const auto in_head = refusal({"HTTP/1.1 200 OK\r\nConte"});
  EXPECT_EQ(in_head.code(), Errc::unavailable);
  EXPECT_EQ(in_head.message(), "connection closed in the middle of the response's head");
}

TEST(HttpConnection, SaysHowMuchOfABodyCame) {
  const auto known = refusal({"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"});
  EXPECT_EQ(known.code(), Errc::bad_response);
  EXPECT_EQ(known.message(), "connection closed after 5 of 10 bytes");
  const auto chunked = refusal({"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello"});
  EXPECT_EQ(chunked.code(), Errc::bad_response);
  EXPECT_EQ(chunked.message(), "connection closed in the middle of a chunked body, after 5 bytes");
}

TEST(HttpConnection, RefusesMalformedResponses) {
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  for (const auto& text :
       {std::string("SSH-2.0-OpenSSH_9\r\n"), std::string("HTTP/1.1 2x0 OK\r\n\r\n"), std::string(200, '\0'),
        ok + "Content-Length: -1\r\n\r\n", ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ok + "Bad Name: x\r\n\r\n",
        ok + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        ok + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n"}) {
    EXPECT_EQ(refusal({text}).code(), Errc::bad_response) << text;
  }
}

TEST(HttpConnection, BoundsTheHead) {
  std::deque<std::string> pieces = {"HTTP/1.1 200 OK\r\n"};
  for (int i = 0; i < 100; ++i)
    pieces.push_back("X-" + std::to_string(i) + ": " + std::string(1000, 'a') + "\r\n");
  pieces.emplace_back("\r\n");
  EXPECT_EQ(refusal(pieces).message(), "the response's head is longer than 64 KiB");
  EXPECT_EQ(refusal({"HTTP/1.1 200 OK\r\nX: " + std::string(200000, 'a')}).code(), Errc::bad_response);
  EXPECT_EQ(
      refusal({"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + std::string(200000, 'a')}).code(),
      Errc::bad_response);
}

TEST(Serialise, WritesARequestAsItGoesOverTheWire) {
  HttpRequest request("POST", Url::parse("http://registry.example.com:5000/token?a=b"));
  request.fields.add("Accept", "*/*");
  request.body = "x=y";
  EXPECT_EQ(serialise(request, "lazypull/0.1.0"),
            "POST /token?a=b HTTP/1.1\r\nHost: registry.example.com:5000\r\nUser-Agent: lazypull/0.1.0\r\n"
            "Accept: */*\r\nContent-Length: 3\r\n\r\nx=y");
}

TEST(Serialise, RefusesToSplitARequest) {
  HttpRequest request("GET", Url::parse("http://h/"));
  request.fields.add("Authorization", "Bearer a\r\nX: y");
  EXPECT_THROW(serialise(request, "u"), Error);
}

// Idle connections, told apart by the status of the response that they have given.
Awaitable<std::unique_ptr<HttpConnection>> used_connection(std::deque<std::string> leftovers = {}) {
  leftovers.push_front("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  auto connection = std::make_unique<HttpConnection>(std::make_unique<SpokenStream>(std::move(leftovers)));
  co_await connection->exchange("GET / HTTP/1.1\r\n\r\n", false, Clock::time_point::max());
  co_return connection;
}

class ConnectionPoolTest : public ::testing::Test {
 protected:
  HttpConnection* put(ConnectionPool& pool, const Origin& origin, Clock::time_point when,
                      std::deque<std::string> leftovers = {}) {
    auto connection = test::value_of(home, used_connection(std::move(leftovers)));
    auto* raw = connection.get();
    pool.put(origin, std::move(connection), when);
    return raw;
  }

  asio::io_context home{1};
  Origin a{true, "a", 443};
  Origin b{true, "b", 443};
  Clock::time_point start{std::chrono::hours(1)};
};

TEST_F(ConnectionPoolTest, GivesTheConnectionThatWasUsedLast) {
  ConnectionPool pool{PoolLimits()};
  auto* first = put(pool, a, start);
  auto* second = put(pool, a, start);
  EXPECT_EQ(pool.take(a, start).get(), second);
  EXPECT_EQ(pool.idle(), 1U);
  EXPECT_NE(first, second);
}

TEST_F(ConnectionPoolTest, KeepsOriginsApart) {
  ConnectionPool pool{PoolLimits()};
  put(pool, a, start);
  EXPECT_EQ(pool.take(b, start), nullptr);
  EXPECT_EQ(pool.take(Origin{false, "a", 443}, start), nullptr);
  EXPECT_EQ(pool.take(Origin{true, "a", 444}, start), nullptr);
  EXPECT_NE(pool.take(a, start), nullptr);
}

TEST_F(ConnectionPoolTest, DropsWhatHasBeenIdleForTooLong) {
  ConnectionPool pool{PoolLimits()};
  put(pool, a, start);
  put(pool, b, start + std::chrono::seconds(30));
  EXPECT_EQ(pool.take(a, start + std::chrono::seconds(60)), nullptr);
  EXPECT_EQ(pool.idle(), 1U);
}

TEST_F(ConnectionPoolTest, KeepsNoMoreThanItsLimits) {
  ConnectionPool pool{PoolLimits{2, 3, std::chrono::seconds(60)}};
  for (int i = 0; i < 5; ++i) put(pool, a, start + std::chrono::seconds(i));
  EXPECT_EQ(pool.idle(), 2U);
  put(pool, b, start + std::chrono::seconds(6));
  put(pool, b, start + std::chrono::seconds(7));
  EXPECT_EQ(pool.idle(), 3U);
  EXPECT_NE(pool.take(a, start + std::chrono::seconds(8)), nullptr);
  EXPECT_EQ(pool.take(a, start + std::chrono::seconds(8)), nullptr);
}

TEST_F(ConnectionPoolTest, DropsConnectionsThatSpeakUnasked) {
  ConnectionPool pool{PoolLimits()};
  put(pool, a, start, {"HTTP/1.1 408 Request Timeout\r\n\r\n"});
  EXPECT_EQ(pool.take(a, start), nullptr);
  EXPECT_EQ(pool.idle(), 0U);
}

TEST_F(ConnectionPoolTest, TakesOnlyConnectionsThatCanBeUsedAgain) {
  ConnectionPool pool{PoolLimits()};
  pool.put(a, std::make_unique<HttpConnection>(std::make_unique<SpokenStream>(std::deque<std::string>())),
           start);
  EXPECT_EQ(pool.idle(), 0U);
}

}  // namespace
}  // namespace lazypull
