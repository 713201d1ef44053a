// The harness itself: that registry and containerd come up and talk to each other, and that what they hold
// can be seen. What these tests rely on, all other integration tests rely on.

#include "tests/integration/support/containerd.hpp"
#include "tests/integration/support/containerd_state.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/push.hpp"
#include "tests/integration/support/registry.hpp"
#include "tests/integration/support/tar.hpp"
#include "tests/integration/support/tree.hpp"
#include "tests/support/process.hpp"
#include "tests/support/temp_dir.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/sysmacros.h>

#include <filesystem>
#include <string>
#include <unistd.h>
#include <vector>

namespace lazypull::test {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Key;
using testing::Pair;
using testing::UnorderedElementsAre;

class PullTest : public testing::Test {
 protected:
  Registry registry;
  Containerd containerd;

  std::string pull(const std::string& reference, Argv options = {"--plain-http"}) {
    Argv argv = {"images", "pull"};
    argv.insert(argv.end(), options.begin(), options.end());
    argv.push_back(reference);
    containerd.ctr_ok(std::move(argv));
    return reference;
  }
};

TEST_F(PullTest, ContainerdPullsAndRunsAStoredImage) {
  const auto image = ImageBuilder().layer(busybox_files()).layer({tar::file("hello", "world")}).build();
  const auto reference = pull(registry.store(image, "tests/hello:1"));
  const auto result = run_container(containerd, "overlayfs", reference, {"/bin/cat", "/hello"});
  EXPECT_EQ(result.out, "world") << result.err;
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(run_container(containerd, "overlayfs", reference, {"/bin/sh", "-c", "exit 7"}).exit_code, 7);
}

TEST_F(PullTest, ContainersEndWithContainerd) {
  const auto image = ImageBuilder().layer(busybox_files()).build();
  std::string socket;
  const std::string name = "lazypull-test-sleeper-" + std::to_string(::getpid());
  {
    Containerd other;
    socket = other.socket();
    const auto reference = registry.store(image, "tests/sleeper:1");
    other.ctr_ok({"images", "pull", "--plain-http", reference});
    other.ctr_ok({"run", "--detach", reference, name, "/bin/busybox", "sleep", "600"});
    EXPECT_EQ(run({"pgrep", "--full", "^[^ ]*containerd-shim.*" + socket}).exit_code, 0);
  }
  EXPECT_EQ(run({"pgrep", "--full", "^[^ ]*containerd-shim.*" + socket}).exit_code, 1);
  EXPECT_FALSE(std::filesystem::exists("/run/containerd/runc/default/" + name));
}

TEST_F(PullTest, ContainersNeedAnUnpackedImage) {
  const auto reference = registry.store(ImageBuilder().layer(busybox_files()).build(), "tests/packed:1");
  containerd.ctr_ok({"content", "fetch", "--plain-http", reference});
  EXPECT_THROW(run_container(containerd, "overlayfs", reference, {"/bin/true"}), std::runtime_error);
}

TEST_F(PullTest, RegistryTellsWhichBlobsWereFetched) {
  const auto image = ImageBuilder().layer({tar::file("a", "1")}).layer({tar::file("b", "2")}).build();
  pull(registry.store(image, "tests/log:1"));
  EXPECT_THAT(registry.fetched_blobs("containerd/"),
              UnorderedElementsAre(image.config_digest, image.layers[0].digest, image.layers[1].digest));
  EXPECT_THAT(registry.fetched_blobs("somebody-else/"), IsEmpty());
  EXPECT_THAT(registry.requests(),
              Contains(AllOf(Field(&RegistryRequest::method, "HEAD"), Field(&RegistryRequest::status, 200),
                             Field(&RegistryRequest::path, "/v2/tests/log/manifests/1"))));
  registry.reset_log();
  EXPECT_THAT(registry.requests(), IsEmpty());
}

TEST_F(PullTest, RegistryServesDamagedAndMissingContent) {
  const auto image = ImageBuilder().layer({tar::file("a", "1")}).build();
  const auto reference = registry.store(image, "tests/damaged:1");
  write_file(registry.blob_file(image.layers[0].digest), image.layers[0].blob + "more");
  EXPECT_NE(containerd.ctr({"images", "pull", "--plain-http", reference}).exit_code, 0);
  std::filesystem::remove(registry.blob_file(image.layers[0].digest));
  EXPECT_THAT(containerd.ctr({"images", "pull", "--plain-http", reference}).err, HasSubstr("not found"));
  registry.retag("tests/damaged:1", "");
  EXPECT_THAT(containerd.ctr({"images", "pull", "--plain-http", reference}).err, HasSubstr("not found"));
}

TEST_F(PullTest, RegistryComesBackOnItsPort) {
  const auto reference = registry.store(ImageBuilder().layer({tar::file("a", "1")}).build(), "tests/again:1");
  registry.stop();
  EXPECT_NE(containerd.ctr({"images", "pull", "--plain-http", reference}).exit_code, 0);
  registry.start();
  EXPECT_EQ(registry.reference("tests/again:1"), reference);
  pull(reference);
}

TEST_F(PullTest, SkopeoPushesOciAndDockerImagesAndIndexes) {
  const auto image = ImageBuilder().layer({tar::file("a", "1")}).layer({tar::file("a", "1")}).build();
  const auto index =
      make_index({image, ImageBuilder().platform("linux/arm64/v8").layer({tar::file("a", "arm")}).build()});
  const auto docker = pull(push(image, registry, "tests/docker:1", ManifestFormat::docker));
  const auto oci = pull(push(image, registry, "tests/oci:1"));
  const auto both = pull(push(index, registry, "tests/both:1"), {"--plain-http", "--all-platforms"});
  const auto state = read_state(containerd);
  EXPECT_EQ(state.images.at(docker).media_type, "application/vnd.docker.distribution.manifest.v2+json");
  EXPECT_EQ(state.images.at(oci).digest, image.digest);
  EXPECT_EQ(state.images.at(both).digest, index.digest);
  EXPECT_EQ(state.images.at(both).media_type, "application/vnd.oci.image.index.v1+json");
}

TEST_F(PullTest, StateShowsAllThatAPullLeaves) {
  const auto image = ImageBuilder().layer({tar::file("a", "1")}).layer({tar::file("b", "2")}).build();
  const auto before = read_state(containerd);
  EXPECT_TRUE(before.images.empty() && before.content.empty() && before.snapshots.empty() &&
              before.leases.empty());
  const auto reference = pull(registry.store(image, "tests/state:1"));
  const auto state = read_state(containerd);
  EXPECT_THAT(state.images, ElementsAre(Key(reference)));
  EXPECT_EQ(state.content.size(), 4U);
  EXPECT_THAT(state.content.at(image.layers[0].digest).labels,
              Contains(Pair("containerd.io/uncompressed", image.layers[0].diff_id)));
  EXPECT_THAT(state.content.at(image.config_digest).labels,
              Contains(Pair("containerd.io/gc.ref.snapshot.overlayfs", image.top_chain_id())));
  EXPECT_THAT(state.snapshots, UnorderedElementsAre(Key(image.chain_ids[0]), Key(image.chain_ids[1])));
  EXPECT_EQ(state.snapshots.at(image.chain_ids[1]).parent, image.chain_ids[0]);
  EXPECT_EQ(state.snapshots.at(image.chain_ids[1]).kind, "committed");
  EXPECT_THAT(state.leases, IsEmpty());
  EXPECT_THAT(read_state(containerd, "overlayfs", "elsewhere").images, IsEmpty());
  EXPECT_THAT(diff(state, state), IsEmpty());
  EXPECT_THAT(diff(before, state), Contains("image " + reference + ": only in the right"));
}

TEST_F(PullTest, StateDiffNamesLabelsLeasesAndIngests) {
  const auto image = ImageBuilder().layer({tar::file("a", "1")}).build();
  const auto reference = pull(registry.store(image, "tests/diff:1"));
  const auto before = read_state(containerd);
  containerd.ctr_ok({"images", "label", reference, "colour=green"});
  containerd.ctr_ok({"content", "label", image.config_digest, "colour=green"});
  containerd.ctr_ok({"snapshots", "prepare", "busy", image.top_chain_id()});
  containerd.ctr_ok({"leases", "create", "--id", "mine"});
  const auto lines = diff(before, read_state(containerd));
  EXPECT_THAT(lines,
              UnorderedElementsAre("image " + reference + ": label colour: (none) != \"green\"",
                                   "content " + image.config_digest + ": label colour: (none) != \"green\"",
                                   "snapshot busy: only in the right", "lease mine: only in the right"));
}

TEST_F(PullTest, GarbageCollectionRemovesWhatNothingRefersTo) {
  const auto image = ImageBuilder().layer({tar::file("a", "1")}).build();
  const auto reference = pull(registry.store(image, "tests/garbage:1"));
  collect_garbage(containerd);
  EXPECT_EQ(read_state(containerd).content.size(), 3U);
  containerd.ctr_ok({"images", "remove", reference});
  collect_garbage(containerd);
  const auto state = read_state(containerd);
  EXPECT_THAT(state.content, IsEmpty());
  EXPECT_THAT(state.snapshots, IsEmpty());
}

TEST_F(PullTest, ContainerdKeepsItsStateWhenKilled) {
  pull(registry.store(ImageBuilder().layer({tar::file("a", "1")}).build(), "tests/killed:1"));
  const auto before = read_state(containerd);
  containerd.kill();
  EXPECT_NE(containerd.ctr({"images", "list"}).exit_code, 0);
  containerd.start();
  EXPECT_THAT(diff(before, read_state(containerd)), IsEmpty());
  containerd.restart();
  EXPECT_THAT(diff(before, read_state(containerd)), IsEmpty());
}

TEST_F(PullTest, MountedImagesShowWhiteoutsOwnersAndDevices) {
  auto lower = tar::one_of_each();
  lower.push_back(tar::directory("opaque"));
  lower.push_back(tar::file("opaque/hidden", "x"));
  const auto image = ImageBuilder()
                         .layer(lower)
                         .layer({tar::whiteout("bin/fine"), tar::directory("opaque"), tar::opaque("opaque"),
                                 tar::file("opaque/shown", "y")})
                         .build();
  const auto reference = pull(registry.store(image, "tests/varied:1"));
  const auto tree = read_image_tree(containerd, "overlayfs", reference);
  EXPECT_FALSE(tree.contains("bin/fine"));
  EXPECT_FALSE(tree.contains("opaque/hidden"));
  EXPECT_TRUE(tree.contains("opaque/shown"));
  EXPECT_EQ(tree.at("bin/su").mode, 04755U);
  EXPECT_EQ(tree.at("bin/su").linked_to, "bin/also");
  EXPECT_EQ(tree.at("bin/old").mtime_ns, 0) << "containerd knows no time before 1970";
  EXPECT_EQ(tree.at("bin/null").device, makedev(1, 3));
  EXPECT_EQ(tree.at("bin/attributes").xattrs.at("user.colour"), std::string("g\0een", 5));
  EXPECT_EQ(read_state(containerd).snapshots.size(), 2U) << "the view is gone again";
}

}  // namespace
}  // namespace lazypull::test
