// The harness itself: the stargz snapshotter, and the remote snapshotter with its faults.

#include "tests/integration/support/containerd.hpp"
#include "tests/integration/support/containerd_state.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/peer_program.hpp"
#include "tests/integration/support/push.hpp"
#include "tests/integration/support/registry.hpp"
#include "tests/integration/support/snapshotters.hpp"
#include "tests/integration/support/tar.hpp"
#include "tests/integration/support/tree.hpp"
#include "tests/support/process.hpp"
#include "tests/support/temp_dir.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

namespace lazypull::test {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Key;
using testing::Not;
using testing::Pair;

TEST(Stargz, MountsEveryLayerOfAnEstargzImageAndRunsIt) {
  const auto plain = ImageBuilder().layer(busybox_files()).layer({tar::file("hello", "world")}).build();
  const auto lazy = to_estargz(plain);
  ASSERT_EQ(lazy.layers.size(), 2U);
  for (const auto& layer : lazy.layers) {
    EXPECT_THAT(layer.annotations, Contains(Key("containerd.io/snapshot/stargz/toc.digest")));
  }
  Registry registry;
  StargzSnapshotter stargz;
  Containerd containerd({.snapshotters = {stargz.plugin()}});
  const auto reference = registry.store(lazy, "tests/lazy:1");
  run_ok({"ctr-remote", "--address", containerd.socket(), "images", "rpull", "--plain-http", reference});
  EXPECT_EQ(stargz.fuse_mounts().size(), 2U) << stargz.log();
  EXPECT_THAT(read_state(containerd, "stargz").content, Not(Contains(Key(lazy.layers[0].digest))));
  EXPECT_EQ(run_container(containerd, "stargz", reference, {"/bin/cat", "/hello"}).out, "world");
  const auto tree = read_image_tree(containerd, "stargz", reference);
  EXPECT_EQ(tree.at("hello").size, 5U);
}

TEST(Stargz, LeavesPlainLayersToTheClient) {
  const auto plain = ImageBuilder().layer(busybox_files()).layer({tar::file("hello", "world")}).build();
  const auto lazy = to_estargz(plain);
  const auto half = ImageBuilder().layer(lazy.layers[0]).layer(plain.layers[1]).build();
  Registry registry;
  StargzSnapshotter stargz;
  Containerd containerd({.snapshotters = {stargz.plugin()}});
  const auto reference = registry.store(half, "tests/half:1");
  run_ok({"ctr-remote", "--address", containerd.socket(), "images", "rpull", "--plain-http", reference});
  EXPECT_EQ(stargz.fuse_mounts().size(), 1U) << stargz.log();
  EXPECT_EQ(run_container(containerd, "stargz", reference, {"/bin/cat", "/hello"}).out, "world");
}

// Plays the client with ctr; our own is not needed to see what the snapshotter does.
class RemoteTest : public testing::Test {
 protected:
  static constexpr const char* label_2019 = "containerd.io/snapshot/remote_snapshot";
  const Layer layer = make_layer({tar::file("hello", "world")});
  RemoteSnapshotter remote;
  Containerd containerd{{.snapshotters = {remote.plugin()}}};

  // Without a lease the garbage collector may take new snapshots at any time.
  void SetUp() override { containerd.ctr_ok({"leases", "create", "--id", "test"}); }

