#include "engine/puller.hpp"

#include "engine/error.hpp"
#include "engine/event.hpp"
#include "engine/labels.hpp"
#include "engine/task_group.hpp"
#include "tests/support/coroutine.hpp"
#include "tests/support/fake_ports.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace lazypull {
namespace {

using test::FakeImage;
using test::FakeLayer;
using test::FakeRegistry;
using test::FakeStores;
using test::make_image;
using test::make_index;
using test::run;
using test::step;

const std::map<std::string, std::string> hint{{std::string(label::stargz_toc), "sha256:toc"}};

class Pull : public ::testing::Test {
 protected:
  void pull() { run(pull_image(ports(), reference, options, report)); }
  void plan() { run(plan_image(ports(), reference, options, report)); }
  PullPorts ports() { return {registry, registry, stores}; }

  FakeImage image_of(const std::vector<FakeLayer>& layers) {
    FakeImage image = make_image(registry, stores, layers);
    registry.tag(reference, image.manifest);
    return image;
  }

  Errc failure_of_pull() {
    try {
      pull();
    } catch (const Error& error) {
      message = error.message();
      return error.code();
    }
    ADD_FAILURE() << "the pull succeeded";
    return Errc::internal;
  }

  std::vector<LayerDecision> decisions() const {
    std::vector<LayerDecision> result;
    for (const auto& layer : report.images.at(0).layers) result.push_back(layer.decision);
    return result;
  }

  void expect_nothing_left() const {
    EXPECT_EQ(stores.leases, 0);
    EXPECT_EQ(stores.active_snapshots(), 0U);
  }

