#include "transport/grpc_bridge.hpp"

#include "transport/grpc_stream.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <containerd/services/content.grpc.pb.h>
#include <containerd/services/snapshots.grpc.pb.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <exception>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unistd.h>

namespace lazypull {
namespace {

namespace snapshots = ::containerd::services::snapshots::v1;
namespace content = ::containerd::services::content::v1;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""h;
using std::chrono_literals::operator""s;

// Something happened on another thread.
class Latch {
 public:
  void set() {
    const std::lock_guard lock(mutex_);
    set_ = true;
    changed_.notify_all();
  }
  bool wait_for(std::chrono::seconds limit) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, limit, [this] { return set_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool set_ = false;
};

// The daemon's half of a call that is never answered: it lasts until the client gives it up.
grpc::Status last_until_cancelled(grpc::ServerContext& context, Latch& arrived, Latch& gave_up) {
  arrived.set();
  while (!context.IsCancelled()) std::this_thread::sleep_for(1ms);
  gave_up.set();
  return grpc::Status::CANCELLED;
}

class FakeSnapshots final : public snapshots::Snapshots::Service {
 public:
  grpc::Status Prepare(grpc::ServerContext* context, const snapshots::PrepareSnapshotRequest* request,
                       snapshots::PrepareSnapshotResponse* response) override {
    if (request->key() == "slow") return last_until_cancelled(*context, arrived, gave_up);
    const auto name_space = context->client_metadata().find("containerd-namespace");
    auto* mount = response->add_mounts();
    mount->set_type("bind");
    mount->set_source(request->parent());
    if (name_space != context->client_metadata().end()) {
      mount->set_target(std::string(name_space->second.data(), name_space->second.size()));
    }
    return grpc::Status::OK;
  }
  grpc::Status Stat(grpc::ServerContext*, const snapshots::StatSnapshotRequest* request,
                    snapshots::StatSnapshotResponse*) override {
    return {grpc::StatusCode::NOT_FOUND, "snapshot " + request->key() + " does not exist"};
  }
  grpc::Status List(grpc::ServerContext* context, const snapshots::ListSnapshotsRequest* request,
                    grpc::ServerWriter<snapshots::ListSnapshotsResponse>* writer) override {
    for (int i = 0; i < 3; ++i) {
      snapshots::ListSnapshotsResponse part;
      part.add_info()->set_name(std::to_string(i));
      writer->Write(part);
    }
    if (request->snapshotter() == "endless") return last_until_cancelled(*context, arrived, gave_up);
    if (request->snapshotter() == "broken") return {grpc::StatusCode::UNKNOWN, "disk on fire"};
    return grpc::Status::OK;
  }

  Latch arrived;
  Latch gave_up;
};

class FakeContent final : public content::Content::Service {
 public:
  grpc::Status Write(grpc::ServerContext* context,
                     grpc::ServerReaderWriter<content::WriteContentResponse, content::WriteContentRequest>*
                         stream) override {
    content::WriteContentRequest request;
    std::int64_t offset = 0;
    while (stream->Read(&request)) {
      if (request.ref() == "refused") return {grpc::StatusCode::UNAVAILABLE, "ref refused locked"};
      if (request.ref() == "slow") return last_until_cancelled(*context, arrived, gave_up);
      offset += static_cast<std::int64_t>(request.data().size());
      content::WriteContentResponse answer;
      answer.set_action(request.action());
      answer.set_offset(offset);
      stream->Write(answer);
      if (request.action() == content::COMMIT) return grpc::Status::OK;
    }
    if (context->IsCancelled()) gave_up.set();
    return grpc::Status::OK;
  }

