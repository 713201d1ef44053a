// The gRPC service of `lazypull snapshotter serve`, as containerd's client sees it.

#include "engine/chain_id.hpp"
#include "engine/error.hpp"
#include "snapshot/embedded/layer_source.hpp"
#include "snapshot/embedded/store.hpp"
#include "snapshot/service/snapshot_root.hpp"
#include "snapshot/service/snapshot_server.hpp"
#include "tests/support/temp_dir.hpp"

#include <containerd/services/snapshots.grpc.pb.h>
#include <gmock/gmock.h>
#include <google/protobuf/util/time_util.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

namespace lazypull {
namespace {

namespace api = ::containerd::services::snapshots::v1;
namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;
using testing::UnorderedElementsAre;
using StringMap = std::map<std::string, std::string>;

constexpr auto ok = grpc::StatusCode::OK;
constexpr auto not_found = grpc::StatusCode::NOT_FOUND;
constexpr auto already_exists = grpc::StatusCode::ALREADY_EXISTS;
constexpr auto failed_precondition = grpc::StatusCode::FAILED_PRECONDITION;
constexpr auto invalid_argument = grpc::StatusCode::INVALID_ARGUMENT;

/// A storage that has what a test puts into it.
class FakeStorage final : public LayerSource {
 public:
  void add(const Digest& layer, const Digest& diff_id, const fs::path& directory) {
    RemoteLayer remote;
    remote.record.digest = layer;
    remote.record.diff_id = diff_id;
    remote.record.tree_digest = Digest::sha256_of("files");
    remote.data = directory;
    layers_.emplace(layer, remote);
  }
  std::optional<RemoteLayer> find(const Digest& layer) override {
    const auto found = layers_.find(layer);
    if (found == layers_.end()) return std::nullopt;
    return found->second;
  }
  fs::path attach(const RemoteLayer& layer) override { return layer.data; }
  void detach(const Digest&) override {}
  std::vector<Digest> attached() const override { return {}; }

 private:
  std::map<Digest, RemoteLayer> layers_;
};

class SnapshotService : public testing::Test {
 protected:
  SnapshotService() { start(); }

  void start(std::shared_ptr<LayerSource> storage = nullptr) {
    root_.emplace(folder_ / "root");
    if (storage) root_->snapshots().use_layer_source(std::move(storage));
    server_.emplace(*root_, options());
    stub_ = connect();
  }
  void stop() {
    server_.reset();
    root_.reset();
  }
  SnapshotServerOptions options() {
    SnapshotServerOptions options;
    options.socket = socket();
    options.log = [this](const std::string&) { ++lines_; };
    return options;
  }
  fs::path socket() const { return folder_ / "snapshotter.sock"; }
  std::unique_ptr<api::Snapshots::Stub> connect() const {
    return api::Snapshots::NewStub(
        grpc::CreateChannel("unix:" + socket().string(), grpc::InsecureChannelCredentials()));
  }

  template <class Response, class Request, class Call>
  Response call(Call method, const Request& request, grpc::StatusCode expected) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    context.AddMetadata("containerd-namespace", "any");
    Response response;
    status_ = ((*stub_).*method)(&context, request, &response);
    EXPECT_EQ(status_.error_code(), expected) << status_.error_message();
    return response;
  }

