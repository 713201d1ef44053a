// Requests that wait for their turn at a host.
#include "transport/host_gate.hpp"

#include "engine/task_group.hpp"
#include "tests/support/registry_fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lazypull {
namespace {

using test::ScriptedRequest;
using test::ScriptedResponse;

/// Goes in, and stays for some turns of the home thread.
Awaitable<> visit(HostGate& gate, int turns, std::vector<int>& order, int name) {
  const auto pass = co_await gate.enter();
  order.push_back(name);
  co_await test::step(turns);
}

TEST(HostGate, AdmitsAsManyAsTheLimitInOrder) {
  HostGate gate(2);
  std::vector<int> order;
  std::size_t most = 0;
  test::run(with_task_group([&](TaskGroup& group) -> Awaitable<> {
    for (int i = 0; i < 6; ++i) group.spawn(visit(gate, 3, order, i));
    for (int i = 0; i < 50; ++i) {
      most = std::max(most, gate.active());
      co_await test::step();
    }
  }));
  EXPECT_EQ(most, 2U);
  EXPECT_EQ(gate.active(), 0U);
  EXPECT_THAT(order, testing::ElementsAre(0, 1, 2, 3, 4, 5));
}

TEST(HostGate, AWaiterThatIsCancelledTakesNoPlace) {
  HostGate gate(1);
  std::vector<int> order;
  test::run(with_task_group([&](TaskGroup& group) -> Awaitable<> {
    auto pass = co_await gate.enter();
    auto waiter = group.spawn(visit(gate, 1, order, 1));
    group.spawn(visit(gate, 1, order, 2));
    co_await test::step(3);
    waiter.drop();
    co_await test::step(3);
    pass.release();
  }));
  EXPECT_THAT(order, testing::ElementsAre(2));
  EXPECT_EQ(gate.active(), 0U);
}

TEST(HostGate, AWaiterThatIsCancelledAfterItsAdmissionGivesItsPlaceBack) {
  HostGate gate(1);
  std::vector<int> order;
  test::run(with_task_group([&](TaskGroup& group) -> Awaitable<> {
    auto pass = co_await gate.enter();
    auto waiter = group.spawn(visit(gate, 1, order, 1));
    group.spawn(visit(gate, 1, order, 2));
    co_await test::step(3);
    pass.release();
    waiter.drop();
    co_return;
  }));
  EXPECT_EQ(order.back(), 2);
  EXPECT_EQ(gate.active(), 0U);
}

TEST(HostGate, FollowsWhatTheHostSays) {
  HostGate gate(16);
  gate.on_status(429);
  EXPECT_EQ(gate.limit(), 8U);
  for (int i = 0; i < 8; ++i) gate.on_status(200);
  EXPECT_EQ(gate.limit(), 9U);
  HostGate other(16);
  other.on_status(503);
  EXPECT_EQ(other.limit(), 8U);
  other.on_status(500);
  EXPECT_EQ(other.limit(), 8U);
}

class Limits : public test::RegistryFixture {};

TEST_F(Limits, BoundTheConnectionsToAHost) {
  options.http.max_connections_per_host = 2;
  const auto content = std::string(300000, 'x');
  const auto layer = blob(content);
  server.on(blob_key(layer), ScriptedResponse(200, content));
  auto& registry = client();
  const auto where = reference();
  test::run_on(home, with_task_group([&](TaskGroup& group) -> Awaitable<> {
                 const auto one = [](RegistryClient& from, Reference ref, Descriptor what) -> Awaitable<> {
                   const auto bytes = co_await test::fetch(from, std::move(ref), std::move(what));
                   EXPECT_EQ(bytes.size(), 300000U);
                 };
                 for (int i = 0; i < 10; ++i) group.spawn(one(registry, where, layer));
                 co_return;
               }));
  EXPECT_EQ(server.requests().size(), 10U);
  EXPECT_LE(server.connections(), 2U);
}

TEST_F(Limits, LetRedirectsAndTokensThroughOneConnection) {
  options.http.max_connections_per_host = 1;
  const auto layer = blob("hello");
  server.on(blob_key(layer), [&](const ScriptedRequest& request) {
    if (!request.has_header("Authorization")) {
      return ScriptedResponse(401, std::string(200000, 'x'),
                              {{"WWW-Authenticate", "Bearer realm=\"" + server.url() + "/token\""}});
    }
    return ScriptedResponse(307, std::string(200000, 'x'), {{"Location", "/elsewhere"}});
  });
  server.on("GET /token", ScriptedResponse(302, std::string(200000, 'x'), {{"Location", "/token2"}}));
  server.on("GET /token2", ScriptedResponse(200, R"({"token": "good"})"));
  server.on("GET /elsewhere", ScriptedResponse(200, "hello"));
  EXPECT_EQ(fetched(layer), "hello");
}

TEST_F(Limits, GiveThePlaceOfAFailedOrAbandonedRequestBack) {
  options.http.max_connections_per_host = 1;
  const auto layer = blob("0123456789");
  ScriptedResponse cut(200, "0123456789");
  cut.cut_after = 3;
  server.on(blob_key(layer), cut);
  server.on(blob_key(layer), ScriptedResponse(404));
  server.on(blob_key(layer), ScriptedResponse(200, "0123456789"));
  auto abandon = [](RegistryClient& from, Reference ref, Descriptor what) -> Awaitable<int> {
    auto reader = co_await from.open(ref, what, 0);
    co_return 1;
  };
  EXPECT_EQ(fetch_error(layer).code(), Errc::bad_response);
  EXPECT_EQ(fetch_error(layer).code(), Errc::not_found);
  EXPECT_EQ(test::value_of(home, abandon(client(), reference(), layer)), 1);
  EXPECT_EQ(fetched(layer), "0123456789");
}

TEST_F(Limits, KeepToTheRate) {
  options.http.limit_rate = 1000000;
  const std::string content(300000, 'x');
  const auto layer = blob(content);
  server.on(blob_key(layer), ScriptedResponse(200, content));
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(fetched(layer), content);
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(190));
}

TEST_F(Limits, CanBeCancelledWhileTheyHoldBack) {
  options.http.limit_rate = 1;
  const std::string content(3000, 'x');
  const auto layer = blob(content);
  server.on(blob_key(layer), ScriptedResponse(200, content));
  const auto arrived = [&] { return !server.requests().empty(); };
  EXPECT_EQ(test::error_after_cancel(home, test::fetch(client(), reference(), layer), arrived).code(),
            Errc::cancelled);
}

}  // namespace
}  // namespace lazypull