  FakeRegistry registry;
  FakeStores stores;
  Reference reference = Reference::parse("registry.example.com/app:1");
  PullOptions options;
  PullReport report;
  std::string message;
};

using enum LayerDecision;
using Decisions = std::vector<LayerDecision>;

TEST_F(Pull, BringsContentSnapshotsAndTheImageRecord) {
  const auto image = image_of({{"one", {}}, {"two", {}}});
  pull();
  EXPECT_EQ(stores.images.at("registry.example.com/app:1").target.digest, image.manifest.digest);
  for (const auto& chain : image.chain_ids) EXPECT_TRUE(stores.snapshots.contains(chain));
  const auto& manifest = stores.content.at(image.manifest.digest).labels;
  EXPECT_EQ(manifest.at("containerd.io/gc.ref.content.config"), image.config.digest.str());
  EXPECT_EQ(manifest.at("containerd.io/gc.ref.content.l.1"), image.layers[1].digest.str());
  EXPECT_EQ(manifest.at("containerd.io/distribution.source.registry.example.com"), "app");
  EXPECT_EQ(stores.content.at(image.config.digest).labels.at("containerd.io/gc.ref.snapshot.fake"),
            image.chain_ids.back());
  EXPECT_EQ(stores.content.at(image.layers[0].digest).labels.at("containerd.io/uncompressed"),
            image.diff_ids[0].str());
  EXPECT_EQ(decisions(), (Decisions{download, download}));
  EXPECT_EQ(report.fetched_bytes(), 6U);
  expect_nothing_left();
}

TEST_F(Pull, DownloadsNoLayerThatTheSnapshotterProvides) {
  const auto image = image_of({{"one", {}}, {"two", {}}, {"three", {}}});
  stores.remote = {image.chain_ids[0], image.chain_ids[1], image.chain_ids[2]};
  pull();
  EXPECT_EQ(decisions(), (Decisions{remote, remote, remote}));
  EXPECT_EQ(registry.opened.size(), 2U) << "manifest and config only";
  EXPECT_EQ(report.avoided_bytes(), 11U);
  EXPECT_EQ(report.fetched_bytes(), 0U);
}

TEST_F(Pull, MountsAHintedLayerAboveAPlainOneInsteadOfDownloadingIt) {
  const auto image = image_of({{"plain", {}}, {"lazy", hint}, {"top", {}}});
  stores.remote = {image.chain_ids[1]};
  pull();
  EXPECT_EQ(decisions(), (Decisions{download, remote, download}));
  EXPECT_EQ(registry.times_opened(image.layers[1].digest), 0U);
}

TEST_F(Pull, DownloadsAheadWhereNoRemoteAnswerIsToBeExpected) {
  const auto image = image_of({{"plain", {}}, {"lazy", hint}, {"top", {}}});
  // The first layer's content comes only after the third layer's has been asked for.
  registry.before_body = [&](Digest digest) -> Awaitable<> {
    if (digest != image.layers[0].digest) co_return;
    while (registry.times_opened(image.layers[2].digest) == 0) co_await step();
    EXPECT_EQ(registry.times_opened(image.layers[1].digest), 0U) << "the hinted layer waits for its answer";
  };
  pull();
  EXPECT_EQ(decisions(), (Decisions{download, download, download}));
}

TEST_F(Pull, SparsePolicyNeverDownloadsBeforeTheAnswer) {
  options.fetch_policy = FetchPolicy::sparse;
  const auto image = image_of({{"a", {}}, {"b", {}}, {"c", {}}});
  stores.remote = {image.chain_ids[2]};
  pull();
  EXPECT_EQ(registry.most_reading, 1U);
  EXPECT_EQ(registry.times_opened(image.layers[2].digest), 0U);
}

TEST_F(Pull, EagerPolicyStopsADownloadThatTurnsOutToBeNeedless) {
  options.fetch_policy = FetchPolicy::eager;
  const auto image = image_of({{"a", {}}, {"bbbbbbbbbbbbbbbb", {}}});
  stores.remote = {image.chain_ids[1]};
  registry.before_body = [&](Digest digest) -> Awaitable<> {
    // The needless download never ends by itself.
    if (digest == image.layers[1].digest) {
      const auto executor = co_await asio::this_coro::executor;
      Event never(executor);
      co_await never.wait();
    }
  };
  pull();
  EXPECT_EQ(decisions(), (Decisions{download, remote}));
  EXPECT_EQ(registry.reading, 0U);
}

TEST_F(Pull, ASnapshotterThatAnsweredWithoutAHintIsAskedForEachFurtherLayerFirst) {
  const auto image = image_of({{"a", {}}, {"b", {}}, {"c", {}}});
  stores.remote = {image.chain_ids[0], image.chain_ids[2]};
  pull();
  EXPECT_EQ(decisions(), (Decisions{remote, download, remote}));
  EXPECT_EQ(registry.times_opened(image.layers[2].digest), 0U);
}

TEST_F(Pull, APresentImageCostsAConstantNumberOfCalls) {
  std::vector<FakeLayer> layers;
  for (int i = 0; i < 40; ++i) layers.push_back({"layer " + std::to_string(i), {}});
  image_of(layers);
  pull();
  stores.calls.clear();
  registry.opened.clear();
  report = {};
  pull();
  EXPECT_TRUE(report.images[0].already_there);
  EXPECT_LE(stores.calls.size(), 12U);
  EXPECT_EQ(stores.count("put image"), 0U) << "the record is there, and right";
  EXPECT_EQ(stores.count("stat"), 1U);
  EXPECT_EQ(stores.count("prepare"), 0U);
  EXPECT_TRUE(registry.opened.empty());
  EXPECT_TRUE(stores.protected_resources.contains(report.images[0].chain_id->str()))
      << "Stat alone does not protect from garbage collection";
}

TEST_F(Pull, FindsPresentBaseLayersWithFewCalls) {
  std::vector<FakeLayer> layers;
  for (int i = 0; i < 32; ++i) layers.push_back({"layer " + std::to_string(i), {}});
  image_of(layers);
  pull();
  layers.push_back({"new", {}});
  const auto image = image_of(layers);
  stores.calls.clear();
  report = {};
  pull();
  EXPECT_LE(stores.count("stat"), 8U);
  EXPECT_EQ(stores.count("prepare"), 1U);
  EXPECT_EQ(decisions().front(), exists);
  EXPECT_EQ(decisions().back(), download);
  EXPECT_EQ(report.fetched_bytes(), 3U);
}

TEST_F(Pull, CommitsAStagedSnapshotWithoutItsContent) {
  const auto image = image_of({{"a", {}}, {"b", {}}});
  stores.staged = {image.chain_ids[0]};
  pull();
  EXPECT_EQ(decisions(), (Decisions{staged, download}));
  EXPECT_EQ(registry.times_opened(image.layers[0].digest), 0U);
  EXPECT_TRUE(stores.snapshots.contains(image.chain_ids[0]));
}

TEST_F(Pull, FetchesADuplicateLayerOnce) {
  const auto image = image_of({{"same", {}}, {"same", {}}, {"other", {}}, {"same", {}}});
  pull();
  EXPECT_EQ(registry.times_opened(image.layers[0].digest), 1U);
  EXPECT_EQ(stores.snapshots.size(), 4U);
  EXPECT_EQ(report.fetched_bytes(), 9U);
}

TEST_F(Pull, PullsAnImageWithoutLayers) {
  const auto image = image_of({});
  pull();
  EXPECT_TRUE(stores.content.contains(image.config.digest));
  EXPECT_TRUE(stores.snapshots.empty());
  EXPECT_TRUE(stores.images.contains(reference.name()));
}

TEST_F(Pull, RefusesAManifestWhoseLayersDoNotMatchItsConfig) {
  auto image = image_of({{"a", {}}, {"b", {}}});
  const std::string manifest =
      R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",)"
      R"("config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":")" +
      image.config.digest.str() + R"(","size":)" + std::to_string(image.config.size) + R"(},"layers":[]})";
  registry.tag(reference, registry.add(manifest, media_type::oci_manifest));
  EXPECT_EQ(failure_of_pull(), Errc::invalid_image);
  EXPECT_NE(message.find("has 0 layers, but its config " + image.config.digest.str() + " has 2 diff_ids"),
            std::string::npos)
      << message;
  EXPECT_TRUE(stores.images.empty());
  expect_nothing_left();
}