  ProcessResult inspect(Argv flags) {
    Argv argv = {
        peer_program("inspect"), "-address", containerd.socket(), "-snapshotter", "remote", "-lease", "test"};
    argv.insert(argv.end(), flags.begin(), flags.end());
    return run(std::move(argv));
  }
  ProcessResult prepare(const std::string& key, const LabelMap& labels) {
    Argv flags = {"-key", key};
    for (const auto& [name, value] : labels)
      flags.push_back(std::string("-label=").append(name).append("=").append(value));
    flags.emplace_back("prepare");
    return inspect(std::move(flags));
  }
  ProcessResult commit(const std::string& name, const std::string& key) {
    return inspect({"-key", key, "commit", name});
  }
  LabelMap layer_2019() const {
    return {{"containerd.io/snapshot/remote_snapshot/digest", layer.digest},
            {"containerd.io/snapshot/remote_snapshot/ref", "registry.test/app:1"}};
  }
  LabelMap layer_today() const {
    return {{"containerd.io/snapshot.ref", layer.diff_id},
            {"containerd.io/snapshot/cri.layer-digest", layer.digest}};
  }
  std::map<std::string, SnapshotState> snapshots() { return read_state(containerd, "remote").snapshots; }
};

TEST_F(RemoteTest, LabelsAndFillsRemoteLayersAsIn2019) {
  remote.provide(layer);
  EXPECT_EQ(prepare("key", layer_2019()).exit_code, 0) << remote.log();
  EXPECT_THAT(snapshots().at("key").labels, Contains(Key(label_2019)));
  EXPECT_EQ(commit("done", "key").exit_code, 0);
  EXPECT_EQ(snapshots().at("done").kind, "committed");
  EXPECT_THAT(snapshots().at("done").labels, Contains(Key(label_2019)));
  const TempDir folder;
  containerd.ctr_ok({"snapshots", "--snapshotter", "remote", "prepare", "look", "done"});
  const auto mount =
      containerd.ctr_ok({"snapshots", "--snapshotter", "remote", "mounts", folder.path(), "look"});
  run_ok({"sh", "-ec", mount});
  EXPECT_EQ(read_file(folder / "hello"), "world");
}

TEST_F(RemoteTest, LeavesOtherLayersAlone) {
  EXPECT_EQ(prepare("key", layer_2019()).exit_code, 0);
  EXPECT_THAT(snapshots().at("key").labels, Not(Contains(Key(label_2019))));
  remote.provide(layer);
  remote.withdraw(layer);
  EXPECT_EQ(prepare("key2", layer_2019()).exit_code, 0);
  EXPECT_THAT(snapshots().at("key2").labels, Not(Contains(Key(label_2019))));
}

TEST_F(RemoteTest, LogsCallsWithTheirLabels) {
  remote.reset_calls();
  prepare("key", layer_2019());
  commit("done", "key");
  const auto calls = remote.calls();
  EXPECT_THAT(
      calls,
      Contains(AllOf(Field(&SnapshotterCall::method, "Prepare"),
                     Field(&SnapshotterCall::key, HasSubstr("key")), Field(&SnapshotterCall::error, ""),
                     Field(&SnapshotterCall::labels,
                           Contains(Pair("containerd.io/snapshot/remote_snapshot/digest", layer.digest))))));
  EXPECT_THAT(calls, Contains(AllOf(Field(&SnapshotterCall::method, "Commit"),
                                    Field(&SnapshotterCall::name, HasSubstr("done")))));
  remote.reset_calls();
  EXPECT_THAT(remote.calls(), IsEmpty());
}

TEST_F(RemoteTest, MakesTheFaultsItIsToldTo) {
  remote.provide(layer);
  remote.behave({.fail_prepare = {layer.digest}});
  EXPECT_THAT(prepare("key", layer_2019()).err, HasSubstr("fault: Prepare"));
  EXPECT_THAT(snapshots(), IsEmpty());
  remote.behave({.no_label = {layer.digest}});
  EXPECT_EQ(prepare("key", layer_2019()).exit_code, 0);
  EXPECT_THAT(snapshots().at("key").labels, Not(Contains(Key(label_2019))));
  remote.behave({.fail_commit = {layer.digest}});
  EXPECT_THAT(commit("done", "key").err, HasSubstr("fault: Commit"));
  EXPECT_EQ(snapshots().at("key").kind, "active");
}

TEST_F(RemoteTest, AnswersAlreadyExistsForRemoteLayersToday) {
  remote.behave({.today = true});
  EXPECT_EQ(prepare("declined", layer_today()).exit_code, 0);
  remote.provide(layer);
  EXPECT_THAT(prepare("key", layer_today()).err, HasSubstr("already exists"));
  EXPECT_EQ(snapshots().at(layer.diff_id).kind, "committed");
  EXPECT_FALSE(snapshots().contains("key"));
}

TEST_F(RemoteTest, StagesWithOneReadOnlyMount) {
  remote.behave({.today = true, .staged = {layer.digest}});
  remote.provide(layer);
  const auto prepared = prepare("key", layer_today());
  EXPECT_EQ(prepared.exit_code, 0) << prepared.err;
  EXPECT_THAT(prepared.out, HasSubstr("\"ro\""));
  EXPECT_EQ(commit("done", "key").exit_code, 0);
  EXPECT_EQ(snapshots().at("done").kind, "committed");
}

}  // namespace
}  // namespace lazypull::test
