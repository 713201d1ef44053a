// Many images that share bases, pulled by one command: what is shared is fetched and unpacked once.

#include "tests/integration/support/containerd_state.hpp"
#include "tests/integration/support/embedded.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/lazypull.hpp"
#include "tests/integration/support/registry.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <set>
#include <thread>

namespace lazypull::test {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

/// Twenty images of six layers: two bases of four layers, and two layers of their own.
struct Fleet {
  std::vector<Image> images;
  std::vector<std::string> references;
  std::set<std::string> layers;
  std::set<std::string> blobs;  ///< layers and configs
  std::set<std::string> chains;
  std::int64_t layer_bytes = 0;  ///< of the distinct layers
};

Layer noise_layer(const std::string& name, std::uint64_t seed, std::size_t size) {
  return make_layer({tar::directory(name), tar::file(name + "/noise", tar::noise(size, seed)),
                     tar::file(name + "/name", name)});
}

Fleet make_fleet(Registry& registry) {
  std::vector<std::vector<Layer>> bases(2);
  for (std::uint64_t base = 0; base < 2; ++base) {
    for (std::uint64_t i = 0; i < 4; ++i) {
      const auto seed = 100 * base + i;
      bases[base].push_back(noise_layer("base" + std::to_string(seed), seed, 2'000'000));
    }
  }
  Fleet fleet;
  for (std::uint64_t i = 0; i < 20; ++i) {
    ImageBuilder builder;
    for (const auto& layer : bases[i % 2]) builder.layer(layer);
    for (std::uint64_t own = 0; own < 2; ++own) {
      const auto seed = 1000 + 10 * i + own;
      builder.layer(noise_layer("own" + std::to_string(seed), seed, 200'000));
    }
    const auto image = builder.build();
    fleet.references.push_back(registry.store(image, "app" + std::to_string(i) + ":1"));
    for (const auto& layer : image.layers) {
      if (fleet.layers.insert(layer.digest).second) {
        fleet.layer_bytes += static_cast<std::int64_t>(layer.blob.size());
      }
      fleet.blobs.insert(layer.digest);
    }
    fleet.blobs.insert(image.config_digest);
    fleet.chains.insert(image.chain_ids.begin(), image.chain_ids.end());
    fleet.images.push_back(image);
  }
  return fleet;
}

class Prewarm : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    registry = new Registry;
    fleet = new Fleet(make_fleet(*registry));
  }
  static void TearDownTestSuite() {
    delete fleet;
    delete registry;
  }
  Prewarm() { registry->reset_log(); }

  std::string list(const std::vector<std::string>& lines) {
    const auto path = (folder / "list").string();
    std::ofstream file(path);
    for (const auto& line : lines) file << line << "\n";
    return path;
  }
  std::string whole_list() { return list(fleet->references); }

  static void expect_fetched_once() {
    const auto fetched = registry->fetched_blobs("lazypull");
    EXPECT_EQ(std::set<std::string>(fetched.begin(), fetched.end()), fleet->blobs);
    EXPECT_THAT(fetched, SizeIs(fleet->blobs.size()));
  }

  /// The layers that were asked for, with repeats. Two processes may both have asked for a small config.
  static std::vector<std::string> fetched_layers() {
    auto fetched = registry->fetched_blobs("lazypull");
    std::erase_if(fetched, [](const std::string& digest) { return !fleet->layers.contains(digest); });
    return fetched;
  }

  void expect_all_in_containerd() {
    collect_garbage(containerd);
    const auto state = read_state(containerd);
    EXPECT_THAT(state.images, SizeIs(20));
    EXPECT_THAT(state.leases, IsEmpty());
    EXPECT_THAT(state.ingests, IsEmpty());
    EXPECT_THAT(state.snapshots, SizeIs(fleet->chains.size()));
    for (const auto& [name, snapshot] : state.snapshots) EXPECT_EQ(snapshot.kind, "committed") << name;
    EXPECT_THAT(state.content, SizeIs(fleet->blobs.size() + 20));
  }

  void expect_all_in_store() {
    const auto opened = store.open();
    EXPECT_THAT(opened->images().list(), SizeIs(20));
    EXPECT_THAT(opened->snapshots().list(), SizeIs(fleet->chains.size()));
    EXPECT_THAT(faults(*opened), IsEmpty());
    EXPECT_EQ(opened->collect_garbage(), GarbageReport{});
  }

  static Registry* registry;
  static Fleet* fleet;
  TempDir folder{"prewarm"};
  Containerd containerd;
  Lazypull lazypull{containerd};
  StoreLazypull store;
};
Registry* Prewarm::registry = nullptr;
Fleet* Prewarm::fleet = nullptr;

std::size_t occurrences(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST_F(Prewarm, IntoContainerdEachBlobIsFetchedAndEachChainIdIsMadeOnce) {
  const auto outcome = lazypull.run_ok({"--debug", "prewarm", whole_list()});
  EXPECT_EQ(outcome.total("ready"), 20);
  expect_fetched_once();
  for (const auto& chain : fleet->chains) {
    EXPECT_EQ(occurrences(outcome.process.err, " " + chain + ": committed"), 1U) << chain;
  }
  expect_all_in_containerd();
}

TEST_F(Prewarm, TheTreesAreThoseOfCtr) {
  lazypull.run_ok({"prewarm", whole_list()});
  Containerd other;
  for (const std::size_t i : {0U, 7U, 19U}) {
    other.ctr_ok({"images", "pull", "--plain-http", fleet->references[i]});
    EXPECT_THAT(diff(read_image_tree(other, "overlayfs", fleet->references[i]),
                     read_image_tree(containerd, "overlayfs", fleet->references[i]), {.ignore_root = true}),
                IsEmpty());
  }
}

TEST_F(Prewarm, IntoTheStoreEachBlobIsFetchedAndEachChainIdIsMadeOnce) {
  const auto outcome = store.run_ok({"--debug", "prewarm", whole_list()});
  EXPECT_EQ(outcome.total("ready"), 20);
  expect_fetched_once();
  for (const auto& chain : fleet->chains) {
    EXPECT_EQ(occurrences(outcome.process.err, " " + chain + ": committed"), 1U) << chain;
  }
  expect_all_in_store();
}

TEST_F(Prewarm, ASecondRunFetchesNothing) {
  store.run_ok({"prewarm", whole_list()});
  registry->reset_log();
  const auto outcome = store.run_ok({"prewarm", whole_list()});
  EXPECT_EQ(outcome.total("ready"), 20);
  EXPECT_EQ(outcome.total("fetchedBytes"), 0);
  EXPECT_THAT(registry->fetched_blobs("lazypull"), IsEmpty());
}

TEST_F(Prewarm, TwoProcessesAtOnceFetchNoLayerTwice) {
  const auto all = whole_list();
  auto first = lazypull.start({"prewarm", all});
  auto second = lazypull.start({"prewarm", all});
  EXPECT_EQ(first.wait(std::chrono::seconds(120)), 0) << first.err() << first.out();
  EXPECT_EQ(second.wait(std::chrono::seconds(120)), 0) << second.err() << second.out();
  EXPECT_THAT(fetched_layers(), testing::UnorderedElementsAreArray(fleet->layers));
  expect_all_in_containerd();
}

TEST_F(Prewarm, TwoProcessesAtOnceFetchNoLayerTwiceThroughContainerdsSocket) {
  const auto all = whole_list();
  auto first = lazypull.start({"prewarm", all, "--unpack", "diff-service"});
  auto second = lazypull.start({"prewarm", all, "--unpack", "diff-service"});
  EXPECT_EQ(first.wait(std::chrono::seconds(120)), 0) << first.err() << first.out();
  EXPECT_EQ(second.wait(std::chrono::seconds(120)), 0) << second.err() << second.out();
  EXPECT_THAT(fetched_layers(), testing::UnorderedElementsAreArray(fleet->layers));
  expect_all_in_containerd();
}

TEST_F(Prewarm, TwoProcessesAtOnceIntoOneStoreFetchNoLayerTwice) {
  const auto all = whole_list();
  auto first = store.start({"prewarm", all});
  auto second = store.start({"prewarm", all});
  EXPECT_EQ(first.wait(std::chrono::seconds(120)), 0) << first.err() << first.out();
  EXPECT_EQ(second.wait(std::chrono::seconds(120)), 0) << second.err() << second.out();
  EXPECT_THAT(fetched_layers(), testing::UnorderedElementsAreArray(fleet->layers));
  expect_all_in_store();
}

TEST_F(Prewarm, AnInterruptedRunIsGoneOnFrom) {
  auto process = lazypull.start({"prewarm", whole_list(), "--limit-rate", "20M"});
  std::this_thread::sleep_for(std::chrono::milliseconds(600));
  process.signal(SIGINT);
  EXPECT_EQ(process.wait(std::chrono::seconds(30)), 130) << process.err();
  const auto between = read_state(containerd);
  EXPECT_THAT(between.leases, IsEmpty());
  for (const auto& [name, snapshot] : between.snapshots) EXPECT_EQ(snapshot.kind, "committed") << name;
  const auto outcome = lazypull.run_ok({"prewarm", whole_list()});
  EXPECT_EQ(outcome.total("ready"), 20);
  expect_all_in_containerd();
}

TEST_F(Prewarm, ADeadlineEndsItWithASummary) {
  const auto outcome = store.run({"prewarm", whole_list(), "--limit-rate", "4M", "--deadline", "500ms"});
  EXPECT_EQ(outcome.process.exit_code, 124);
  EXPECT_TRUE(outcome.json.at("pastDeadline").as_bool());
  EXPECT_GT(outcome.total("notDone"), 0);
}

TEST_F(Prewarm, KeepsGoingPastAnImageThatIsNotThere) {
  const auto missing = registry->reference("missing:1");
  const auto path = list({fleet->references[0], missing, "# a comment", fleet->references[1]});
  const auto outcome = lazypull.run({"prewarm", path});
  EXPECT_EQ(outcome.process.exit_code, 11);
  EXPECT_EQ(outcome.total("ready"), 2);
  EXPECT_EQ(outcome.total("failed"), 1);
  const auto& image = outcome.json.at("images").at(1);
  EXPECT_EQ(std::string(image.at("reference").as_string()), missing);
  EXPECT_EQ(image.at("error").at("code"), "not_found");
  EXPECT_THAT(read_state(containerd).images, SizeIs(2));
}

TEST_F(Prewarm, FailFastStopsAtTheFirstFailure) {
  const auto path = list({registry->reference("missing:1"), fleet->references[0]});
  const auto outcome = store.run({"prewarm", path, "--fail-fast", "--max-concurrent-images", "1"});
  EXPECT_EQ(outcome.process.exit_code, 11);
  EXPECT_EQ(outcome.total("ready"), 0);
  EXPECT_EQ(outcome.total("notDone"), 1);
}

TEST_F(Prewarm, ADryRunCountsWhatIsSharedOnceAndChangesNothing) {
  const auto before = read_state(containerd);
  const auto outcome = lazypull.run_ok({"prewarm", whole_list(), "--dry-run"});
  const auto& plan = outcome.json.at("plan");
  EXPECT_EQ(plan.at("blobsToDownload").to_number<std::size_t>(), fleet->layers.size());
  EXPECT_EQ(plan.at("bytesToDownload").to_number<std::int64_t>(), fleet->layer_bytes);
  EXPECT_EQ(plan.at("layersToUnpack").to_number<std::size_t>(), fleet->chains.size());
  EXPECT_GT(plan.at("bytesUnshared").to_number<std::int64_t>(), 2 * fleet->layer_bytes);
  EXPECT_THAT(diff(before, read_state(containerd)), IsEmpty());
  for (const auto& digest : registry->fetched_blobs("lazypull")) EXPECT_FALSE(fleet->layers.contains(digest));
}

TEST_F(Prewarm, ADiskWithTooLittleRoomIsFoundOutBefore) {
  const auto dry = store.run({"prewarm", whole_list(), "--dry-run", "--min-free", "100%"});
  EXPECT_EQ(dry.process.exit_code, 8) << dry.process.err;
  EXPECT_FALSE(dry.json.at("plan").at("disks").at(0).at("fits").as_bool());
  const auto wet = store.run({"prewarm", whole_list(), "--min-free", "100%"});
  EXPECT_EQ(wet.process.exit_code, 8);
  EXPECT_EQ(wet.json.at("stopped").at("code"), "out_of_space");
  EXPECT_THAT(store.open()->images().list(), IsEmpty());
}

TEST_F(Prewarm, ReadsStandardInputAndSaysWhatBecomesOfEachImage) {
  ProcessOptions options;
  options.input =
      fleet->references[0] + " priority=3\n" + fleet->references[1] + "\n" + fleet->references[0] + "\n";
  const auto result = run({LAZYPULL_BINARY, "--store", (folder / "store").string(), "prewarm", "-", "--image",
                           fleet->references[2], "--progress", "plain"},
                          options);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("[3/3] "));
  EXPECT_THAT(result.err, HasSubstr(fleet->references[1] + ": ready, "));
  EXPECT_THAT(result.out, HasSubstr("3 of 3 images ready in "));
}

TEST_F(Prewarm, AListMayBeYaml) {
  const auto path = (folder / "list.yaml").string();
  std::ofstream(path) << "defaults: {priority: 3}\nimages:\n- " << fleet->references[0]
                      << "\n- {reference: \"" << fleet->references[1] << "\", priority: 5}\n";
  const auto outcome = store.run_ok({"prewarm", path});
  EXPECT_EQ(outcome.total("ready"), 2);
  EXPECT_EQ(outcome.json.at("images").at(0).at("priority").to_number<int>(), 3);
  EXPECT_EQ(outcome.json.at("images").at(1).at("priority").to_number<int>(), 5);
}

TEST_F(Prewarm, TheRatesFileIsReadAgainAtHangUp) {
  const auto rates = (folder / "rates").string();
  std::ofstream(rates) << "prewarm=100k\n";  // four minutes for all
  auto process = store.start({"prewarm", whole_list(), "--rates-file", rates});
  wait_until([&] { return !registry->fetched_blobs("lazypull").empty(); }, "the first blobs");
  EXPECT_FALSE(process.wait(std::chrono::seconds(1)));
  std::ofstream(rates) << "prewarm=0\n";
  process.signal(SIGHUP);
  EXPECT_EQ(process.wait(std::chrono::seconds(60)), 0) << process.err() << process.out();
  expect_all_in_store();
}

TEST_F(Prewarm, OneByteInFlightIsOneBlobAtATime) {
  const auto outcome = store.run_ok({"prewarm", whole_list(), "--max-bytes-in-flight", "1"});
  EXPECT_EQ(outcome.total("ready"), 20);
  expect_fetched_once();
}

TEST_F(Prewarm, AMistakeInTheListIsNamedBeforeAnythingIsDone) {
  const auto path = list({fleet->references[0], "app:1 colour=red"});
  const auto outcome = store.run({"prewarm", path});
  EXPECT_EQ(outcome.process.exit_code, 2);
  EXPECT_THAT(outcome.error_message(), HasSubstr(path + ":2: "));
  EXPECT_THAT(registry->requests("lazypull"), IsEmpty());
}

}  // namespace
}  // namespace lazypull::test