  Latch arrived;
  Latch gave_up;
};

class GrpcBridge : public ::testing::Test {
 public:
  void SetUp() override {
    keep_grpc_running();
    std::string folder = (std::filesystem::temp_directory_path() / "lazypull-grpc-XXXXXX").string();
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    folder_ = folder;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix:" + folder_ + "/socket", grpc::InsecureServerCredentials());
    builder.RegisterService(&snapshots_);
    builder.RegisterService(&content_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    grpc::ChannelArguments arguments;
    arguments.SetInt("grpc.use_local_subchannel_pool", 1);
    channel_ = grpc::CreateCustomChannel("unix:" + folder_ + "/socket", grpc::InsecureChannelCredentials(),
                                         arguments);
    snapshots_stub_ = snapshots::Snapshots::NewStub(channel_);
    content_stub_ = content::Content::NewStub(channel_);
  }
  void TearDown() override {
    if (server_) server_->Shutdown(std::chrono::system_clock::now());
    std::filesystem::remove_all(folder_);
  }

  // Runs the coroutine to its end on this thread, home.
  void run(Awaitable<> test) {
    std::exception_ptr failure;
    bool ended = false;
    asio::co_spawn(home_, std::move(test),
                   asio::bind_cancellation_slot(cancel_.slot(), [&](const std::exception_ptr& thrown) {
                     failure = thrown;
                     ended = true;
                   }));
    home_.run();
    home_.restart();
    EXPECT_TRUE(ended) << "home ran out of work before the coroutine's end";
    if (failure) std::rethrow_exception(failure);
  }

  Awaitable<Reply<snapshots::PrepareSnapshotResponse>> prepare(std::string key, CallOptions options) {
    snapshots::PrepareSnapshotRequest request;
    request.set_key(std::move(key));
    request.set_parent("below");
    return unary_call(snapshots_stub_->async(),
                      &snapshots::Snapshots::StubInterface::async_interface::Prepare, std::move(request),
                      std::move(options));
  }

  auto list(const std::string& snapshotter, const CallOptions& options) {
    snapshots::ListSnapshotsRequest request;
    request.set_snapshotter(snapshotter);
    return open_read_stream(home_.get_executor(), snapshots_stub_->async(),
                            &snapshots::Snapshots::StubInterface::async_interface::List, request, options);
  }

  using WriteStream = BidiStream<content::WriteContentRequest, content::WriteContentResponse>;
  WriteStream open_write(const CallOptions& options) {
    return WriteStream(home_.get_executor(), content_stub_->async(), &content::Content::Stub::async::Write,
                       options);
  }

  // From another thread, once the daemon has the call: cancels the coroutine on its own thread.
  std::thread cancel_after(Latch& arrived) {
    return std::thread([this, &arrived] {
      EXPECT_TRUE(arrived.wait_for(10s));
      asio::post(home_, [this] { cancel_.emit(asio::cancellation_type::terminal); });
    });
  }

  FakeSnapshots snapshots_;
  FakeContent content_;
  std::string folder_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<snapshots::Snapshots::Stub> snapshots_stub_;
  std::unique_ptr<content::Content::Stub> content_stub_;
  asio::io_context home_;
  asio::cancellation_signal cancel_;
};

CallOptions options_with(std::chrono::milliseconds deadline) {
  return {"Test/Call", deadline, {}};
}

TEST_F(GrpcBridge, AnswersAUnaryCallWithTheMessageAndSendsMetadata) {
  auto body = [](GrpcBridge& t, Reply<snapshots::PrepareSnapshotResponse>& out) -> Awaitable<> {
    CallOptions options{"Snapshots/Prepare key", 10s, {{"containerd-namespace", "k8s.io"}}};
    out = co_await t.prepare("key", options);
  };
  Reply<snapshots::PrepareSnapshotResponse> reply;
  run(body(*this, reply));
  ASSERT_TRUE(reply.status.ok());
  ASSERT_EQ(reply.message.mounts_size(), 1);
  EXPECT_EQ(reply.message.mounts(0).source(), "below");
  EXPECT_EQ(reply.message.mounts(0).target(), "k8s.io");
}

TEST_F(GrpcBridge, GivesARefusalAsAValue) {
  grpc::Status status;
  auto body = [](GrpcBridge& t, grpc::Status& out) -> Awaitable<> {
    snapshots::StatSnapshotRequest request;
    request.set_key("absent");
    const auto reply = co_await unary_call(t.snapshots_stub_->async(),
                                           &snapshots::Snapshots::StubInterface::async_interface::Stat,
                                           request, options_with(10s));
    out = reply.status;
  };
  run(body(*this, status));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(status.error_message(), "snapshot absent does not exist");
}

TEST_F(GrpcBridge, EndsAUnaryCallAtItsDeadline) {
  grpc::Status status;
  auto body = [](GrpcBridge& t, grpc::Status& out) -> Awaitable<> {
    const auto reply = co_await t.prepare("slow", options_with(50ms));
    out = reply.status;
  };
  run(body(*this, status));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

TEST_F(GrpcBridge, PassesCancellationOnAndWaitsForGrpcsEnd) {
  grpc::Status status;
  auto body = [](GrpcBridge& t, grpc::Status& out) -> Awaitable<> {
    const auto reply = co_await t.prepare("slow", options_with(1h));
    out = reply.status;
  };
  auto canceller = cancel_after(snapshots_.arrived);
  run(body(*this, status));
  canceller.join();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(snapshots_.gave_up.wait_for(10s));
}

TEST_F(GrpcBridge, SaysUnavailableWhenTheServerIsGone) {
  server_->Shutdown(std::chrono::system_clock::now());
  server_.reset();
  std::filesystem::remove_all(folder_);
  grpc::Status status;
  auto body = [](GrpcBridge& t, grpc::Status& out) -> Awaitable<> {
    const auto reply = co_await t.prepare("key", options_with(10s));
    out = reply.status;
  };
  run(body(*this, status));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(GrpcBridge, EndsACallThatTheServerDropsInTheMiddle) {
  grpc::Status status;
  auto body = [](GrpcBridge& t, grpc::Status& out) -> Awaitable<> {
    const auto reply = co_await t.prepare("slow", options_with(1h));
    out = reply.status;
  };
  std::thread stopper([this] {
    EXPECT_TRUE(snapshots_.arrived.wait_for(10s));
    server_->Shutdown(std::chrono::system_clock::now());
  });
  run(body(*this, status));
  stopper.join();
  EXPECT_FALSE(status.ok());
}

TEST_F(GrpcBridge, RefusesMetadataThatWouldAbortTheProcess) {
  auto body = [](GrpcBridge& t) -> Awaitable<> {
    CallOptions options{"Test/Call", 10s, {{"containerd-namespace", "two\nlines"}}};
    co_await t.prepare("key", options);
  };
  try {
    run(body(*this));
    FAIL() << "the call was made";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::invalid_argument);
    EXPECT_EQ(error.message(), "Test/Call: the metadata containerd-namespace cannot be sent");
  }
}

TEST_F(GrpcBridge, ManyCallsAtOnceAllEnd) {
  int answered = 0;
  auto one = [](GrpcBridge& t, int& count) -> Awaitable<> {
    const auto reply = co_await t.prepare("key", options_with(30s));
    if (reply.status.ok()) ++count;
  };
  for (int i = 0; i < 200; ++i) {
    asio::co_spawn(home_, one(*this, answered),
                   [](const std::exception_ptr& failure) { EXPECT_FALSE(failure); });
  }
  home_.run();
  EXPECT_EQ(answered, 200);
}

TEST_F(GrpcBridge, ReadsAStreamToItsGoodEnd) {
  std::vector<std::string> names;
  grpc::Status status(grpc::StatusCode::UNKNOWN, "not set");
  auto body = [](GrpcBridge& t, std::vector<std::string>& seen, grpc::Status& out) -> Awaitable<> {
    const auto stream = t.list("native", options_with(10s));
    for (;;) {
      const auto part = co_await stream->read();
      if (!part) break;
      seen.push_back(part->info(0).name());
    }
    out = co_await stream->finish();
  };
  run(body(*this, names, status));
  EXPECT_EQ(names, (std::vector<std::string>{"0", "1", "2"}));
  EXPECT_TRUE(status.ok());
}

TEST_F(GrpcBridge, TellsABrokenStreamFromAFinishedOne) {
  grpc::Status status;
  auto body = [](GrpcBridge& t, grpc::Status& out) -> Awaitable<> {
    const auto stream = t.list("broken", options_with(10s));
    for (;;) {
      const auto part = co_await stream->read();
      if (!part) break;
    }
    out = co_await stream->finish();
  };
  run(body(*this, status));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNKNOWN);
  EXPECT_EQ(status.error_message(), "disk on fire");
}

TEST_F(GrpcBridge, CancelsAStreamThatIsDestroyedBeforeItsEnd) {
  auto body = [](GrpcBridge& t) -> Awaitable<> {
    const auto stream = t.list("endless", options_with(1h));
    const auto part = co_await stream->read();
    EXPECT_TRUE(part.has_value());
  };
  run(body(*this));
  EXPECT_TRUE(snapshots_.gave_up.wait_for(10s));
}

// The call has the last hold of the channel then, and the channel waits for gRPC's threads when it goes.
TEST_F(GrpcBridge, AnAbandonedCallMayOutliveItsChannel) {
  auto body = [](GrpcBridge& t) -> Awaitable<> {
    auto channel = grpc::CreateChannel("unix:" + t.folder_ + "/socket", grpc::InsecureChannelCredentials());
    const auto stub = snapshots::Snapshots::NewStub(channel);
    const auto stream =
        open_read_stream(t.home_.get_executor(), stub->async(),
                         &snapshots::Snapshots::StubInterface::async_interface::List, {}, options_with(10s));
    co_await stream->read();
    channel.reset();
  };
  channel_.reset();
  snapshots_stub_.reset();
  content_stub_.reset();
  for (int i = 0; i < 30; ++i) run(body(*this));
}

TEST_F(GrpcBridge, EndsAStepOfAStreamAtItsDeadline) {
  auto body = [](GrpcBridge& t) -> Awaitable<> {
    const auto stream = t.list("endless", options_with(100ms));
    for (;;) {
      const auto part = co_await stream->read();
      if (!part) break;
    }
  };
  try {
    run(body(*this));
    FAIL() << "an endless stream ended";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::timed_out);
    EXPECT_EQ(error.message(), "Test/Call: deadline exceeded");
  }
}

TEST_F(GrpcBridge, WritesAndReadsInBothDirections) {
  std::int64_t offset = 0;
  grpc::Status status(grpc::StatusCode::UNKNOWN, "not set");
  auto body = [](GrpcBridge& t, std::int64_t& end, grpc::Status& out) -> Awaitable<> {
    auto stream = t.open_write(options_with(10s));
    for (int i = 0; i < 20; ++i) {
      auto& request = stream.request();
      request.set_action(i == 19 ? content::COMMIT : content::WRITE);
      request.set_data(std::string(100'000, 'x'));
      const bool sent = co_await stream.write();
      EXPECT_TRUE(sent);
    }
    for (;;) {
      const auto answer = co_await stream.read();
      if (!answer) break;
      end = answer->offset();
    }
    out = co_await stream.finish();
  };
  run(body(*this, offset, status));
  EXPECT_EQ(offset, 2'000'000);
  EXPECT_TRUE(status.ok());
}

TEST_F(GrpcBridge, FindsTheEndAlthoughAnswersHaveNotBeenRead) {
  grpc::Status status(grpc::StatusCode::UNKNOWN, "not set");
  auto body = [](GrpcBridge& t, grpc::Status& out) -> Awaitable<> {
    auto stream = t.open_write(options_with(10s));
    for (const auto action : {content::WRITE, content::WRITE, content::COMMIT}) {
      stream.request().set_action(action);
      co_await stream.write();
    }
    out = co_await stream.finish();
  };
  run(body(*this, status));
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(GrpcBridge, ReportsWhyTheServerEndedABidirectionalStream) {
  grpc::Status status;
  auto body = [](GrpcBridge& t, grpc::Status& out) -> Awaitable<> {
    auto stream = t.open_write(options_with(10s));
    stream.request().set_ref("refused");
    const bool sent = co_await stream.write();
    if (sent) {
      const auto answer = co_await stream.read();
      EXPECT_FALSE(answer.has_value());
    }
    out = co_await stream.finish();
  };
  run(body(*this, status));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(status.error_message(), "ref refused locked");
}

TEST_F(GrpcBridge, ALargeWriteIsGivenUpWhenItIsCancelled) {
  bool sent = true;
  auto body = [](GrpcBridge& t, bool& out) -> Awaitable<> {
    auto stream = t.open_write(options_with(1h));
    // The server reads one message only, so flow control holds the others back sooner or later.
    for (;;) {
      stream.request().set_ref("slow");
      stream.request().set_data(std::string(1U << 20U, 'x'));
      out = co_await stream.write();
      if (!out) co_return;
    }
  };
  auto canceller = cancel_after(content_.arrived);
  EXPECT_ANY_THROW({
    run(body(*this, sent));
    if (!sent) throw Error(Errc::cancelled, "the write was given up");
  });
  canceller.join();
  EXPECT_TRUE(content_.gave_up.wait_for(10s));
}

TEST_F(GrpcBridge, ABidirectionalReadIsGivenUpWhenItIsCancelled) {
  bool answered = true;
  auto body = [](GrpcBridge& t, bool& out) -> Awaitable<> {
    auto stream = t.open_write(options_with(1h));
    stream.request().set_ref("slow");
    co_await stream.write();
    const auto answer = co_await stream.read();
    out = answer.has_value();
  };
  auto canceller = cancel_after(content_.arrived);
  try {
    run(body(*this, answered));
    EXPECT_FALSE(answered);
  } catch (const std::exception& failure) {
    // The cancellation came between the two steps.
    EXPECT_EQ(as_error(std::current_exception()).code(), Errc::cancelled) << failure.what();
  }
  canceller.join();
  EXPECT_TRUE(content_.gave_up.wait_for(10s));
}

}  // namespace
}  // namespace lazypull
