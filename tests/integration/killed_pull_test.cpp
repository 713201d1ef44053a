// A pull that is killed at a random point: the next one succeeds, does not download again what was complete,
// and nothing is left over. LAZYPULL_KILLS sets how many points are tried, LAZYPULL_SEED which.

#include "tests/integration/support/containerd_state.hpp"
#include "tests/integration/support/embedded.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/registry.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <random>
#include <set>
#include <thread>

namespace lazypull::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::microseconds;
using testing::IsEmpty;
using Clock = std::chrono::steady_clock;

int number_from(const char* variable, int otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::atoi(text);
}

/// Some large files, many small ones, folders that are opaque.
Image varied_image() {
  ImageBuilder builder;
  for (std::uint64_t i = 0; i < 5; ++i) {
    const std::string folder = "d" + std::to_string(i);
    std::vector<tar::Entry> files{tar::directory("shared"), tar::opaque("shared"), tar::directory(folder)};
    for (int j = 0; j < 60; ++j) {
      files.push_back(tar::file(folder + "/" + std::to_string(j), std::string(700, 'x')));
    }
    files.push_back(tar::file("noise" + std::to_string(i), tar::noise(1'500'000, i)));
    builder.layer(files);
  }
  return builder.build();
}

class Killed : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    registry = new Registry;
    image = new Image(varied_image());
    reference = new std::string(registry->store(*image, "killed:1"));
  }
  static void TearDownTestSuite() {
    delete reference;
    delete image;
    delete registry;
  }

  Killed() {
    RecordProperty("seed", seed);
    random.seed(static_cast<unsigned>(seed));
  }

  /// Starts a pull and kills it somewhere within `whole`.
  template <class Puller>
  void kill_a_pull(Puller& puller, const Argv& command, microseconds whole) {
    auto process = puller.start(command);
    std::uniform_int_distribution<microseconds::rep> point(0, whole.count());
    std::this_thread::sleep_for(microseconds(point(random)));
    process.signal(SIGKILL);
    ASSERT_TRUE(process.wait(std::chrono::seconds(30)).has_value());
  }

  void expect_none_fetched(const std::set<std::string>& complete) {
    for (const auto& digest : registry->fetched_blobs("lazypull")) {
      EXPECT_FALSE(complete.contains(digest)) << digest << " was complete, and was downloaded again";
    }
  }

  static Registry* registry;
  static Image* image;
  static std::string* reference;
  int kills = number_from("LAZYPULL_KILLS", 30);
  int seed = number_from("LAZYPULL_SEED", 1);
  std::mt19937 random;
};
Registry* Killed::registry = nullptr;
Image* Killed::image = nullptr;
std::string* Killed::reference = nullptr;

microseconds since(Clock::time_point start) {
  return std::chrono::duration_cast<microseconds>(Clock::now() - start);
}

TEST_F(Killed, AnEmbeddedPull) {
  StoreLazypull lazypull;
  const Argv pull{"pull", *reference};
  const auto start = Clock::now();
  lazypull.run_ok(pull);
  const auto whole = since(start);
  const auto clean = read_snapshot_tree(*lazypull.open(), image->top_chain_id());

  for (int i = 0; i < kills; ++i) {
    SCOPED_TRACE("point " + std::to_string(i) + " of seed " + std::to_string(seed));
    const auto store = lazypull.open();
    store->images().remove(*reference);
    store->collect_garbage({.ingest_age = std::chrono::seconds(0)});
    ASSERT_THAT(store->content().list(), IsEmpty());
    ASSERT_THAT(store->snapshots().list(), IsEmpty());
    ASSERT_THAT(faults(*store), IsEmpty());

    kill_a_pull(lazypull, pull, whole);
    std::set<std::string> complete;
    for (const auto& content : store->content().list()) complete.insert(content.info.digest.str());
    registry->reset_log();
    const auto next = lazypull.run(pull);
    ASSERT_EQ(next.process.exit_code, 0) << next.process.err;
    expect_none_fetched(complete);

    store->collect_garbage({.ingest_age = std::chrono::seconds(0)});
    ASSERT_THAT(faults(*store), IsEmpty());
    ASSERT_EQ(store->content().list().size(), image->blobs.size());
    ASSERT_EQ(store->snapshots().list().size(), image->layers.size());
    ASSERT_THAT(diff(clean, read_snapshot_tree(*store, image->top_chain_id()),
                     {.ignore_directory_mtime = true, .ignore_root = true}),
                IsEmpty());
  }
}

/// Blobs of containerd's content store whose bytes are not those of their name.
std::vector<std::string> damaged_blobs(const Containerd& containerd) {
  std::vector<std::string> found;
  const auto folder = containerd.root() / "io.containerd.content.v1.content/blobs/sha256";
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (digest_of(read_file(entry.path())) != "sha256:" + name) found.push_back(name);
  }
  return found;
}

std::size_t snapshot_folders(const Containerd& containerd) {
  const auto folder = containerd.root() / "io.containerd.snapshotter.v1.overlayfs/snapshots";
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), {}));
}

TEST_F(Killed, ADirectPullIntoContainerd) {
  Containerd containerd;
  Lazypull lazypull(containerd);
  const Argv pull{"pull", *reference, "--unpack", "direct"};
  const auto start = Clock::now();
  lazypull.run_ok(pull);
  const auto whole = since(start);
  const auto clean = read_state(containerd);
  const auto tree = read_image_tree(containerd, "overlayfs", *reference);

  for (int i = 0; i < kills; ++i) {
    SCOPED_TRACE("point " + std::to_string(i) + " of seed " + std::to_string(seed));
    containerd.ctr({"images", "remove", *reference});
    collect_garbage(containerd);
    ASSERT_THAT(read_state(containerd).content, IsEmpty());

    kill_a_pull(lazypull, pull, whole);
    std::set<std::string> complete;
    for (const auto& [digest, content] : read_state(containerd).content) complete.insert(digest);
    registry->reset_log();
    const auto next = lazypull.run(pull);
    ASSERT_EQ(next.process.exit_code, 0) << next.process.err;
    expect_none_fetched(complete);

    // The dead process's lease would expire by itself, after a day.
    for (const auto& [id, lease] : read_state(containerd).leases) containerd.ctr_ok({"leases", "delete", id});
    collect_garbage(containerd);
    ASSERT_THAT(diff(clean, read_state(containerd)), IsEmpty());
    ASSERT_THAT(damaged_blobs(containerd), IsEmpty());
    ASSERT_EQ(snapshot_folders(containerd), image->layers.size());
    ASSERT_THAT(diff(tree, read_image_tree(containerd, "overlayfs", *reference),
                     {.ignore_directory_mtime = true, .ignore_root = true}),
                IsEmpty());
  }
}

}  // namespace
}  // namespace lazypull::test
