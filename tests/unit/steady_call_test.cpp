// containerd that goes away and comes back in the middle of calls: what is made again, and what becomes of
// calls that had been carried out before their answer was lost.
#include "snapshot/containerd_snapshotter.hpp"
#include "tests/support/registry_fixture.hpp"
#include "tests/support/temp_dir.hpp"
#include "transport/containerd/content.hpp"
#include "transport/containerd/daemon_wait.hpp"
#include "transport/containerd/leases.hpp"
#include "transport/grpc_event.hpp"

#include <containerd/services/content.grpc.pb.h>
#include <containerd/services/leases.grpc.pb.h>
#include <containerd/services/snapshots.grpc.pb.h>
#include <gmock/gmock.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <mutex>

namespace lazypull {
namespace {

namespace snapshots_api = ::containerd::services::snapshots::v1;
namespace leases_api = ::containerd::services::leases::v1;
namespace content_api = ::containerd::services::content::v1;
using std::chrono::milliseconds;
using testing::HasSubstr;

const grpc::Status gone{grpc::StatusCode::UNAVAILABLE, "connection refused"};

/// How often something is still to go wrong, and how often it was asked for.
struct Trouble {
  int refused = 0;      ///< so many calls do nothing
  int answer_lost = 0;  ///< then so many are carried out, and nobody hears of it
  int calls = 0;

  /// The call's answer, if it is not the one that was asked for.
  template <class Work>
  grpc::Status around(Work work) {
    ++calls;
    if (refused > 0) {
      --refused;
      return gone;
    }
    const grpc::Status status = work();
    if (answer_lost == 0) return status;
    --answer_lost;
    return gone;
  }
};

class Snapshots final : public snapshots_api::Snapshots::Service {
 public:
  grpc::Status Prepare(grpc::ServerContext*, const snapshots_api::PrepareSnapshotRequest* request,
                       snapshots_api::PrepareSnapshotResponse* response) override {
    const std::lock_guard lock(mutex);
    return prepare.around([&]() -> grpc::Status {
      if (!kinds.emplace(request->key(), snapshots_api::ACTIVE).second)
        return {grpc::StatusCode::ALREADY_EXISTS, "snapshot exists"};
      response->add_mounts()->set_source("/made");
      return grpc::Status::OK;
    });
  }
  grpc::Status Mounts(grpc::ServerContext*, const snapshots_api::MountsRequest*,
                      snapshots_api::MountsResponse* response) override {
    response->add_mounts()->set_source("/made");
    return grpc::Status::OK;
  }
  grpc::Status Stat(grpc::ServerContext*, const snapshots_api::StatSnapshotRequest* request,
                    snapshots_api::StatSnapshotResponse* response) override {
    const std::lock_guard lock(mutex);
    return stat.around([&]() -> grpc::Status {
      const auto found = kinds.find(request->key());
      if (found == kinds.end()) return {grpc::StatusCode::NOT_FOUND, "no such snapshot"};
      response->mutable_info()->set_kind(found->second);
      return grpc::Status::OK;
    });
  }
  grpc::Status Commit(grpc::ServerContext*, const snapshots_api::CommitSnapshotRequest* request,
                      google::protobuf::Empty*) override {
    const std::lock_guard lock(mutex);
    return commit.around([&]() -> grpc::Status {
      if (kinds.erase(request->key()) == 0) return {grpc::StatusCode::NOT_FOUND, "no such snapshot"};
      kinds[request->name()] = snapshots_api::COMMITTED;
      return grpc::Status::OK;
    });
  }

  std::mutex mutex;
  std::map<std::string, snapshots_api::Kind> kinds;
  Trouble prepare;
  Trouble stat;
  Trouble commit;
};

class Leases final : public leases_api::Leases::Service {
 public:
  grpc::Status Create(grpc::ServerContext*, const leases_api::CreateRequest* request,
                      leases_api::CreateResponse*) override {
    const std::lock_guard lock(mutex);
    return create.around([&]() -> grpc::Status {
      const bool there = std::ranges::find(ids, request->id()) != ids.end();
      if (there) return {grpc::StatusCode::ALREADY_EXISTS, "lease exists"};
      ids.push_back(request->id());
      return grpc::Status::OK;
    });
  }