TEST_F(Pull, NeverHasMoreRequestsOpenThanTheLimit) {
  std::vector<FakeLayer> layers;
  for (int i = 0; i < 20; ++i) layers.push_back({"layer with some bytes " + std::to_string(i), {}});
  image_of(layers);
  options.max_concurrent_downloads = 3;
  pull();
  EXPECT_EQ(registry.most_reading, 3U);
}

TEST_F(Pull, UnlimitedDownloadsAllAtOnce) {
  std::vector<FakeLayer> layers;
  for (int i = 0; i < 20; ++i) layers.push_back({"layer with some bytes " + std::to_string(i), {}});
  image_of(layers);
  options.max_concurrent_downloads = 0;
  pull();
  EXPECT_GT(registry.most_reading, 10U);
}

TEST_F(Pull, RefusesALayerWhoseBytesAreOthersAndDropsTheIngest) {
  const auto image = image_of({{"genuine", {}}});
  registry.served_instead[image.layers[0].digest] = "forged!";
  EXPECT_EQ(failure_of_pull(), Errc::digest_mismatch);
  EXPECT_NE(message.find(image.layers[0].digest.str()), std::string::npos) << message;
  EXPECT_TRUE(stores.ingests.empty());
  EXPECT_TRUE(stores.images.empty());
  expect_nothing_left();
}

TEST_F(Pull, RefusesAManifestThatIsNotItsDigest) {
  const auto image = image_of({{"a", {}}});
  registry.served_instead[image.manifest.digest] = std::string(image.manifest.size, ' ');
  EXPECT_EQ(failure_of_pull(), Errc::digest_mismatch);
  EXPECT_TRUE(stores.content.empty()) << "nothing unverified is stored";
}

TEST_F(Pull, RefusesALayerWhoseUncompressedContentIsNotItsDiffId) {
  const auto image = image_of({{"a", {}}, {"b", {}}});
  stores.diff_ids[image.layers[1].digest] = image.diff_ids[0];
  EXPECT_EQ(failure_of_pull(), Errc::digest_mismatch);
  EXPECT_NE(message.find("diff_id"), std::string::npos) << message;
  EXPECT_FALSE(stores.snapshots.contains(image.chain_ids[1]));
  expect_nothing_left();
}

