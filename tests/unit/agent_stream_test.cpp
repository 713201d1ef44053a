#include "engine/error.hpp"
#include "engine/task_group.hpp"
#include "tests/support/coroutine.hpp"
#include "tests/support/temp_dir.hpp"
#include "tools/agent/grpc_server_stream.hpp"
#include "transport/grpc_stream.hpp"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <functional>
#include <lazypull/agent/v1/agent.grpc.pb.h>
#include <memory>
#include <optional>
#include <string>

namespace lazypull {
namespace {

namespace api = agent::v1;
using Body = std::function<Awaitable<>(ServerStream<api::PullProgress>&)>;
using Reader = ReadStream<api::PullProgress>;

/// Answers with whatever the test wants.
class ScriptedService final : public api::Agent::CallbackService {
 public:
  explicit ScriptedService(asio::any_io_executor home) : home_(std::move(home)) {}
  grpc::ServerWriteReactor<api::PullProgress>* Pull(grpc::CallbackServerContext* context,
                                                    const api::PullRequest*) override {
    return serve_stream<api::PullProgress>(home_, context, body);
  }
  Body body;

 private:
  asio::any_io_executor home_;
};

class AgentStreamTest : public ::testing::Test {
 protected:
  AgentStreamTest() {
    keep_grpc_running();
    const auto address = "unix:" + (folder / "agent.sock").string();
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials());
    builder.RegisterService(&service);
    server = builder.BuildAndStart();
    stub = api::Agent::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  }
  ~AgentStreamTest() override {
    server->Shutdown(std::chrono::system_clock::now());
    // What the end of a call hands over to home is taken there.
    home.restart();
    home.poll();
  }

  using Client = std::function<Awaitable<>(Reader&)>;

  /// Both sides run on one home thread; the client goes with its stream.
  void call(const Client& client) {
    using Async = api::Agent::StubInterface::async_interface;
    using Start = void (Async::*)(grpc::ClientContext*, const api::PullRequest*,
                                  grpc::ClientReadReactor<api::PullProgress>*);
    CallOptions options;
    options.name = "Agent/Pull";
    auto stream = open_read_stream(home.get_executor(), stub->async(), static_cast<Start>(&Async::Pull),
                                   api::PullRequest(), options);
    test::run_on(home, run_client(client, std::move(stream)));
  }
  static Awaitable<> run_client(const Client& client, std::unique_ptr<Reader> stream) {
    co_await client(*stream);
    stream.reset();
  }

  static api::PullProgress state(std::uint64_t bytes, std::size_t padding = 0) {
    api::PullProgress progress;
    progress.mutable_state()->set_fetched_bytes(bytes);
    progress.mutable_state()->set_reference(std::string(padding, 'x'));
    return progress;
  }

  test::TempDir folder{"stream"};
  asio::io_context home{1};
  ScriptedService service{home.get_executor()};
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<api::Agent::StubInterface> stub;
};

TEST_F(AgentStreamTest, MessagesComeInOrderAndThenTheEnd) {
  service.body = [](ServerStream<api::PullProgress>& stream) -> Awaitable<> {
    for (std::uint64_t i = 0; i < 50; ++i) co_await stream.write(state(i));
  };
  call([](Reader& stream) -> Awaitable<> {
    for (std::uint64_t i = 0; i < 50; ++i) {
      const auto message = co_await stream.read();
      EXPECT_EQ(message.value().state().fetched_bytes(), i);
    }
    const auto last = co_await stream.read();
    EXPECT_FALSE(last.has_value());
    const auto status = co_await stream.finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
  });
}

TEST_F(AgentStreamTest, WhatTheBodyThrowsIsTheStatus) {
  service.body = [](ServerStream<api::PullProgress>& stream) -> Awaitable<> {
    co_await stream.write(state(1));
    throw Error(Errc::not_found, "pull app:1: no such image");
  };
  call([](Reader& stream) -> Awaitable<> {
    const auto first = co_await stream.read();
    EXPECT_TRUE(first.has_value());
    const auto status = co_await stream.finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
    EXPECT_EQ(status.error_message(), "pull app:1: no such image");
  });
}

TEST_F(AgentStreamTest, AClientThatGoesCancelsTheBody) {
  std::optional<Errc> ended_with;
  Event ended(home.get_executor());
  service.body = [&](ServerStream<api::PullProgress>& stream) -> Awaitable<> {
    Event never(home.get_executor());
    std::exception_ptr failure;
    // The client may go before it is known that its message has been sent, or after.
    try {
      co_await stream.write(state(1));
      co_await never.wait();
    } catch (...) {
      failure = std::current_exception();
    }
    ended_with = as_error(failure).code();
    ended.set();
  };
  call([&](Reader& stream) -> Awaitable<> {
    const auto first = co_await stream.read();
    EXPECT_TRUE(first.has_value());
  });
  test::run_on(home, ended.wait());
  EXPECT_EQ(ended_with, Errc::cancelled);
}

TEST_F(AgentStreamTest, ASlowReaderMissesStatesAndGetsTheNewest) {
  constexpr std::uint64_t last = 2000;
  std::uint64_t now = 0;
  std::uint64_t written = 0;
  service.body = [&](ServerStream<api::PullProgress>& stream) -> Awaitable<> {
    for (std::uint64_t sent = 0; sent < last; ++written) {
      sent = now;
      // Larger than what gRPC takes in advance.
      co_await stream.write(state(sent, std::size_t{512} << 10U));
    }
  };
  call([&](Reader& stream) -> Awaitable<> {
    const auto first = co_await stream.read();
    EXPECT_TRUE(first.has_value());
    while (now < last) {
      ++now;
      co_await test::step();
    }
    std::uint64_t newest = 0;
    std::uint64_t count = 1;
    for (;;) {
      const auto message = co_await stream.read();
      if (!message) break;
      EXPECT_GE(message->state().fetched_bytes(), newest);
      newest = message->state().fetched_bytes();
      ++count;
    }
    EXPECT_EQ(newest, last);
    EXPECT_EQ(count, written);
    EXPECT_LT(count, last / 4);
  });
}

TEST_F(AgentStreamTest, ABodyIsCancelledWhileItsMessageWaitsForASlowReader) {
  bool gave_up = false;
  Event ended(home.get_executor());
  service.body = [&](ServerStream<api::PullProgress>& stream) -> Awaitable<> {
    std::exception_ptr failure;
    try {
      for (;;) co_await stream.write(state(1, std::size_t{1} << 20U));
    } catch (...) {
      failure = std::current_exception();
    }
    gave_up = as_error(failure).code() == Errc::cancelled;
    ended.set();
  };
  call([&](Reader& stream) -> Awaitable<> {
    const auto first = co_await stream.read();
    EXPECT_TRUE(first.has_value());
  });
  test::run_on(home, ended.wait());
  EXPECT_TRUE(gave_up);
}

}  // namespace
}  // namespace lazypull
