// Layers that go straight into the folder of containerd's content store and are adopted by containerd.

#include "tests/integration/support/containerd_state.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/lazypull.hpp"
#include "tests/integration/support/registry.hpp"
#include "tests/support/temp_dir.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

namespace lazypull::test {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;

constexpr std::size_t layer_bytes = 20'000'000;

Image two_large_layers() {
  return ImageBuilder()
      .layer({tar::file("lower", tar::noise(layer_bytes, 1))})
      .layer({tar::file("upper", tar::noise(layer_bytes, 2))})
      .build();
}

class LocalContent : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    registry = new Registry;
    image = new Image(two_large_layers());
    reference = new std::string(registry->store(*image, "large:1"));
  }
  static void TearDownTestSuite() {
    delete reference;
    delete image;
    delete registry;
  }

  static fs::path content_root(const Containerd& containerd) {
    return containerd.root() / "io.containerd.content.v1.content";
  }

  /// Every blob is there, of the right bytes, read-only, and known to containerd; no ingest is left.
  static void expect_whole_image(Containerd& containerd, const std::string& space = "default") {
    const auto state = read_state(containerd, "overlayfs", space);
    for (const auto& [digest, bytes] : image->blobs) {
      ASSERT_TRUE(state.content.contains(digest)) << digest;
      EXPECT_EQ(containerd.ctr_ok({"content", "get", digest}, space), bytes) << digest;
    }
    for (const auto& layer : image->layers) {
      const auto file = content_root(containerd) / "blobs/sha256" / layer.digest.substr(7);
      EXPECT_EQ(fs::status(file).permissions(), fs::perms{0444}) << file;
      EXPECT_EQ(fs::hard_link_count(file), 1U) << file;
    }
    EXPECT_THAT(state.ingests, IsEmpty());
    EXPECT_TRUE(fs::is_empty(content_root(containerd) / "ingest"));
  }

  /// The ingests' files that this process has open for writing.
  static std::size_t open_ingests(pid_t pid) {
    std::size_t count = 0;
    std::error_code gone;
    for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(pid) + "/fd", gone)) {
      const auto target = fs::read_symlink(entry.path(), gone).string();
      if (target.find("/ingest/") != std::string::npos && target.ends_with("/data")) ++count;
    }
    return count;
  }

  static Registry* registry;
  static Image* image;
  static std::string* reference;
};
Registry* LocalContent::registry = nullptr;
Image* LocalContent::image = nullptr;
std::string* LocalContent::reference = nullptr;

TEST_F(LocalContent, LayersAreWrittenIntoTheIngestsOfContainerd) {
  Containerd containerd;
  auto process = Lazypull(containerd).start({"pull", *reference});
  wait_until([&] { return open_ingests(process.pid()) > 0; }, "an ingest's file in the hands of the pull");
  EXPECT_EQ(process.wait(std::chrono::minutes(1)), 0);
  expect_whole_image(containerd);
}

TEST_F(LocalContent, WhatIsAdoptedSurvivesGarbageCollection) {
  Containerd containerd;
  Lazypull(containerd).run_ok({"pull", *reference});
  collect_garbage(containerd);
  containerd.restart();
  expect_whole_image(containerd);
}

TEST_F(LocalContent, ANamespaceThatDoesNotShareIsSentTheBytes) {
  Containerd containerd({.isolated_content = true});
  for (const std::string space : {"one", "two"}) {
    const auto outcome = Lazypull(containerd, space).run_ok({"pull", *reference});
    EXPECT_THAT(outcome.decisions(), ElementsAre("download", "download"));
    expect_whole_image(containerd, space);
  }
}

TEST_F(LocalContent, AnotherNamespaceAdoptsWhatIsThere) {
  Containerd containerd;
  Lazypull(containerd, "one").run_ok({"pull", *reference});
  registry->reset_log();
  const auto outcome = Lazypull(containerd, "two").run_ok({"pull", *reference});
  EXPECT_THAT(outcome.decisions(), ElementsAre("present", "present"));
  for (const auto& layer : image->layers) {
    EXPECT_THAT(registry->fetched_blobs("lazypull"), Not(Contains(layer.digest)));
  }
  expect_whole_image(containerd, "two");
}

TEST_F(LocalContent, AWrongDigestLeavesNeitherBlobNorIngest) {
  Image lying = two_large_layers();
  const auto digest = lying.layers[1].digest;
  const auto name = registry->store(lying, "lying:1");
  const auto file = registry->blob_file(digest);
  const auto good = read_file(file);
  auto bad = good;
  bad[layer_bytes / 2] = static_cast<char>(bad[layer_bytes / 2] ^ 1);
  write_file(file, bad);
  Containerd containerd;
  const auto outcome = Lazypull(containerd).run({"pull", name});
  write_file(file, good);
  EXPECT_EQ(outcome.error_code(), "digest_mismatch") << outcome.process.err;
  const auto state = read_state(containerd);
  EXPECT_FALSE(state.content.contains(digest));
  EXPECT_FALSE(state.ingests.contains("layer-" + digest));
  EXPECT_FALSE(fs::exists(content_root(containerd) / "blobs/sha256" / digest.substr(7)));
}

TEST_F(LocalContent, AnIngestThatThePullLeavesIsOneOfContainerd) {
  Containerd containerd;
  auto process = Lazypull(containerd).start({"pull", *reference});
  wait_until([&] { return open_ingests(process.pid()) > 0; }, "an ingest's file in the hands of the pull");
  process.kill();
  // containerd's own client goes on from it, or begins anew where nothing had come yet.
  containerd.ctr_ok({"images", "pull", "--plain-http", *reference});
  expect_whole_image(containerd);
}

TEST_F(LocalContent, IsNotUsedWhereContainerdIsToDoTheUnpacking) {
  Containerd containerd;
  Lazypull(containerd).run_ok({"pull", *reference, "--unpack", "diff-service"});
  expect_whole_image(containerd);
}

}  // namespace
}  // namespace lazypull::test