TEST_F(Pull, GoesOnWhereAConnectionBroke) {
  const auto image = image_of({{"0123456789abcdefghij", {}}});
  registry.breaks[image.layers[0].digest] = {5, 12};
  pull();
  const std::vector<std::pair<Digest, std::uint64_t>> expected{
      {image.layers[0].digest, 0}, {image.layers[0].digest, 5}, {image.layers[0].digest, 12}};
  std::vector<std::pair<Digest, std::uint64_t>> layer_requests;
  std::ranges::copy_if(registry.opened, std::back_inserter(layer_requests),
                       [&](const auto& request) { return request.first == image.layers[0].digest; });
  EXPECT_EQ(layer_requests, expected);
  EXPECT_EQ(report.fetched_bytes(), 20U) << "no byte twice";
}

TEST_F(Pull, GivesUpOnALayerThatMakesNoProgressAndKeepsWhatCame) {
  const auto image = image_of({{"0123456789abcdefghij", {}}});
  registry.breaks[image.layers[0].digest] = {5, 5, 5, 5, 5, 5};
  EXPECT_EQ(failure_of_pull(), Errc::unavailable);
  EXPECT_EQ(stores.ingests.at("layer-" + image.layers[0].digest.str()), "01234");
  registry.breaks.clear();
  registry.opened.clear();
  report = {};
  pull();
  EXPECT_EQ(report.fetched_bytes(), 15U) << "the next pull goes on from the partial ingest";
}

TEST_F(Pull, WaitsForAnIngestThatAnotherProcessHolds) {
  const auto image = image_of({{"a", {}}});
  stores.lock_once = {"layer-" + image.layers[0].digest.str()};
  pull();
  EXPECT_EQ(decisions(), (Decisions{download}));
}

TEST_F(Pull, WaitsForAManifestAndAConfigThatAnotherProcessHolds) {
  const auto image = image_of({{"a", {}}});
  stores.lock_once = {ingest_ref(image.manifest), ingest_ref(image.config)};
  pull();
  EXPECT_TRUE(stores.lock_once.empty());
  EXPECT_EQ(decisions(), (Decisions{download}));
}

TEST_F(Pull, UnpacksContentThatIsThereAlreadyWithoutDownloadingIt) {
  const auto image = image_of({{"a", {}}});
  options.unpack = false;
  pull();
  registry.opened.clear();
  options.unpack = true;
  report = {};
  pull();
  EXPECT_TRUE(registry.opened.empty());
  EXPECT_EQ(decisions(), (Decisions{present}));
  EXPECT_TRUE(stores.snapshots.contains(image.chain_ids[0]));
}

TEST_F(Pull, FetchBringsContentOnly) {
  options.unpack = false;
  const auto image = image_of({{"a", {}}, {"b", {}}});
  pull();
  EXPECT_TRUE(stores.snapshots.empty());
  EXPECT_TRUE(stores.content.contains(image.layers[1].digest));
  EXPECT_TRUE(stores.images.contains(reference.name()));
  EXPECT_FALSE(stores.content.at(image.config.digest).labels.contains("containerd.io/gc.ref.snapshot.fake"));
}

TEST_F(Pull, ReportsTheSnapshottersFailureWithTheLayerAndRemovesTheKey) {
  const auto image = image_of({{"a", {}}, {"b", {}}});
  stores.fail_commit.emplace(image.chain_ids[1], Error(Errc::server_error, "Snapshots/Commit: boom"));
  EXPECT_EQ(failure_of_pull(), Errc::server_error);
  EXPECT_EQ(message, "pull registry.example.com/app:1: layer " + image.layers[1].digest.str() +
                         ": Snapshots/Commit: boom");
  EXPECT_EQ(stores.count("remove " + image.chain_ids[1]), 1U);
  expect_nothing_left();
}

TEST_F(Pull, PullsTheHostsBestMatchOfAnIndex) {
  options.platforms = {Platform::parse("linux/arm64")};
  const auto amd64 = make_image(registry, stores, {{"amd", {}}}, "linux/amd64");
  const auto arm64 = make_image(registry, stores, {{"arm", {}}}, "linux/arm64");
  const auto index = make_index(registry, {amd64, arm64}, {"linux/amd64", "linux/arm64"});
  registry.tag(reference, index);
  pull();
  EXPECT_EQ(report.images.size(), 1U);
  EXPECT_EQ(report.images[0].platform.str(), "linux/arm64");
  EXPECT_EQ(stores.images.at(reference.name()).target.digest, index.digest);
  EXPECT_FALSE(stores.content.contains(amd64.manifest.digest));
  EXPECT_EQ(stores.content.at(index.digest).labels.at("containerd.io/gc.ref.content.m.0"),
            amd64.manifest.digest.str())
      << "children that are not fetched are referred to all the same, as containerd does";
}