  std::vector<Mount> prepare(const std::string& key, const std::string& parent = {},
                             const StringMap& labels = {}, grpc::StatusCode expected = ok) {
    api::PrepareSnapshotRequest request;
    request.set_snapshotter("whatever it is called");
    request.set_key(key);
    request.set_parent(parent);
    request.mutable_labels()->insert(labels.begin(), labels.end());
    return mounts_of(call<api::PrepareSnapshotResponse>(&api::Snapshots::Stub::Prepare, request, expected));
  }
  std::vector<Mount> view(const std::string& key, const std::string& parent, grpc::StatusCode expected = ok) {
    api::ViewSnapshotRequest request;
    request.set_key(key);
    request.set_parent(parent);
    return mounts_of(call<api::ViewSnapshotResponse>(&api::Snapshots::Stub::View, request, expected));
  }
  std::vector<Mount> mounts(const std::string& key, grpc::StatusCode expected = ok) {
    api::MountsRequest request;
    request.set_key(key);
    return mounts_of(call<api::MountsResponse>(&api::Snapshots::Stub::Mounts, request, expected));
  }
  void commit(const std::string& name, const std::string& key, const StringMap& labels = {},
              grpc::StatusCode expected = ok) {
    api::CommitSnapshotRequest request;
    request.set_name(name);
    request.set_key(key);
    request.mutable_labels()->insert(labels.begin(), labels.end());
    call<google::protobuf::Empty>(&api::Snapshots::Stub::Commit, request, expected);
  }
  void remove(const std::string& key, grpc::StatusCode expected = ok) {
    api::RemoveSnapshotRequest request;
    request.set_key(key);
    call<google::protobuf::Empty>(&api::Snapshots::Stub::Remove, request, expected);
  }
  api::Info stat(const std::string& key, grpc::StatusCode expected = ok) {
    api::StatSnapshotRequest request;
    request.set_key(key);
    return call<api::StatSnapshotResponse>(&api::Snapshots::Stub::Stat, request, expected).info();
  }
  api::Info update(const std::string& key, const StringMap& labels, std::initializer_list<const char*> paths,
                   grpc::StatusCode expected = ok) {
    api::UpdateSnapshotRequest request;
    request.mutable_info()->set_name(key);
    request.mutable_info()->set_parent("cannot be changed");
    request.mutable_info()->mutable_labels()->insert(labels.begin(), labels.end());
    for (const auto* path : paths) request.mutable_update_mask()->add_paths(path);
    return call<api::UpdateSnapshotResponse>(&api::Snapshots::Stub::Update, request, expected).info();
  }
  api::UsageResponse usage(const std::string& key, grpc::StatusCode expected = ok) {
    api::UsageRequest request;
    request.set_key(key);
    return call<api::UsageResponse>(&api::Snapshots::Stub::Usage, request, expected);
  }
  std::set<std::string> list(std::initializer_list<const char*> filters = {},
                             grpc::StatusCode expected = ok) {
    grpc::ClientContext context;
    api::ListSnapshotsRequest request;
    for (const auto* filter : filters) request.add_filters(filter);
    const auto reader = stub_->List(&context, request);
    std::set<std::string> names;
    batches_.clear();
    for (api::ListSnapshotsResponse part; reader->Read(&part);) {
      batches_.push_back(part.info_size());
      for (const auto& info : part.info()) names.insert(info.name());
    }
    status_ = reader->Finish();
    EXPECT_EQ(status_.error_code(), expected) << status_.error_message();
    return names;
  }

  template <class Response>
  static std::vector<Mount> mounts_of(const Response& response) {
    std::vector<Mount> mounts;
    for (const auto& mount : response.mounts()) {
      mounts.push_back(
          {mount.type(), mount.source(), mount.target(), {mount.options().begin(), mount.options().end()}});
    }
    return mounts;
  }
  static StringMap labels_of(const api::Info& info) { return {info.labels().begin(), info.labels().end()}; }
  static std::int64_t time_of(const google::protobuf::Timestamp& time) {
    return google::protobuf::util::TimeUtil::TimestampToNanoseconds(time);
  }
  std::size_t directories() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder_ / "root/snapshots"), {}));
  }

  test::TempDir folder_{"service"};
  std::optional<SnapshotRoot> root_;
  std::optional<SnapshotServer> server_;
  std::unique_ptr<api::Snapshots::Stub> stub_;
  grpc::Status status_;
  std::vector<int> batches_;
  std::atomic<int> lines_ = 0;
};

TEST_F(SnapshotService, PrepareWithoutParentGivesAWritableDirectory) {
  const auto made = prepare("key");
  ASSERT_EQ(made.size(), 1U);
  EXPECT_EQ(made[0].type, "bind");
  EXPECT_THAT(made[0].options, ElementsAre("rw", "rbind"));
  EXPECT_TRUE(fs::is_directory(made[0].source));
  EXPECT_EQ(mounts("key"), made);
}

TEST_F(SnapshotService, PrepareOnAParentGivesAnOverlay) {
  prepare("a");
  commit("A", "a");
  const auto made = prepare("b", "A");
  ASSERT_EQ(made.size(), 1U);
  EXPECT_EQ(made[0].type, "overlay");
  EXPECT_THAT(made[0].options, testing::Contains(StartsWith("lowerdir=")));
  EXPECT_THAT(made[0].options, testing::Contains(StartsWith("upperdir=")));
  EXPECT_THAT(made[0].options, testing::Contains(StartsWith("workdir=")));
}

