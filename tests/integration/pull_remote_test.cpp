// Remote snapshots through a real containerd: the real stargz snapshotter, and a proxy plugin that speaks
// either protocol and provides the layers that a test names.

#include "tests/integration/support/containerd_state.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/lazypull.hpp"
#include "tests/integration/support/push.hpp"
#include "tests/integration/support/registry.hpp"
#include "tests/integration/support/snapshotters.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace lazypull::test {
namespace {

using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

std::vector<std::string> digests(const Image& image, std::initializer_list<std::size_t> layers) {
  std::vector<std::string> result;
  for (const auto i : layers) result.push_back(image.layers[i].digest);
  return result;
}

/// Those of `fetched` that are layers of the image, sorted.
std::vector<std::string> layers_in(const std::vector<std::string>& fetched, const Image& image) {
  std::vector<std::string> result;
  for (const auto& layer : image.layers) {
    const auto times = std::ranges::count(fetched, layer.digest);
    result.insert(result.end(), static_cast<std::size_t>(times), layer.digest);
  }
  return result;
}

class Stargz : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    registry = new Registry;
    stargz = new StargzSnapshotter;
    containerd = new Containerd({.snapshotters = {stargz->plugin()}, .isolated_content = true});
    const auto plain = ImageBuilder()
                           .layer(busybox_files())
                           .layer({tar::directory("data"), tar::file("data/one", "1\n"),
                                   tar::file("data/big", tar::noise(300'000))})
                           .layer({tar::directory("data"), tar::file("data/two", "2\n")})
                           .build();
    lazy = new Image(to_estargz(plain));
    reference = new std::string(registry->store(*lazy, "lazy:1"));
  }
  static void TearDownTestSuite() {
    delete reference;
    delete lazy;
    delete containerd;
    delete stargz;
    delete registry;
  }

  static std::string space() { return ::testing::UnitTest::GetInstance()->current_test_info()->name(); }
  static PullOutcome pull(const std::string& ref, Argv more = {}) {
    Argv arguments{"pull", ref, "--snapshotter", "stargz"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Lazypull(*containerd, space()).run_ok(arguments);
  }

  static Registry* registry;
  static StargzSnapshotter* stargz;
  static Containerd* containerd;
  static Image* lazy;
  static std::string* reference;
};
Registry* Stargz::registry = nullptr;
StargzSnapshotter* Stargz::stargz = nullptr;
Containerd* Stargz::containerd = nullptr;
Image* Stargz::lazy = nullptr;
std::string* Stargz::reference = nullptr;

TEST_F(Stargz, AnEStargzImageIsMountedAndNoLayerDownloaded) {
  registry->reset_log();
  const auto outcome = pull(*reference);
  EXPECT_THAT(outcome.decisions(), ElementsAre("remote", "remote", "remote"));
  EXPECT_EQ(outcome.total("fetchedBytes"), 0);
  EXPECT_GT(outcome.total("avoidedBytes"), 300'000);
  EXPECT_THAT(layers_in(registry->fetched_blobs("lazypull"), *lazy), IsEmpty());
  const auto result =
      run_container(*containerd, "stargz", *reference, {"cat", "/data/one", "/data/two"}, space());
  EXPECT_EQ(result.out, "1\n2\n") << result.err;
}

TEST_F(Stargz, TheResultEqualsThatOfCtrRemote) {
  const auto theirs_space = space() + "-ctr-remote";
  run_ok({"ctr-remote", "--address", containerd->socket(), "--namespace", theirs_space, "images", "rpull",
          "--plain-http", *reference});
  pull(*reference);
  auto theirs = read_state(*containerd, "stargz", theirs_space);
  auto mine = read_state(*containerd, "stargz", space());
  EXPECT_THAT(mine.leases, IsEmpty());
  theirs.leases.clear();
  // ctr-remote marks its image record; and we send, besides the stargz labels, those of newer containerd and
  // of CRI.
  for (auto& [name, image] : theirs.images) image.labels.erase("containerd.io/snapshot/remote/stargz");
  ASSERT_EQ(theirs.snapshots.size(), mine.snapshots.size());
  for (auto& [name, snapshot] : mine.snapshots) {
    // ctr-remote also says how much of a layer to prefetch; we leave that to the snapshotter's configuration.
    theirs.snapshots.at(name).labels.erase("containerd.io/snapshot/remote/stargz.prefetch");
    for (const auto& [key, value] : theirs.snapshots.at(name).labels) {
      EXPECT_THAT(snapshot.labels, Contains(testing::Key(key))) << name;
    }
    snapshot.labels = theirs.snapshots.at(name).labels;
  }
  EXPECT_THAT(diff(theirs, mine), IsEmpty());
  EXPECT_THAT(diff(read_image_tree(*containerd, "stargz", *reference, theirs_space),
                   read_image_tree(*containerd, "stargz", *reference, space())),
              IsEmpty());
}

TEST_F(Stargz, AHalfLazyImageDownloadsExactlyItsNecessaryLayers) {
  const auto plain_bottom = make_layer({tar::directory("p"), tar::file("p/bottom", "b\n")});
  const auto plain_middle = make_layer({tar::directory("p"), tar::file("p/middle", "m\n")});
  const auto half = ImageBuilder()
                        .layer(plain_bottom)
                        .layer(lazy->layers[0])
                        .layer(plain_middle)
                        .layer(lazy->layers[1])
                        .layer(lazy->layers[2])
                        .build();
  const auto ref = registry->store(half, "half:1");
  registry->reset_log();
  const auto outcome = pull(ref);
  EXPECT_THAT(outcome.decisions(), ElementsAre("download", "remote", "download", "remote", "remote"));
  EXPECT_EQ(layers_in(registry->fetched_blobs("lazypull"), half), digests(half, {0, 2}));
  collect_garbage(*containerd, space());
  const auto result =
      run_container(*containerd, "stargz", ref, {"cat", "/p/bottom", "/p/middle", "/data/one"}, space());
  EXPECT_EQ(result.out, "b\nm\n1\n") << result.err;
}

TEST_F(Stargz, ASecondPullAsksForNothing) {
  pull(*reference);
  registry->reset_log();
  const auto outcome = pull(*reference);
  EXPECT_THAT(outcome.decisions(), Each(std::string("exists")));
  EXPECT_THAT(registry->requests("lazypull"), SizeIs(1));
}

TEST_F(Stargz, AnOrdinaryImageIsDownloadedAndRuns) {
  const auto image = ImageBuilder().layer(busybox_files()).layer({tar::file("plain", "p\n")}).build();
  const auto ref = registry->store(image, "ordinary:1");
  EXPECT_THAT(pull(ref).decisions(), ElementsAre("download", "download"));
  EXPECT_EQ(run_container(*containerd, "stargz", ref, {"cat", "/plain"}, space()).out, "p\n");
}

TEST_F(Stargz, PlanSaysWhatCanBeMountedAndLeavesNothing) {
  const auto before = read_state(*containerd, "stargz", space());
  registry->reset_log();
  const auto outcome = Lazypull(*containerd, space()).run_ok({"plan", *reference, "--snapshotter", "stargz"});
  EXPECT_THAT(outcome.decisions(), ElementsAre("remote", "remote", "remote"));
  EXPECT_THAT(diff(before, read_state(*containerd, "stargz", space())), IsEmpty());
  EXPECT_THAT(layers_in(registry->fetched_blobs("lazypull"), *lazy), IsEmpty());
}

/// Five layers and a snapshotter that provides those that a test names.
class Remote : public ::testing::Test {
 protected:
  Remote() {
    const auto* name = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    ImageBuilder builder;
    builder.layer(busybox_files());
    for (int i = 1; i < 5; ++i) {
      builder.layer({tar::directory("layers"),
                     tar::file("layers/" + std::to_string(i), std::to_string(i) + "\n"),
                     tar::file(std::string("layers/of-") + name, "")});
    }
    image = builder.build();
    reference = registry.store(image, "five:1");
  }

  void provide(std::initializer_list<std::size_t> layers) {
    for (const auto i : layers) remote.provide(image.layers[i]);
  }
  PullOutcome run_ok(Argv arguments) { return Lazypull(containerd).run_ok(std::move(arguments)); }
  PullOutcome pull(Argv more) {
    Argv arguments{"pull", reference, "--snapshotter", "remote"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    registry.reset_log();
    return run_ok(arguments);
  }
  std::vector<std::string> downloaded() { return layers_in(registry.fetched_blobs("lazypull"), image); }

  /// The image works, and nothing but committed snapshots is there.
  void expect_whole() {
    collect_garbage(containerd);
    const auto state = read_state(containerd, "remote");
    EXPECT_THAT(state.leases, IsEmpty());
    EXPECT_EQ(state.snapshots.size(), image.layers.size());
    for (const auto& [name, snapshot] : state.snapshots) EXPECT_EQ(snapshot.kind, "committed") << name;
    const auto result = run_container(containerd, "remote", reference,
                                      {"cat", "/layers/1", "/layers/2", "/layers/3", "/layers/4"});
    EXPECT_EQ(result.out, "1\n2\n3\n4\n") << result.err;
  }

  RemoteBehaviour behaviour;
  Registry registry;
  RemoteSnapshotter remote;
  Containerd containerd{{.snapshotters = {remote.plugin()}}};
  Image image;
  std::string reference;
};

class Remote2019 : public Remote {
 protected:
  PullOutcome pull_2019() { return pull({"--remote-snapshot"}); }
  std::size_t calls(const std::string& method, const std::string& digest = {}) {
    std::size_t count = 0;
    for (const auto& call : remote.calls()) {
      const auto found = call.labels.find("containerd.io/snapshot/remote_snapshot/digest");
      const bool right = digest.empty() || (found != call.labels.end() && found->second == digest);
      if (call.method == method && right) ++count;
    }
    return count;
  }
};

TEST_F(Remote2019, AllLayersRemoteDownloadsNone) {
  provide({0, 1, 2, 3, 4});
  EXPECT_THAT(pull_2019().decisions(), Each(std::string("remote")));
  EXPECT_THAT(downloaded(), IsEmpty());
  for (const auto& layer : image.layers) EXPECT_EQ(calls("Prepare", layer.digest), 1U);
  const auto state = read_state(containerd, "remote");
  for (const auto& [name, snapshot] : state.snapshots) {
    EXPECT_THAT(snapshot.labels, Contains(testing::Key("containerd.io/snapshot/remote_snapshot"))) << name;
  }
  expect_whole();
}

TEST_F(Remote2019, NoLayerRemoteDownloadsAll) {
  EXPECT_THAT(pull_2019().decisions(), Each(std::string("download")));
  EXPECT_EQ(downloaded(), digests(image, {0, 1, 2, 3, 4}));
  EXPECT_EQ(calls("Prepare", image.layers[0].digest), 1U);
  EXPECT_EQ(calls("Prepare", image.layers[1].digest), 0U)
      << "above the first necessary layer nobody is asked";
  expect_whole();
}

TEST_F(Remote2019, APrefixIsMountedAndTheRestDownloaded) {
  provide({0, 1, 2});
  EXPECT_THAT(pull_2019().decisions(), ElementsAre("remote", "remote", "remote", "download", "download"));
  EXPECT_EQ(downloaded(), digests(image, {3, 4}));
  expect_whole();
}

TEST_F(Remote2019, AboveAHoleEverythingIsDownloaded) {
  provide({0, 1, 3, 4});
  EXPECT_THAT(pull_2019().decisions(), ElementsAre("remote", "remote", "download", "download", "download"));
  EXPECT_EQ(downloaded(), digests(image, {2, 3, 4}));
  expect_whole();
}

TEST_F(Remote2019, PrepareThatFailsMakesTheLayerNecessary) {
  provide({0, 1, 2, 3, 4});
  behaviour.fail_prepare = {image.layers[2].digest};
  remote.behave(behaviour);
  EXPECT_THAT(pull_2019().decisions(), ElementsAre("remote", "remote", "download", "download", "download"));
  EXPECT_EQ(downloaded(), digests(image, {2, 3, 4}));
  expect_whole();
}

TEST_F(Remote2019, ALabelThatIsMissingMakesTheLayerNecessaryAndRemovesTheKey) {
  provide({0, 1, 2, 3, 4});
  behaviour.no_label = {image.layers[1].digest};
  remote.behave(behaviour);
  EXPECT_THAT(pull_2019().decisions(), ElementsAre("remote", "download", "download", "download", "download"));
  expect_whole();
}

TEST_F(Remote2019, CommitThatFailsMakesTheLayerNecessaryAndRemovesTheKey) {
  provide({0, 1, 2, 3, 4});
  behaviour.fail_commit = {image.layers[3].digest};
  remote.behave(behaviour);
  EXPECT_THAT(pull_2019().decisions(), ElementsAre("remote", "remote", "remote", "download", "download"));
  EXPECT_EQ(downloaded(), digests(image, {3, 4}));
  expect_whole();
}

TEST_F(Remote2019, ASnapshotWithoutTheLabelIsLocalSoItAndAllAboveAreNecessary) {
  const auto base = ImageBuilder().layer(image.layers[0]).build();
  run_ok({"pull", registry.store(base, "base:1"), "--snapshotter", "remote"});
  containerd.ctr_ok({"content", "rm", image.layers[0].digest});
  provide({0, 1, 2, 3, 4});
  EXPECT_THAT(pull_2019().decisions(), Each(std::string("download")));
  EXPECT_EQ(downloaded(), digests(image, {0, 1, 2, 3, 4}));
  expect_whole();
}

TEST_F(Remote2019, ASecondPullFindsTheRemoteSnapshots) {
  provide({0, 1, 2, 3, 4});
  pull_2019();
  EXPECT_THAT(pull_2019().decisions(), Each(std::string("exists")));
  EXPECT_THAT(downloaded(), IsEmpty());
}

TEST_F(Remote2019, FetchMountsWhatItCanAndDownloadsTheRestWithoutUnpackingIt) {
  provide({0, 1});
  registry.reset_log();
  const auto outcome = run_ok({"fetch", reference, "--snapshotter", "remote", "--remote-snapshot"});
  EXPECT_THAT(outcome.decisions(), ElementsAre("remote", "remote", "download", "download", "download"));
  collect_garbage(containerd);
  const auto state = read_state(containerd, "remote");
  EXPECT_THAT(state.snapshots, SizeIs(2)) << "the mounted ones survive garbage collection";
  EXPECT_THAT(state.content, SizeIs(2 + 3));
}

TEST_F(Remote2019, PlanLeavesNoSnapshot) {
  provide({0, 1, 2});
  const auto outcome = run_ok({"plan", reference, "--snapshotter", "remote", "--remote-snapshot"});
  EXPECT_THAT(outcome.decisions(), ElementsAre("remote", "remote", "remote", "download", "download"));
  const auto state = read_state(containerd, "remote");
  EXPECT_THAT(state.snapshots, IsEmpty());
  EXPECT_THAT(state.leases, IsEmpty());
  EXPECT_THAT(state.content, IsEmpty());
}

class RemoteToday : public Remote {
 protected:
  RemoteToday() {
    behaviour.today = true;
    remote.behave(behaviour);
  }
};

TEST_F(RemoteToday, AllLayersRemoteDownloadsNone) {
  provide({0, 1, 2, 3, 4});
  EXPECT_THAT(pull({}).decisions(), Each(std::string("remote")));
  EXPECT_THAT(downloaded(), IsEmpty());
  expect_whole();
}

TEST_F(RemoteToday, SparseDownloadsOnlyTheHole) {
  provide({0, 1, 3, 4});
  EXPECT_THAT(pull({"--fetch-policy", "sparse"}).decisions(),
              ElementsAre("remote", "remote", "download", "remote", "remote"));
  EXPECT_EQ(downloaded(), digests(image, {2}));
  expect_whole();
}

TEST_F(RemoteToday, AStagedSnapshotIsCommittedWithoutItsContent) {
  provide({0, 1, 2, 3, 4});
  behaviour.staged = {image.layers[1].digest, image.layers[4].digest};
  remote.behave(behaviour);
  EXPECT_THAT(pull({}).decisions(), ElementsAre("remote", "staged", "remote", "remote", "staged"));
  EXPECT_THAT(downloaded(), IsEmpty());
  expect_whole();
}

TEST_F(RemoteToday, EveryDialectIsSentOnPrepare) {
  pull({});
  for (const auto& call : remote.calls()) {
    // The scratch snapshot is no layer's.
    if (call.method != "Prepare" || call.key.ends_with(" scratch")) continue;
    for (const auto* key :
         {"containerd.io/snapshot.ref", "containerd.io/snapshot/diff-id",
          "containerd.io/snapshot/cri.image-ref", "containerd.io/snapshot/cri.layer-digest",
          "containerd.io/snapshot/cri.manifest-digest", "containerd.io/snapshot/cri.image-layers",
          "containerd.io/snapshot/remote/stargz.reference", "containerd.io/snapshot/remote/stargz.digest"}) {
      EXPECT_THAT(call.labels, Contains(testing::Key(key)));
    }
    EXPECT_EQ(call.labels.at("containerd.io/snapshot/cri.image-ref"), reference);
  }
}

TEST_F(RemoteToday, PrepareThatFailsIsAnErrorThatNamesTheLayer) {
  provide({0, 1});
  behaviour.fail_prepare = {image.layers[1].digest};
  remote.behave(behaviour);
  const auto outcome = Lazypull(containerd).run({"pull", reference, "--snapshotter", "remote"});
  EXPECT_EQ(outcome.process.exit_code, 7);
  EXPECT_THAT(outcome.error_message(), testing::HasSubstr(image.layers[1].digest));
  EXPECT_THAT(outcome.error_message(), testing::HasSubstr("Prepare"));
  collect_garbage(containerd);
  const auto state = read_state(containerd, "remote");
  EXPECT_THAT(state.snapshots, IsEmpty());
  EXPECT_THAT(state.images, IsEmpty());
  EXPECT_THAT(state.leases, IsEmpty());
}

}  // namespace
}  // namespace lazypull::test