TEST_F(Pull, AllPlatformsShareWhatTheyHaveInCommon) {
  options.all_platforms = true;
  const auto amd64 = make_image(registry, stores, {{"base", {}}, {"amd", {}}}, "linux/amd64");
  const auto arm64 = make_image(registry, stores, {{"base", {}}, {"arm", {}}}, "linux/arm64");
  registry.tag(reference, make_index(registry, {amd64, arm64}, {"linux/amd64", "linux/arm64"}));
  pull();
  EXPECT_EQ(report.images.size(), 2U);
  EXPECT_EQ(registry.times_opened(amd64.layers[0].digest), 1U);
  EXPECT_EQ(stores.count("apply " + amd64.layers[0].digest.str()), 1U);
  EXPECT_EQ(stores.snapshots.size(), 3U);
}

TEST_F(Pull, AllMetadataBringsManifestsAndConfigsOfOtherPlatforms) {
  options.all_metadata = true;
  options.platforms = {Platform::parse("linux/amd64")};
  const auto amd64 = make_image(registry, stores, {{"amd", {}}}, "linux/amd64");
  const auto arm64 = make_image(registry, stores, {{"arm", {}}}, "linux/arm64");
  registry.tag(reference, make_index(registry, {amd64, arm64}, {"linux/amd64", "linux/arm64"}));
  pull();
  EXPECT_TRUE(stores.content.contains(arm64.config.digest));
  EXPECT_FALSE(stores.content.contains(arm64.layers[0].digest));
  EXPECT_EQ(report.images.size(), 1U);
}

TEST_F(Pull, SaysWhichPlatformsAreOfferedWhenTheWantedOneIsNot) {
  options.platforms = {Platform::parse("linux/s390x")};
  const auto amd64 = make_image(registry, stores, {{"amd", {}}}, "linux/amd64");
  registry.tag(reference, make_index(registry, {amd64}, {"linux/amd64"}));
  EXPECT_EQ(failure_of_pull(), Errc::platform_not_found);
  EXPECT_NE(message.find("linux/s390x; offered are: linux/amd64"), std::string::npos) << message;
}

TEST_F(Pull, CancellingItAnywhereLeavesNoLeaseAndNoActiveSnapshot) {
  const std::vector<FakeLayer> layers{{"one", {}}, {"two", hint}, {"three", {}}};
  bool completed = false;
  for (int steps = 0; !completed; ++steps) {
    ASSERT_LT(steps, 2000);
    registry = {};
    stores = {};
    report = {};
    image_of(layers);
    run(with_task_group([&](TaskGroup& group) -> Awaitable<> {
      auto handle = group.spawn(pull_image(ports(), reference, options, report));
      co_await step(steps);
      handle.drop();
    }));
    completed = !stores.images.empty();
    ASSERT_EQ(stores.active_snapshots(), 0U) << "cancelled after " << steps << " steps";
    ASSERT_EQ(stores.leases, 0) << "cancelled after " << steps << " steps";
    ASSERT_EQ(registry.reading, 0U);
  }
}

class Pull2019 : public Pull {
 protected:
  Pull2019() { options.protocol = RemoteProtocol::v2019; }
  FakeImage five() { return image_of({{"a", {}}, {"b", {}}, {"c", {}}, {"d", {}}, {"e", {}}}); }
};

TEST_F(Pull2019, DownloadsNothingIfAllLayersAreRemote) {
  const auto image = five();
  stores.marked_2019 = {image.chain_ids.begin(), image.chain_ids.end()};
  pull();
  EXPECT_EQ(decisions(), (Decisions{remote, remote, remote, remote, remote}));
  EXPECT_EQ(registry.opened.size(), 2U);
  EXPECT_EQ(stores.content.at(image.config.digest).labels.at("containerd.io/gc.ref.snapshot.fake"),
            image.chain_ids.back());
}

