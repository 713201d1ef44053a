// Layers in shared storage, mounted by `lazypull snapshotter serve` under a real containerd: what is
// published is not downloaded, and containers see it.

#include "tests/integration/support/containerd_state.hpp"
#include "tests/integration/support/eight_layers.hpp"
#include "tests/integration/support/lazypull.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>

namespace lazypull::test {
namespace {

namespace fs = std::filesystem;
using testing::AnyOf;
using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Key;
using testing::Not;
using testing::SizeIs;

struct Setting {
  std::string format;
  bool protocol_2019 = false;

  friend std::ostream& operator<<(std::ostream& out, const Setting& setting) {
    return out << setting.format << (setting.protocol_2019 ? ", 2019" : ", today");
  }
};

class SnapshotterRemote : public testing::TestWithParam<Setting> {
 protected:
  static void SetUpTestSuite() { eight = new EightLayers; }
  static void TearDownTestSuite() { delete eight; }

  /// A storage that has so many of the lowest layers.
  fs::path storage(std::size_t layers) {
    const auto place = folder / "storage";
    publish_layers(eight->reference, place, GetParam().format, layers);
    return place;
  }
  void serve(std::vector<fs::path> storages) {
    snapshotter.emplace(LazypullSnapshotterOptions{.storages = std::move(storages)});
    containerd.emplace(ContainerdOptions{.snapshotters = {snapshotter->plugin()}, .isolated_content = true});
    eight->registry.reset_log();
  }
  PullOutcome pull(const std::string& space = "default") {
    Argv arguments{"pull", eight->reference, "--snapshotter", "lazypull"};
    if (GetParam().protocol_2019) arguments.emplace_back("--remote-snapshot");
    return Lazypull(*containerd, space).run_ok(arguments);
  }
  std::vector<std::size_t> downloaded() {
    return fetched_layers(eight->registry.fetched_blobs("lazypull"), eight->image);
  }
  void expect_runs(const std::string& space = "default") {
    const auto result =
        run_container(*containerd, "lazypull", eight->reference, {"sh", "-c", eight_layers_script}, space);
    EXPECT_EQ(result.out, eight_layers_output) << result.err << snapshotter->log();
  }
  /// How many images of layers are mounted; a directory needs no mount.
  std::size_t images(std::size_t layers) const { return GetParam().format == "dir" ? 0 : layers; }