TEST_F(SnapshotService, PrepareSaysWhatIsInTheWay) {
  prepare("taken");
  prepare("taken", "", {}, already_exists);
  EXPECT_THAT(status_.error_message(), HasSubstr("taken"));
  prepare("key", "nobody", {}, not_found);
  EXPECT_THAT(status_.error_message(), testing::AllOf(HasSubstr("key"), HasSubstr("nobody")));
  prepare("key", "taken", {}, invalid_argument);
  EXPECT_THAT(status_.error_message(), HasSubstr("taken is not committed"));
  prepare("", "", {}, invalid_argument);
  prepare("key", "", {{"label", std::string(5000, 'x')}}, invalid_argument);
  EXPECT_THAT(list(), ElementsAre("taken"));
  EXPECT_EQ(directories(), 1U);
}

TEST_F(SnapshotService, AViewIsReadOnly) {
  prepare("a");
  commit("A", "a");
  const auto one = view("one", "A");
  EXPECT_EQ(one.at(0).type, "bind");
  EXPECT_THAT(one.at(0).options, ElementsAre("ro", "rbind"));
  prepare("b", "A");
  commit("B", "b");
  const auto two = view("two", "B");
  EXPECT_EQ(two.at(0).type, "overlay");
  EXPECT_THAT(two.at(0).options, testing::Not(testing::Contains(StartsWith("upperdir="))));
  EXPECT_EQ(stat("two").kind(), api::VIEW);
  view("two", "B", already_exists);
  commit("C", "two", {}, failed_precondition);
}

TEST_F(SnapshotService, MountsAreOfActiveSnapshotsAndViews) {
  prepare("a");
  commit("A", "a");
  mounts("A", failed_precondition);
  mounts("a", not_found);
  EXPECT_THAT(status_.error_message(), HasSubstr("snapshot a does not exist"));
}

TEST_F(SnapshotService, CommitTurnsTheKeyIntoTheName) {
  prepare("parent");
  commit("Parent", "parent");
  prepare("a", "Parent", {{"of", "prepare"}, {"empty", ""}});
  EXPECT_EQ(labels_of(stat("a")), (StringMap{{"of", "prepare"}})) << "a label set to nothing is not set";
  commit("A", "a", {{"of-the", "commit"}});
  stat("a", not_found);
  const auto info = stat("A");
  EXPECT_EQ(info.name(), "A");
  EXPECT_EQ(info.parent(), "Parent");
  EXPECT_EQ(info.kind(), api::COMMITTED);
  EXPECT_EQ(labels_of(info), (StringMap{{"of-the", "commit"}}));
  EXPECT_EQ(time_of(info.created_at()), time_of(info.updated_at()));
}