  std::mutex mutex;
  std::vector<std::string> ids;
  Trouble create;
};

/// One blob, and one ingest, whose stream breaks once where the test says.
class Content final : public content_api::Content::Service {
 public:
  using Stream =
      grpc::ServerReaderWriter<content_api::WriteContentResponse, content_api::WriteContentRequest>;

  grpc::Status Write(grpc::ServerContext*, Stream* stream) override {
    content_api::WriteContentRequest request;
    const std::lock_guard lock(mutex);
    ++streams;
    if (refused > 0) {
      --refused;
      return gone;
    }
    while (stream->Read(&request)) {
      if (!blob.empty()) return {grpc::StatusCode::ALREADY_EXISTS, "content exists"};
      if (locked) return {grpc::StatusCode::UNAVAILABLE, "ref layer locked: unavailable"};
      if (!request.data().empty()) {
        if (static_cast<std::size_t>(request.offset()) != ingest.size())
          return {grpc::StatusCode::OUT_OF_RANGE, "write at another offset"};
        ingest += request.data();
      }
      if (break_at > 0 && ingest.size() >= break_at) {
        ingest.resize(keeps);
        break_at = 0;
        return gone;
      }
      const bool commits = request.action() == content_api::COMMIT;
      if (commits) blob = ingest;
      if (commits && lose_commit) return gone;
      content_api::WriteContentResponse answer;
      answer.set_action(request.action());
      answer.set_offset(static_cast<std::int64_t>(ingest.size()));
      stream->Write(answer);
      if (commits) return grpc::Status::OK;
    }
    return grpc::Status::OK;
  }

  grpc::Status Read(grpc::ServerContext*, const content_api::ReadContentRequest* request,
                    grpc::ServerWriter<content_api::ReadContentResponse>* writer) override {
    const std::lock_guard lock(mutex);
    ++streams;
    constexpr std::size_t part = 100'000;
    for (auto at = static_cast<std::size_t>(request->offset()); at < blob.size(); at += part) {
      if (break_at > 0 && at >= break_at) {
        break_at = 0;
        return gone;
      }
      content_api::ReadContentResponse response;
      response.set_offset(static_cast<std::int64_t>(at));
      response.set_data(blob.substr(at, part));
      writer->Write(response);
    }
    return grpc::Status::OK;
  }

  std::mutex mutex;
  std::string ingest;
  std::string blob;
  bool locked = false;
  bool lose_commit = false;
  std::size_t break_at = 0;  ///< bytes; 0 is never
  std::size_t keeps = 0;     ///< what is left of the ingest then
  int refused = 0;           ///< so many streams are
  int streams = 0;
};

class SteadyCalls : public testing::Test {
 protected:
  SteadyCalls() {
    keep_grpc_running();
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix:" + socket(), grpc::InsecureServerCredentials());
    for (grpc::Service* service : std::initializer_list<grpc::Service*>{&snapshots, &leases, &content})
      builder.RegisterService(service);
    server_ = builder.BuildAndStart();
  }
  ~SteadyCalls() override { server_->Shutdown(std::chrono::system_clock::now()); }

  std::string socket() const { return (folder_ / "socket").string(); }
  ContainerdClient client(milliseconds patience = milliseconds(5000)) const {
    ContainerdOptions options;
    options.address = socket();
    options.deadlines.reconnect = patience;
    return ContainerdClient::open(std::move(options));
  }
  Descriptor layer(const std::string& bytes) const {
    Descriptor descriptor;
    descriptor.media_type = std::string(media_type::oci_manifest);
    descriptor.digest = Digest::sha256_of(std::string_view(bytes));
    descriptor.size = bytes.size();
    return descriptor;
  }
  template <class T>
  T value_of(Awaitable<T> coroutine) {
    return test::value_of(home, std::move(coroutine));
  }
  template <class T>
  Error error_of(Awaitable<T> coroutine) {
    return test::error_of(home, std::move(coroutine));
  }

  Snapshots snapshots;
  Leases leases;
  Content content;
  asio::io_context home{1};