TEST_F(Pull2019, DownloadsTheFirstNecessaryLayerAndAllAbove) {
  const auto image = five();
  stores.marked_2019 = {image.chain_ids[0], image.chain_ids[1], image.chain_ids[3]};  // a hole at 2
  pull();
  EXPECT_EQ(decisions(), (Decisions{remote, remote, download, download, download}));
  EXPECT_EQ(registry.times_opened(image.layers[0].digest), 0U);
  EXPECT_EQ(registry.times_opened(image.layers[1].digest), 0U);
  EXPECT_EQ(stores.active_snapshots(), 0U);
  EXPECT_EQ(stores.snapshots.size(), 5U);
}

TEST_F(Pull2019, DownloadsALayerWhosePrepareFails) {
  const auto image = five();
  stores.marked_2019 = {image.chain_ids.begin(), image.chain_ids.end()};
  stores.fail_commit.emplace(image.chain_ids[2], Error(Errc::server_error, "commit"));
  // Extraction commits under the same name, so the failure must only hit the walk.
  stores.before_call = [&](std::string call) -> Awaitable<> {
    if (call == "apply " + image.layers[2].digest.str()) stores.fail_commit.clear();
    co_return;
  };
  pull();
  EXPECT_EQ(decisions(), (Decisions{remote, remote, download, download, download}));
  EXPECT_EQ(stores.active_snapshots(), 0U);
}

TEST_F(Pull2019, ASnapshotFoundWithoutTheLabelIsNecessaryAndSoAreAllAbove) {
  const auto image = five();
  stores.marked_2019 = {image.chain_ids.begin(), image.chain_ids.end()};
  stores.snapshots[image.chain_ids[0]] = {image.chain_ids[0], "", SnapshotKind::committed, {}};
  pull();
  EXPECT_EQ(decisions(), (Decisions{download, download, download, download, download}));
  EXPECT_EQ(stores.count("apply " + image.layers[0].digest.str()), 0U) << "its snapshot is there already";
}

TEST_F(Pull2019, FetchDownloadsOnlyNecessaryLayersAndUnpacksNone) {
  options.unpack = false;
  const auto image = five();
  stores.marked_2019 = {image.chain_ids[0]};
  pull();
  EXPECT_EQ(decisions(), (Decisions{remote, download, download, download, download}));
  EXPECT_EQ(stores.count("apply"), 0U);
  EXPECT_EQ(stores.snapshots.size(), 1U);
  EXPECT_EQ(stores.content.at(image.config.digest).labels.at("containerd.io/gc.ref.snapshot.fake"),
            image.chain_ids[0]);
}

TEST_F(Pull2019, ADaemonThatGoesAwayEndsTheWalkInsteadOfMakingLayersNecessary) {
  const auto image = five();
  stores.fail_prepare.emplace(image.chain_ids[1],
                              Error(Errc::unavailable, "Snapshots/Prepare: connection lost"));
  stores.marked_2019 = {image.chain_ids.begin(), image.chain_ids.end()};
  EXPECT_EQ(failure_of_pull(), Errc::unavailable);
  EXPECT_EQ(registry.opened.size(), 2U) << "no layer was requested";
  expect_nothing_left();
}

TEST_F(Pull, PlanSaysWhatWouldBeDownloadedAndStoresNothing) {
  const auto image = image_of({{"a", {}}, {"b", hint}, {"c", {}}});
  stores.remote = {image.chain_ids[0]};
  stores.content[image.layers[2].digest] = {"c", {}};
  plan();
  EXPECT_EQ(decisions(), (Decisions{remote, download, present}));
  EXPECT_TRUE(report.images[0].layers[1].remote_hint);
  EXPECT_EQ(stores.content.size(), 1U);
  EXPECT_TRUE(stores.images.empty());
  EXPECT_EQ(registry.times_opened(image.layers[1].digest), 0U);
  expect_nothing_left();
}

TEST_F(Pull, PlanOfAPresentImageFindsEverythingThere) {
  image_of({{"a", {}}, {"b", {}}});
  pull();
  report = {};
  plan();
  EXPECT_EQ(decisions(), (Decisions{exists, exists}));
}

}  // namespace
}  // namespace lazypull