TEST_F(SnapshotService, CommitSaysWhatIsInTheWay) {
  prepare("a");
  commit("A", "a");
  prepare("b");
  commit("A", "b", {}, already_exists);
  EXPECT_THAT(status_.error_message(), HasSubstr("A exists"));
  commit("C", "c", {}, not_found);
  commit("C", "A", {}, failed_precondition);
  commit("", "b", {}, invalid_argument);
  api::CommitSnapshotRequest elsewhere;
  elsewhere.set_name("B");
  elsewhere.set_key("b");
  elsewhere.set_parent("A");
  call<google::protobuf::Empty>(&api::Snapshots::Stub::Commit, elsewhere, grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_THAT(list(), UnorderedElementsAre("A", "b"));
}

TEST_F(SnapshotService, RemoveDeletesTheFilesAndNeverAParent) {
  prepare("a");
  commit("A", "a");
  prepare("b", "A");
  remove("A", failed_precondition);
  EXPECT_THAT(status_.error_message(), StartsWith("remove A: "));
  remove("b");
  remove("A");
  remove("A", not_found);
  EXPECT_EQ(directories(), 0U);
  EXPECT_THAT(fs::directory_iterator(folder_ / "root/trash"), fs::directory_iterator());
}

TEST_F(SnapshotService, UpdateWithoutMaskReplacesAllLabels) {
  prepare("a", "", {{"old", "1"}});
  const auto before = stat("a");
  const auto after = update("a", {{"new", "2"}, {"none", ""}}, {});
  EXPECT_EQ(labels_of(after), (StringMap{{"new", "2"}}));
  EXPECT_EQ(after.parent(), "");
  EXPECT_EQ(time_of(after.created_at()), time_of(before.created_at()));
  EXPECT_GT(time_of(after.updated_at()), time_of(before.updated_at()));
  EXPECT_EQ(labels_of(stat("a")), labels_of(after));
}

TEST_F(SnapshotService, UpdateTouchesWhatTheMaskNames) {
  prepare("a", "", {{"l1", "v1"}, {"l2", "v2"}, {"x/y.z", "v3"}});
  EXPECT_EQ(labels_of(update("a", {{"l1", "new"}, {"l4", "v4"}}, {"labels.l1", "labels.l2"})),
            (StringMap{{"l1", "new"}, {"x/y.z", "v3"}}));
  EXPECT_EQ(labels_of(update("a", {{"x/y.z", "4"}}, {"labels.x/y.z"})),
            (StringMap{{"l1", "new"}, {"x/y.z", "4"}}));
  EXPECT_EQ(labels_of(update("a", {{"l5", "v5"}}, {"labels"})), (StringMap{{"l5", "v5"}}));
}

TEST_F(SnapshotService, UpdateRefusesOtherFieldsAndChangesNothingThen) {
  prepare("a", "", {{"l", "1"}});
  for (const auto* path : {"parent", "name", "kind", "label", "labels.", ""}) {
    update("a", {{"l", "2"}}, {"labels.l", path}, invalid_argument);
  }
  update("nobody", {}, {"parent"}, not_found);
  EXPECT_EQ(labels_of(stat("a")), (StringMap{{"l", "1"}}));
}

TEST_F(SnapshotService, ListFollowsFilters) {
  prepare("p-", "", {});
  commit("p", "p-", {{"l", "1"}});
  prepare("a", "p", {{"l", "2"}});
  view("v", "p");
  EXPECT_THAT(list(), UnorderedElementsAre("p", "a", "v"));
  EXPECT_THAT(list({"kind==active"}), ElementsAre("a"));
  EXPECT_THAT(list({"labels.l==1", "kind==view"}), UnorderedElementsAre("p", "v"));
  EXPECT_THAT(list({R"(parent=="p",labels.l~="^[0-9]$")"}), ElementsAre("a"));
  EXPECT_THAT(list({"name==nobody"}), IsEmpty());
  list({"name=x"}, invalid_argument);
  EXPECT_THAT(status_.error_message(), HasSubstr("name=x"));
}

TEST_F(SnapshotService, AListIsSentInBatches) {
  for (int i = 0; i < 250; ++i) root_->snapshots().prepare("key-" + std::to_string(i), "", {}, {});
  EXPECT_EQ(list().size(), 250U);
  EXPECT_THAT(batches_, ElementsAre(100, 100, 50));
  for (int i = 0; i < 20; ++i) {
    Labels labels;
    for (int j = 0; j < 20; ++j) labels["label-" + std::to_string(j)] = std::string(4000, 'x');
    root_->snapshots().prepare("large-" + std::to_string(i), "", labels, {});
  }
  EXPECT_EQ(list({"name~=large"}).size(), 20U);
  EXPECT_THAT(batches_, testing::Each(testing::Le(7)));
}

TEST_F(SnapshotService, UsageCountsWhatASnapshotChanges) {
  const auto made = prepare("a");
  test::write_file(fs::path(made.at(0).source) / "file", std::string(100'000, 'x'));
  EXPECT_GE(usage("a").size(), 100'000);
  EXPECT_GE(usage("a").inodes(), 2);
  commit("A", "a");
  EXPECT_GE(usage("A").size(), 100'000);
  prepare("b", "A");
  EXPECT_LT(usage("b").size(), 100'000);
  usage("nobody", not_found);
}

TEST_F(SnapshotService, CleanupRemovesWhatNoRecordSpeaksOf) {
  prepare("a");
  test::write_file(folder_ / "root/snapshots/4711/fs/file", "left by a process that was killed");
  test::write_file(folder_ / "root/trash/some/file", "so was this");
  call<google::protobuf::Empty>(&api::Snapshots::Stub::Cleanup, api::CleanupRequest(), ok);
  EXPECT_EQ(directories(), 1U);
  EXPECT_FALSE(fs::exists(folder_ / "root/trash/some"));
  EXPECT_TRUE(fs::is_directory(mounts("a").at(0).source));
}

TEST_F(SnapshotService, ALayerOfAStorageIsCommittedByPrepareAndFoundByContainerdsFilter) {
  const auto layer = Digest::sha256_of("blob");
  const std::vector<Digest> diff_ids{Digest::sha256_of("tar")};
  const auto chain_id = chain_ids(diff_ids).front().str();
  fs::create_directory(folder_ / "layer");
  const auto storage = std::make_shared<FakeStorage>();
  storage->add(layer, diff_ids.front(), folder_ / "layer");
  stop();
  start(storage);
  const StringMap labels{{"containerd.io/snapshot.ref", chain_id},
                         {"containerd.io/snapshot/cri.layer-digest", layer.str()}};
  prepare("default/1/extract", "", labels, already_exists);
  const auto filter = R"(labels."containerd.io/snapshot.ref"==)" + chain_id + R"(,parent=="")";
  const auto found = list({filter.c_str()});
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(stat(*found.begin()).kind(), api::COMMITTED);
  EXPECT_TRUE(stat(*found.begin()).labels().contains("containerd.io/snapshot/remote"));
  const auto shown = view("view", *found.begin());
  EXPECT_EQ(fs::canonical(shown.at(0).source), fs::canonical(folder_ / "layer"));
}

TEST_F(SnapshotService, EverythingIsThereAfterARestart) {
  prepare("a");
  commit("A", "a", {{"l", "1"}});
  const auto made = prepare("b", "A");
  stop();
  start();
  EXPECT_EQ(mounts("b"), made);
  EXPECT_EQ(labels_of(stat("A")), (StringMap{{"l", "1"}}));
}

TEST_F(SnapshotService, OneOfManyThatWantAKeyGetsIt) {
  std::atomic<int> made = 0;
  std::atomic<int> refused = 0;
  std::vector<std::thread> clients;
  for (int i = 0; i < 64; ++i) {
    clients.emplace_back([&] {
      grpc::ClientContext context;
      api::PrepareSnapshotRequest request;
      request.set_key("key");
      api::PrepareSnapshotResponse response;
      const auto code = stub_->Prepare(&context, request, &response).error_code();
      if (code == ok) ++made;
      if (code == already_exists) ++refused;
    });
  }
  for (auto& client : clients) client.join();
  EXPECT_EQ(made, 1);
  EXPECT_EQ(refused, 63);
}

TEST_F(SnapshotService, AnOversizedMessageIsRefusedAndALongKeyIsNamedInPart) {
  prepare(std::string(4U << 20U, 'k'), "", {}, grpc::StatusCode::RESOURCE_EXHAUSTED);
  stat(std::string(200'000, 'k'), not_found);
  EXPECT_LT(status_.error_message().size(), 5000U);
  EXPECT_THAT(list(), IsEmpty());
}

TEST_F(SnapshotService, ContractualRefusalsAreNotLogged) {
  stat("nobody", not_found);
  prepare("a");
  prepare("a", "", {}, already_exists);
  EXPECT_EQ(lines_, 0);
  commit("A", "a");
  mounts("A", failed_precondition);
  EXPECT_EQ(lines_, 1) << "somebody has it wrong";
}

TEST_F(SnapshotService, TheSocketIsForItsOwnerOnly) {
  struct ::stat status{};
  ASSERT_EQ(::stat(socket().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

TEST_F(SnapshotService, ASocketThatIsServedIsRefused) {
  SnapshotRoot other(folder_ / "other");
  try {
    const SnapshotServer second(other, options());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::failed_precondition);
    EXPECT_THAT(error.message(), HasSubstr(socket().string()));
  }
  prepare("the first still answers");
}

TEST_F(SnapshotService, TheSocketOfADeadProcessIsReplaced) {
  stop();
  EXPECT_FALSE(fs::exists(socket()));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, socket().c_str(), sizeof address.sun_path - 1);
  const int dead = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(::bind(dead, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ::close(dead);
  start();
  prepare("key");
}

TEST_F(SnapshotService, WhatIsNoSocketIsLeftAlone) {
  stop();
  test::write_file(socket(), "precious");
  EXPECT_THROW(start(), Error);
  EXPECT_EQ(test::read_file(socket()), "precious");
}

TEST_F(SnapshotService, APathThatIsTooLongForASocketIsRefused) {
  SnapshotRoot other(folder_ / "other");
  SnapshotServerOptions options;
  options.socket = folder_ / std::string(200, 's');
  EXPECT_THROW(SnapshotServer(other, options), Error);
}

TEST_F(SnapshotService, ARootHasOneProcess) {
  try {
    const SnapshotRoot second(folder_ / "root");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::failed_precondition);
    EXPECT_THAT(error.message(), HasSubstr((folder_ / "root").string()));
  }
}

TEST_F(SnapshotService, ADirectoryOfOthersIsNoRoot) {
  test::write_file(folder_ / "home/letter", "dear");
  EXPECT_THROW(SnapshotRoot(folder_ / "home"), Error);
  EXPECT_EQ(test::read_file(folder_ / "home/letter"), "dear");
  EmbeddedStore::open(folder_ / "store", "default");
  EXPECT_THROW(SnapshotRoot(folder_ / "store"), Error);
  EXPECT_THROW(EmbeddedStore::open(folder_ / "root", "default"), Error)
      << "its garbage collection would delete everything";
}

}  // namespace
}  // namespace lazypull