 private:
  test::TempDir folder_{"steady"};
  std::unique_ptr<grpc::Server> server_;
};

Awaitable<CommitOutcome> store(ContainerdContent& content, Descriptor descriptor, const std::string& bytes) {
  const auto ingest = co_await content.ingest("layer", descriptor);
  if (!ingest) co_return CommitOutcome::already_exists;
  const auto all = std::as_bytes(std::span(bytes)).subspan(static_cast<std::size_t>(ingest->offset()));
  constexpr std::size_t piece = 300'000;
  for (std::size_t at = 0; at < all.size(); at += piece) {
    co_await ingest->write(all.subspan(at, std::min(piece, all.size() - at)));
  }
  const Labels none;
  const auto outcome = co_await ingest->commit(none);
  co_return outcome;
}

std::string varied_bytes(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>((i * 2654435761U) >> 13U);
  return bytes;
}

TEST_F(SteadyCalls, AreMadeAgainUntilTheDaemonIsBack) {
  leases.create.refused = 3;
  ContainerdLeases client_of_leases(client());
  const auto id = value_of(client_of_leases.create(std::chrono::seconds(60)));
  EXPECT_EQ(leases.ids, std::vector<std::string>{id});
  EXPECT_EQ(leases.create.calls, 4);
}

using Restart = SteadyCalls;

TEST_F(Restart, ThatDoesNotComeIsAnErrorThatNamesTheCall) {
  leases.create.refused = 1'000'000;
  ContainerdLeases client_of_leases(client(milliseconds(200)));
  const auto error = error_of(client_of_leases.create(std::chrono::seconds(60)));
  EXPECT_EQ(error.code(), Errc::unavailable);
  EXPECT_THAT(error.message(), HasSubstr("Leases/Create "));
  EXPECT_GT(leases.create.calls, 2);
}

TEST_F(SteadyCalls, AreNotRepeatedToASnapshotterThatHasNeverAnswered) {
  snapshots.stat.refused = 1'000'000;
  ContainerdSnapshotter snapshotter(client(), "remote");
  EXPECT_EQ(error_of(snapshotter.stat("key")).code(), Errc::unavailable);
  EXPECT_EQ(snapshots.stat.calls, 1);
}

TEST_F(SteadyCalls, AreRepeatedToASnapshotterThatHas) {
  ContainerdSnapshotter snapshotter(client(), "remote");
  EXPECT_FALSE(value_of(snapshotter.stat("key")));
  snapshots.stat.refused = 2;
  EXPECT_FALSE(value_of(snapshotter.stat("key")));
  EXPECT_EQ(snapshots.stat.calls, 4);
}

TEST_F(SteadyCalls, ALeaseThatWasMadeUnheardIsTheOneThatIsUsed) {
  leases.create.answer_lost = 1;
  ContainerdLeases client_of_leases(client());
  const auto id = value_of(client_of_leases.create(std::chrono::seconds(60)));
  EXPECT_EQ(leases.ids, std::vector<std::string>{id});
}

TEST_F(SteadyCalls, ASnapshotThatWasPreparedUnheardIsTheOneThatIsFilled) {
  ContainerdSnapshotter snapshotter(client(), "overlayfs");
  value_of(snapshotter.stat("key"));
  snapshots.prepare.answer_lost = 1;
  const auto outcome = value_of(snapshotter.prepare("key", "", {}));
  EXPECT_FALSE(outcome.already_exists);
  ASSERT_EQ(outcome.mounts.size(), 1U);
  EXPECT_EQ(outcome.mounts[0].source, "/made");
  EXPECT_EQ(snapshots.prepare.calls, 2);
}

TEST_F(SteadyCalls, ATargetThatExistsAfterARestartIsStillOneThatExists) {
  ContainerdSnapshotter snapshotter(client(), "remote");
  value_of(snapshotter.stat("key"));
  snapshots.kinds["key"] =
      snapshots_api::COMMITTED;  // stands for what a remote snapshotter says of its target
  snapshots.prepare.refused = 1;
  EXPECT_TRUE(value_of(snapshotter.prepare("key", "", {})).already_exists);
}

TEST_F(SteadyCalls, ASnapshotThatWasCommittedUnheardIsCommitted) {
  ContainerdSnapshotter snapshotter(client(), "overlayfs");
  value_of(snapshotter.prepare("key", "", {}));
  snapshots.commit.answer_lost = 1;
  EXPECT_EQ(value_of(snapshotter.commit("chain", "key", {})), CommitOutcome::committed);
  EXPECT_EQ(snapshots.commit.calls, 2);
}

TEST_F(SteadyCalls, ASnapshotThatIsReallyGoneIsNotFound) {
  ContainerdSnapshotter snapshotter(client(), "overlayfs");
  value_of(snapshotter.stat("key"));
  snapshots.commit.refused = 1;
  EXPECT_EQ(error_of(snapshotter.commit("chain", "key", {})).code(), Errc::not_found);
}

TEST_F(SteadyCalls, WhatAnIngestHadNotConfirmedIsSentAgainFromWhereItsFileEnds) {
  const auto bytes = varied_bytes(9'000'000);
  for (const std::size_t lost : {0U, 1U, 700'000U, 1'048'576U}) {
    SCOPED_TRACE(lost);
    content.ingest.clear();
    content.blob.clear();
    content.streams = 0;
    content.break_at = 5U << 20U;
    content.keeps = (5U << 20U) - lost;
    content.refused = 0;
    ContainerdContent store_of_content(client());
    EXPECT_EQ(value_of(store(store_of_content, layer(bytes), bytes)), CommitOutcome::committed);
    EXPECT_TRUE(content.blob == bytes);
    EXPECT_EQ(content.streams, 2);
  }
}

TEST_F(SteadyCalls, AnIngestThatHasLostWhatWasConfirmedIsAnError) {
  const auto bytes = varied_bytes(9'000'000);
  content.break_at = 8U << 20U;
  content.keeps = 1000;
  ContainerdContent store_of_content(client());
  const auto error = error_of(store(store_of_content, layer(bytes), bytes));
  EXPECT_EQ(error.code(), Errc::failed_precondition);
  EXPECT_THAT(error.message(),
              HasSubstr("Content/Write layer: containerd has come back with 1000 bytes of it"));
}

TEST_F(SteadyCalls, AnIngestIsOpenedOnceTheDaemonIsBack) {
  const auto bytes = varied_bytes(1000);
  content.refused = 3;
  ContainerdContent store_of_content(client());
  EXPECT_EQ(value_of(store(store_of_content, layer(bytes), bytes)), CommitOutcome::committed);
  EXPECT_EQ(content.streams, 4);
}

TEST_F(SteadyCalls, ContentThatWasCommittedUnheardIsThere) {
  const auto bytes = varied_bytes(2'000'000);
  content.lose_commit = true;
  ContainerdContent store_of_content(client());
  EXPECT_EQ(value_of(store(store_of_content, layer(bytes), bytes)), CommitOutcome::already_exists);
  EXPECT_TRUE(content.blob == bytes);
}

TEST_F(SteadyCalls, AnIngestThatSomebodyElseWritesIsNotWaitedForHere) {
  content.locked = true;
  ContainerdContent store_of_content(client());
  const std::string bytes = "x";
  EXPECT_EQ(error_of(store(store_of_content, layer(bytes), bytes)).code(), Errc::locked);
  EXPECT_EQ(content.streams, 1);
}

TEST_F(SteadyCalls, ABlobThatBreaksOffIsReadOnFromThere) {
  content.blob = varied_bytes(1'000'000);
  content.break_at = 600'000;
  ContainerdContent store_of_content(client());
  EXPECT_TRUE(value_of(store_of_content.read(layer(content.blob).digest, 1'000'000)) == content.blob);
  EXPECT_EQ(content.streams, 2);
}

TEST(DaemonWait, PausesLongerAndLongerUpToASecondAndEnds) {
  DaemonWait wait(milliseconds(4000));
  DaemonWait::Clock::time_point now{std::chrono::hours(1)};
  std::vector<int> pauses;
  for (;;) {
    const auto pause = wait.next(now);
    if (pause.count() == 0) break;
    pauses.push_back(static_cast<int>(pause.count()));
    now += pause;
  }
  EXPECT_EQ(pauses, (std::vector<int>{50, 100, 200, 400, 800, 1000, 1000, 450}));
}

}  // namespace
}  // namespace lazypull