  static EightLayers* eight;
  TempDir folder{"remote"};
  std::optional<LazypullSnapshotter> snapshotter;
  std::optional<Containerd> containerd;
};
EightLayers* SnapshotterRemote::eight = nullptr;

TEST_P(SnapshotterRemote, OfEightLayersWithSixPublishedTwoAreDownloaded) {
  serve({storage(6)});
  const auto outcome = pull();
  EXPECT_THAT(outcome.decisions(), ElementsAre("remote", "remote", "remote", "remote", "remote", "remote",
                                               "download", "download"));
  EXPECT_THAT(downloaded(), ElementsAre(6, 7));
  EXPECT_THAT(snapshotter->mounts(), SizeIs(images(6)));
  expect_runs();
  collect_garbage(*containerd);
  const auto state = read_state(*containerd, "lazypull");
  EXPECT_THAT(state.snapshots, SizeIs(8));
  EXPECT_THAT(state.leases, IsEmpty());
  snapshotter->restart();
  containerd->restart();
  expect_runs();
  EXPECT_THAT(snapshotter->mounts(), SizeIs(images(6)));
}

TEST_P(SnapshotterRemote, WithAllPublishedNothingIsDownloaded) {
  serve({storage(8)});
  EXPECT_THAT(pull().decisions(), Each(std::string("remote")));
  EXPECT_THAT(downloaded(), IsEmpty());
  expect_runs();
  for (const auto& [name, snapshot] : read_state(*containerd, "lazypull").snapshots) {
    EXPECT_THAT(
        snapshot.labels,
        Contains(Key(AnyOf("containerd.io/snapshot/remote", "containerd.io/snapshot/remote_snapshot"))))
        << name;
  }
  EXPECT_THAT(pull().decisions(), Each(std::string("exists")));
}

TEST_P(SnapshotterRemote, WithNonePublishedAllAreDownloaded) {
  serve({folder / "nothing"});
  EXPECT_THAT(pull().decisions(), Each(std::string("download")));
  expect_runs();
}

TEST_P(SnapshotterRemote, TheFileSystemIsThatOfADownload) {
  serve({storage(8)});
  pull();
  containerd->ctr_ok({"images", "pull", "--plain-http", eight->reference}, "overlayfs");
  const auto theirs = image_files(*containerd, "overlayfs", eight->reference, "overlayfs");
  EXPECT_THAT(diff(theirs, image_files(*containerd, "lazypull", eight->reference)), IsEmpty());
}

TEST_P(SnapshotterRemote, RemovingTheImageRemovesSnapshotsAndMounts) {
  serve({storage(6)});
  pull();
  expect_runs();
  containerd->ctr_ok({"images", "rm", "--sync", eight->reference});
  collect_garbage(*containerd);
  EXPECT_THAT(read_state(*containerd, "lazypull").snapshots, IsEmpty());
  snapshotter->wait_for_directories(0);
  EXPECT_THAT(snapshotter->mounts(), IsEmpty());
  EXPECT_THAT(pull().decisions(), Contains("remote")) << "and again";
  expect_runs();
}

TEST_P(SnapshotterRemote, TwoNamespacesUseTheSameLayers) {
  serve({storage(6)});
  pull("one");
  pull("two");
  EXPECT_THAT(downloaded(), ElementsAre(6, 6, 7, 7));
  EXPECT_THAT(snapshotter->mounts(), SizeIs(images(6)));
  expect_runs("one");
  expect_runs("two");
  containerd->ctr_ok({"images", "rm", "--sync", eight->reference}, "one");
  collect_garbage(*containerd, "one");
  expect_runs("two");
  containerd->ctr_ok({"images", "rm", "--sync", eight->reference}, "two");
  collect_garbage(*containerd, "two");
  snapshotter->wait_for_directories(0);
  EXPECT_THAT(snapshotter->mounts(), IsEmpty());
}

TEST_P(SnapshotterRemote, WithoutItsStorageASnapshotIsAClearErrorAndANewPullADownload) {
  const auto place = storage(6);
  serve({place});
  pull();
  // As after a boot: no image is mounted any more.
  snapshotter->stop();
  unmount_below(snapshotter->root());
  fs::rename(place, folder / "away");
  snapshotter->start();
  wait_for_connection(*containerd);
  const auto broken = run_container(*containerd, "lazypull", eight->reference, {"true"});
  EXPECT_NE(broken.exit_code, 0);
  EXPECT_THAT(broken.err, HasSubstr(place.string())) << "it names the storage";
  EXPECT_THAT(broken.err, HasSubstr("needs remote layer sha256:"));
  fs::rename(folder / "away", place);
  expect_runs();
  fs::rename(place, folder / "away");
  containerd->ctr_ok({"images", "rm", "--sync", eight->reference});
  collect_garbage(*containerd);
  EXPECT_THAT(pull().decisions(), Each(std::string("download")));
  expect_runs();
}

TEST_P(SnapshotterRemote, WhatOneStorageLacksComesFromTheNext) {
  const auto some = folder / "some";
  publish_layers(eight->reference, some, GetParam().format, 3);
  serve({folder / "not there", some, storage(6)});
  pull();
  EXPECT_THAT(downloaded(), ElementsAre(6, 7));
  expect_runs();
  snapshotter->stop();
  unmount_below(snapshotter->root());
  fs::remove_all(some);
  snapshotter->start();
  wait_for_connection(*containerd);
  expect_runs();
}

TEST_P(SnapshotterRemote, ADamagedLayerIsDownloaded) {
  const auto place = storage(8);
  const auto data = published_data(place, eight->image.layers[5], GetParam().format);
  if (fs::is_directory(data)) {
    fs::remove_all(data);
  } else {
    auto bytes = read_file(data);
    std::fill(bytes.begin(), bytes.begin() + 4096, '\xAA');
    write_file(data, bytes);
  }
  serve({place});
  pull();
  EXPECT_THAT(downloaded(), Contains(5U));
  EXPECT_THAT(downloaded(), Not(Contains(4U)));
  expect_runs();
}

TEST_P(SnapshotterRemote, ARecordThatLiesIsNotBelieved) {
  const auto place = storage(8);
  const auto of = [&](std::size_t i) {
    return published_data(place, eight->image.layers[i], GetParam().format).parent_path();
  };
  fs::rename(of(5), folder / "five");
  fs::rename(of(6), of(5));
  fs::rename(folder / "five", of(6));
  serve({place});
  pull();
  EXPECT_THAT(downloaded(), Contains(5U));
  expect_runs();
}

TEST_P(SnapshotterRemote, TheLogSaysWhatBecameOfEachLayer) {
  serve({storage(6)});
  pull();
  EXPECT_THAT(snapshotter->log(), HasSubstr("layer " + eight->image.layers[5].digest + " for "));
  EXPECT_THAT(snapshotter->log(), HasSubstr("no download is needed"));
  EXPECT_THAT(snapshotter->log(), HasSubstr("it will be downloaded"));
}

INSTANTIATE_TEST_SUITE_P(Formats, SnapshotterRemote,
                         testing::Values(Setting{.format = "dir", .protocol_2019 = false},
                                         Setting{.format = "dir", .protocol_2019 = true},
                                         Setting{.format = "erofs", .protocol_2019 = false},
                                         Setting{.format = "erofs", .protocol_2019 = true},
                                         Setting{.format = "squashfs", .protocol_2019 = false},
                                         Setting{.format = "squashfs", .protocol_2019 = true}),
                         [](const testing::TestParamInfo<Setting>& info) {
                           return info.param.format + (info.param.protocol_2019 ? "2019" : "Today");
                         });

}  // namespace
}  // namespace lazypull::test
