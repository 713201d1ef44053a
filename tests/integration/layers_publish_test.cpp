// `lazypull layers publish` of images that were pulled from a real registry, into the embedded store and into
// a real containerd. LAZYPULL_KILLS sets at how many points a publisher is killed, LAZYPULL_SEED at which.

#include "snapshot/remote/layer_storage.hpp"
#include "snapshot/remote/remote_layers.hpp"
#include "tests/integration/support/embedded.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/lazypull.hpp"
#include "tests/integration/support/push.hpp"
#include "tests/integration/support/registry.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <chrono>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace lazypull::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::microseconds;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using Clock = std::chrono::steady_clock;

/// Set-uid files, devices, attributes, hard links, odd times, whiteouts, opaque folders, and a folder
/// ("a/unnamed") that the last layer does not name.
ImageBuilder varied() {
  ImageBuilder builder;
  builder.layer(busybox_files());
  builder.layer(
      {tar::directory("a"), tar::file("a/gone", "1"), tar::directory("a/unnamed").mode(01777).owner(7, 8),
       tar::directory("b"), tar::file("b/hidden", "3"), tar::fifo("pipe"),
       tar::char_device("null", 1, 3).mode(0666), tar::symlink("b/link", "hidden"),
       tar::file("su", "#!").mode(04755).owner(1000, 2000).mtime(1'650'000'000, 123'456'789),
       tar::file("ping", "elf")
           .xattr("security.capability", std::string("\1\0\0\2\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20)),
       tar::file("noise", tar::noise(300'000))});
  builder.layer({tar::directory("a"), tar::whiteout("a/gone"), tar::directory("b"), tar::opaque("b"),
                 tar::file("b/new", "4"), tar::hard_link("b/also-new", "b/new")});
  builder.layer({tar::file("a/unnamed/mine", "5")});
  return builder;
}

/// What an image format cannot keep, and what is the time of unpacking: parts of a second, and the times of
/// the root, of whiteouts, and of the folders that no entry of the last layer names.
TreeManifest normal(TreeManifest tree, bool last_layer) {
  for (auto& [path, entry] : tree) {
    entry.mtime_ns -= entry.mtime_ns % 1'000'000'000;
    const bool whiteout = entry.type == 'c' && entry.device == 0;
    const bool made_now = path.empty() || whiteout || (last_layer && entry.type == 'd');
    if (made_now) entry.mtime_ns = 0;
  }
  return tree;
}

std::vector<std::string> statuses(const PullOutcome& outcome) {
  std::vector<std::string> all;
  for (const auto& layer : outcome.json.at("layers").as_array())
    all.emplace_back(layer.at("status").as_string());
  return all;
}

class Publish : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    registry = new Registry;
    image = new Image(varied().build());
    reference = new std::string(push(*image, *registry, "varied:1"));
  }
  static void TearDownTestSuite() {
    delete reference;
    delete image;
    delete registry;
  }

  RemoteLayers layers() {
    RemoteLayersOptions options;
    options.storages = {storage};
    options.mounts = folder / "mounts";
    return RemoteLayers(std::move(options));
  }
  Argv publish(const std::string& what, const std::string& format = "dir") const {
    return {"layers", "publish", what, "--to", storage, "--format", format};
  }
  fs::path attach(RemoteLayers& from, const Layer& layer) {
    const auto found = from.find(Digest::parse(layer.digest));
    if (!found) throw std::runtime_error(layer.digest + " is not in the storage");
    return from.attach(*found);
  }
  std::size_t leftovers() const {
    std::size_t count = 0;
    for (const auto& entry : fs::directory_iterator(storage / "publishing")) {
      if (entry.path().filename() != "storage-lock") ++count;
    }
    return count;
  }

  static Registry* registry;
  static Image* image;
  static std::string* reference;
  TempDir folder{"storage"};
  fs::path storage = folder / "layers";
  StoreLazypull lazypull;
};
Registry* Publish::registry = nullptr;
Image* Publish::image = nullptr;
std::string* Publish::reference = nullptr;

TEST_F(Publish, EachLayerHasTheFilesThatTheStoresOwnSnapshotHas) {
  lazypull.run_ok({"pull", *reference});
  const auto store = lazypull.open();
  auto own = store->snapshots().layers(image->top_chain_id());
  std::ranges::reverse(own);
  ASSERT_EQ(own.size(), image->layers.size());
  for (const std::string format : {"dir", "erofs", "squashfs"}) {
    SCOPED_TRACE(format);
    fs::remove_all(storage);
    EXPECT_THAT(statuses(lazypull.run_ok(publish(*reference, format))), Each("published"));
    EXPECT_EQ(leftovers(), 0U);
    auto published = layers();
    for (std::size_t i = 0; i < own.size(); ++i) {
      const bool last = i + 1 == own.size();
      const auto place = attach(published, image->layers[i]);
      EXPECT_THAT(diff(normal(read_tree(own[i], true), last), normal(read_tree(place, true), last)),
                  IsEmpty())
          << "layer " << i;
    }
    for (const auto& layer : published.attached()) published.detach(layer);
    EXPECT_THAT(lazypull.run_ok({"layers", "verify", storage}).json.at("layers").as_array(), SizeIs(4));
  }
}

TEST_F(Publish, ASecondTimeNothingIsDone) {
  lazypull.run_ok({"pull", *reference});
  lazypull.run_ok(publish(*reference, "erofs"));
  EXPECT_THAT(statuses(lazypull.run_ok(publish(*reference, "erofs"))), Each("present"));
  EXPECT_THAT(statuses(lazypull.run_ok(publish(*reference, "dir"))), Each("present"));
}

TEST_F(Publish, PeopleGetALineForEachLayer) {
  lazypull.run_ok({"pull", *reference});
  auto words = publish(*reference, "squashfs");
  words.insert(words.end(), {"--layers", "2"});
  const auto text = lazypull.text(words);
  EXPECT_EQ(std::ranges::count(text, '\n'), 2);
  EXPECT_THAT(text, HasSubstr(image->layers[0].digest + " published squashfs"));
  EXPECT_THAT(text, HasSubstr(image->layers[1].digest + " published squashfs"));
  EXPECT_THAT(list_layers(storage), SizeIs(2));
  EXPECT_THAT(lazypull.text({"layers", "ls", storage}), HasSubstr(image->layers[0].digest + " squashfs"));
}

TEST_F(Publish, ThePlatformOfAnIndexIsChosen) {
  const auto arm = ImageBuilder().layer({tar::file("arm", "1")}).platform("linux/arm64").build();
  const auto amd = ImageBuilder().layer({tar::file("amd", "1")}).build();
  const auto index = push(make_index({arm, amd}), *registry, "index:1");
  lazypull.run_ok({"pull", index, "--platform", "linux/arm64"});
  auto words = publish(index);
  words.insert(words.end(), {"--platform", "linux/arm64"});
  const auto outcome = lazypull.run_ok(words);
  EXPECT_EQ(outcome.json.at("layers").at(0).at("digest").as_string(), arm.layers[0].digest);
  words.back() = "linux/amd64";
  const auto other = lazypull.run(words);
  EXPECT_EQ(other.process.exit_code, 3);
  EXPECT_EQ(other.error_code(), "platform_not_found");
}

TEST_F(Publish, AnImageThatIsNotThereIsNotFound) {
  const auto outcome = lazypull.run(publish("registry.example.com/none:1"));
  EXPECT_EQ(outcome.process.exit_code, 3);
  EXPECT_EQ(outcome.error_code(), "not_found");
  EXPECT_FALSE(fs::exists(storage));
}

TEST_F(Publish, LayersThatWereDiscardedAreToBeFetchedFirst) {
  lazypull.run_ok({"pull", *reference, "--discard-unpacked-layers"});
  lazypull.open()->collect_garbage();
  const auto outcome = lazypull.run(publish(*reference));
  EXPECT_EQ(outcome.process.exit_code, 3);
  EXPECT_THAT(outcome.error_message(), HasSubstr(image->layers[0].digest));
  EXPECT_THAT(outcome.error_message(), HasSubstr("lazypull fetch"));
  lazypull.run_ok({"fetch", *reference});
  EXPECT_THAT(statuses(lazypull.run_ok(publish(*reference))), Each("published"));
}

TEST_F(Publish, TwoPublishersAtOnce) {
  lazypull.run_ok({"pull", *reference});
  auto first = lazypull.start(publish(*reference, "erofs"));
  auto second = lazypull.start(publish(*reference, "erofs"));
  EXPECT_EQ(first.wait(std::chrono::seconds(60)), 0) << first.err();
  EXPECT_EQ(second.wait(std::chrono::seconds(60)), 0) << second.err();
  EXPECT_EQ(leftovers(), 0U);
  EXPECT_EQ(lazypull.run({"layers", "verify", storage}).process.exit_code, 0);
}

TEST_F(Publish, AnInterruptedPublisherCleansUp) {
  const auto large = ImageBuilder().layer({tar::file("noise", tar::noise(30'000'000))}).build();
  const auto name = registry->store(large, "interrupted:1");
  lazypull.run_ok({"fetch", name});
  auto process = lazypull.start(publish(name, "erofs"));
  wait_until([&] { return fs::exists(storage / "publishing") && leftovers() > 0; }, "the work to begin");
  process.signal(SIGINT);
  EXPECT_EQ(process.wait(std::chrono::seconds(30)), 130);
  EXPECT_EQ(leftovers(), 0U);
  EXPECT_THAT(list_layers(storage), IsEmpty());
}

int number_from(const char* variable, int otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::atoi(text);
}

TEST_F(Publish, AKilledPublisherLeavesNothingThatCouldBeSeen) {
  ImageBuilder builder;
  for (std::uint64_t i = 0; i < 4; ++i) {
    std::vector<tar::Entry> files;
    for (int j = 0; j < 50; ++j) files.push_back(tar::file(std::to_string(i) + "/" + std::to_string(j), "x"));
    files.push_back(tar::file("noise" + std::to_string(i), tar::noise(300'000, i)));
    builder.layer(files);
  }
  const auto name = registry->store(builder.build(), "killed:1");
  lazypull.run_ok({"fetch", name});
  std::mt19937 random(static_cast<unsigned>(number_from("LAZYPULL_SEED", 1)));
  for (const std::string format : {"dir", "erofs", "squashfs"}) {
    fs::remove_all(storage);
    const auto start = Clock::now();
    lazypull.run_ok(publish(name, format));
    const auto whole = std::chrono::duration_cast<microseconds>(Clock::now() - start);
    for (int i = 0; i < number_from("LAZYPULL_KILLS", 6); ++i) {
      SCOPED_TRACE(format + ", point " + std::to_string(i));
      fs::remove_all(storage);
      auto process = lazypull.start(publish(name, format));
      std::uniform_int_distribution<microseconds::rep> point(0, whole.count());
      std::this_thread::sleep_for(microseconds(point(random)));
      process.signal(SIGKILL);
      ASSERT_TRUE(process.wait(std::chrono::seconds(30)));
      // Whatever is there is whole.
      if (fs::exists(storage / "publishing")) {
        const auto verified = lazypull.run({"layers", "verify", storage});
        ASSERT_EQ(verified.process.exit_code, 0) << verified.process.out;
      }
      process.stop();  // a program that it has started may live on
      ASSERT_THAT(statuses(lazypull.run_ok(publish(name, format))), SizeIs(4));
      ASSERT_THAT(list_layers(storage), SizeIs(4));
      ASSERT_EQ(lazypull.run({"layers", "verify", storage}).process.exit_code, 0);
    }
  }
}

TEST_F(Publish, FromContainerdTheMergedTreeIsContainerds) {
  Containerd containerd;
  Lazypull with_containerd(containerd, "k8s.io");
  with_containerd.run_ok({"pull", *reference});
  const auto tree = read_image_tree(containerd, "overlayfs", *reference, "k8s.io");
  for (const std::string format : {"dir", "erofs", "squashfs"}) {
    SCOPED_TRACE(format);
    fs::remove_all(storage);
    EXPECT_THAT(statuses(with_containerd.run_ok(publish(*reference, format))), Each("published"));
    auto published = layers();
    std::string lower;
    for (const auto& layer : image->layers) {
      lower.insert(0, attach(published, layer).string() + (lower.empty() ? "" : ":"));
    }
    const TempDir merged("merged");
    ASSERT_EQ(::mount("overlay", merged.path().c_str(), "overlay", MS_RDONLY, ("lowerdir=" + lower).c_str()),
              0);
    EXPECT_THAT(diff(normal(tree, true), normal(read_tree(merged.path()), true)), IsEmpty());
    ASSERT_EQ(::umount2(merged.path().c_str(), MNT_DETACH), 0);
    for (const auto& layer : published.attached()) published.detach(layer);
  }
}

TEST_F(Publish, WithoutContainerdItFailsAsPullsDo) {
  auto words = publish(*reference);
  words.insert(words.begin(), {LAZYPULL_BINARY, "--address", folder / "none.sock"});
  const auto result = run(words, {.env = {{"LAZYPULL_STORE", ""}}});
  EXPECT_EQ(result.exit_code, 7);
  EXPECT_THAT(result.err, HasSubstr("none.sock"));
}

}  // namespace
}  // namespace lazypull::test
