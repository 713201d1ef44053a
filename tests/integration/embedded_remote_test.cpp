// Pulls into the embedded store with shared storage beside it: published layers are used from there.

#include "engine/chain_id.hpp"
#include "tests/integration/support/embedded.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/push.hpp"
#include "tests/integration/support/registry.hpp"
#include "tests/support/stored_image.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <fstream>
#include <sstream>

namespace lazypull::test {
namespace {

namespace fs = std::filesystem;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;
using testing::UnorderedElementsAre;

/// What is mounted below the folder.
std::vector<std::string> mounts_below(const fs::path& folder) {
  std::ifstream table("/proc/self/mountinfo");
  std::vector<std::string> targets;
  for (std::string line; std::getline(table, line);) {
    std::istringstream fields(line);
    std::string target;
    for (int i = 0; i < 5; ++i) fields >> target;
    if (target.starts_with(folder.string() + "/")) targets.push_back(target);
  }
  return targets;
}

class EmbeddedRemote : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { registry = new Registry; }
  static void TearDownTestSuite() { delete registry; }
  void TearDown() override {
    for (const auto& below : {lazypull.directory(), directory()}) {
      for (const auto& target : mounts_below(below)) ::umount2(target.c_str(), MNT_DETACH);
    }
  }

  fs::path directory() const { return folder.path(); }
  std::string storage() const { return folder / "storage"; }

  /// The image's lowest layers, in the storage; as many as it has if `count` is 0.
  void publish(const std::string& reference, std::size_t count = 0, const std::string& format = "dir") {
    publisher.run_ok({"pull", reference});
    Argv arguments{"layers", "publish", reference, "--to", storage(), "--format", format};
    if (count > 0) arguments.insert(arguments.end(), {"--layers", std::to_string(count)});
    publisher.text(std::move(arguments));
    registry->reset_log();
  }
  PullOutcome pull(const std::string& reference, const Argv& more = {}) {
    Argv arguments{"pull", reference, "--remote", storage()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return lazypull.run_ok(std::move(arguments));
  }
  void expect_same_tree(const Image& image, bool whole_seconds = false) {
    EXPECT_THAT(diff(read_snapshot_tree(*publisher.open(), image.top_chain_id()),
                     read_snapshot_tree(*lazypull.open(), image.top_chain_id()),
                     {.ignore_mtime = whole_seconds, .ignore_directory_mtime = true, .ignore_root = true}),
                IsEmpty());
    EXPECT_THAT(faults(*lazypull.open()), IsEmpty());
  }

  static Registry* registry;
  TempDir folder{"remote"};
  StoreLazypull publisher;
  StoreLazypull lazypull;
};
Registry* EmbeddedRemote::registry = nullptr;

/// Eight layers; the upper ones change what the lower ones have.
ImageBuilder eight_layers() {
  ImageBuilder builder;
  builder.layer(busybox_files());
  builder.layer({tar::directory("a"), tar::file("a/gone", "1"), tar::file("a/kept", "2"),
                 tar::directory("deep").mode(0750).owner(7, 8), tar::file("deep/old", "old")});
  builder.layer({tar::directory("b"), tar::file("b/hidden", "3")});
  builder.layer(tar::one_of_each());
  builder.layer({tar::directory("a"), tar::whiteout("a/gone"), tar::directory("b"), tar::opaque("b"),
                 tar::file("b/new", "4"), tar::hard_link("b/also-new", "b/new")});
  builder.layer({tar::file("su", "#!").mode(04755).owner(1000, 2000).mtime(1'650'000'000, 123456789)});
  // Folders that no entry names take owner and mode from the remote layers below.
  builder.layer({tar::file("deep/new", "new"), tar::file("of-seven", "7")});
  builder.layer({tar::directory("a"), tar::whiteout("a/kept"), tar::file("of-eight", "8")});
  return builder;
}

struct Way {
  std::string name;
  std::string format;
  Argv flags;

  friend void PrintTo(const Way& way, std::ostream* out) { *out << way.name; }
};

class EveryWay : public EmbeddedRemote, public testing::WithParamInterface<Way> {};

TEST_P(EveryWay, OnlyTheTwoLayersThatAreNotPublishedAreDownloaded) {
  const auto image = eight_layers().build();
  const auto reference = push(image, *registry, "six-" + GetParam().format + ":1");
  publish(reference, 6, GetParam().format);
  const auto outcome = pull(reference, GetParam().flags);
  EXPECT_THAT(outcome.decisions(), ElementsAre("remote", "remote", "remote", "remote", "remote", "remote",
                                               "download", "download"));
  EXPECT_THAT(registry->fetched_blobs("lazypull"),
              UnorderedElementsAre(image.config_digest, image.layers[6].digest, image.layers[7].digest));
  expect_same_tree(image, GetParam().format == "squashfs");
}

TEST_P(EveryWay, NoLayerIsDownloadedIfAllArePublished) {
  const auto image = eight_layers().build();
  const auto reference = push(image, *registry, "all-" + GetParam().format + ":1");
  publish(reference, 0, GetParam().format);
  EXPECT_THAT(pull(reference, GetParam().flags).decisions(), Each(std::string("remote")));
  EXPECT_THAT(registry->fetched_blobs("lazypull"), ElementsAre(image.config_digest));
  expect_same_tree(image, GetParam().format == "squashfs");
  EXPECT_THAT(pull(reference).decisions(), Each(std::string("exists")));
}

INSTANTIATE_TEST_SUITE_P(Of, EveryWay,
                         testing::Values(Way{"DirectoriesToday", "dir", {}},
                                         Way{"Directories2019", "dir", {"--remote-snapshot"}},
                                         Way{"ErofsToday", "erofs", {}},
                                         Way{"Erofs2019", "erofs", {"--remote-snapshot"}},
                                         Way{"SquashfsToday", "squashfs", {}}),
                         [](const auto& way) { return way.param.name; });

TEST_F(EmbeddedRemote, APlanSaysWhatWouldBeUsedAndLeavesNothing) {
  const auto image = eight_layers().build();
  const auto reference = push(image, *registry, "plan:1");
  publish(reference, 6, "erofs");
  const auto outcome = lazypull.run_ok({"plan", reference, "--remote", storage()});
  EXPECT_THAT(outcome.decisions(), ElementsAre("remote", "remote", "remote", "remote", "remote", "remote",
                                               "download", "download"));
  EXPECT_THAT(lazypull.open()->snapshots().list(), IsEmpty());
  EXPECT_THAT(mounts_below(lazypull.directory()), IsEmpty());
}

TEST_F(EmbeddedRemote, LaterCommandsNeedNotBeToldOfTheStorage) {
  const auto image = eight_layers().build();
  const auto reference = push(image, *registry, "later:1");
  publish(reference, 6, "erofs");
  pull(reference);
  EXPECT_THAT(mounts_below(lazypull.directory()), SizeIs(6));
  // As after a boot.
  for (const auto& target : mounts_below(lazypull.directory())) ::umount2(target.c_str(), MNT_DETACH);
  const auto target = (folder / "mounted").string();
  lazypull.text({"mount", reference, target});
  EXPECT_EQ(read_file(fs::path(target) / "of-seven"), "7");
  EXPECT_EQ(read_file(fs::path(target) / "b/new"), "4");
  lazypull.text({"unmount", target});
  const auto copy = (folder / "copy").string();
  lazypull.text({"mount", "--copy", reference, copy});
  EXPECT_THAT(diff(read_snapshot_tree(*publisher.open(), image.top_chain_id()), read_tree(copy),
                   {.ignore_directory_mtime = true, .ignore_root = true}),
              IsEmpty());
  lazypull.text({"unmount", copy});
  lazypull.text({"images", "rm", reference});
  EXPECT_THAT(mounts_below(lazypull.directory()), IsEmpty());
  EXPECT_THAT(lazypull.open()->snapshots().list(), IsEmpty());
}

TEST_F(EmbeddedRemote, WhatAnotherImageUsesStaysMounted) {
  const auto base = push(ImageBuilder().layer(busybox_files()).build(), *registry, "base:1");
  const auto derived = push(ImageBuilder().layer(busybox_files()).layer({tar::file("mine", "m")}).build(),
                            *registry, "derived:1");
  publish(derived, 0, "erofs");
  pull(base);
  pull(derived);
  EXPECT_THAT(mounts_below(lazypull.directory()), SizeIs(2));
  lazypull.text({"images", "rm", derived});
  EXPECT_THAT(mounts_below(lazypull.directory()), SizeIs(1));
  const auto target = (folder / "mounted").string();
  lazypull.text({"mount", base, target});
  EXPECT_TRUE(fs::exists(fs::path(target) / "bin/sh"));
  lazypull.text({"unmount", target});
}

TEST_F(EmbeddedRemote, ALayerThatWasNotDownloadedCannotBeExportedUntilItIsFetched) {
  const auto reference = push(eight_layers().build(), *registry, "export:1");
  publish(reference, 6);
  pull(reference);
  const auto file = (folder / "archive.tar").string();
  const auto outcome = lazypull.run({"export", reference, file});
  EXPECT_EQ(outcome.process.exit_code, 3) << outcome.process.err;
  EXPECT_THAT(outcome.error_message(), HasSubstr("shared storage"));
  EXPECT_FALSE(fs::exists(file));
  lazypull.run_ok({"fetch", reference});
  lazypull.text({"export", reference, file});
  EXPECT_TRUE(fs::exists(file));
}

TEST_F(EmbeddedRemote, AStorageThatIsNotThereIsToldOfAndAllIsDownloaded) {
  const auto image = eight_layers().build();
  const auto reference = push(image, *registry, "gone:1");
  const auto outcome = lazypull.run_ok({"pull", reference, "--remote", storage()});
  EXPECT_THAT(outcome.decisions(), Each(std::string("download")));
  EXPECT_THAT(outcome.process.err, HasSubstr(storage()));
  EXPECT_THAT(faults(*lazypull.open()), IsEmpty());
}

TEST_F(EmbeddedRemote, AMountWhoseStorageHasGoneSaysWhichLayerAndWhere) {
  const auto image = eight_layers().build();
  const auto reference = push(image, *registry, "moved:1");
  publish(reference, 6);
  pull(reference);
  fs::rename(storage(), folder / "elsewhere");
  const auto outcome = lazypull.run({"mount", reference, folder / "mounted"});
  EXPECT_NE(outcome.process.exit_code, 0);
  EXPECT_THAT(outcome.error_message(), HasSubstr(image.layers[5].digest));
  EXPECT_THAT(outcome.error_message(), HasSubstr(storage()));
  EXPECT_THAT(faults(*lazypull.open()), IsEmpty());
}

TEST_F(EmbeddedRemote, TheEnvironmentNamesStoragesTooAndContainerdIsNotGivenThem) {
  const auto reference = push(eight_layers().build(), *registry, "environment:1");
  publish(reference, 6);
  ProcessOptions options;
  options.env["LAZYPULL_REMOTE"] = (folder / "none").string() + "," + storage();
  const auto outcome = lazypull.run_ok({"pull", reference}, std::move(options));
  EXPECT_THAT(outcome.decisions(), testing::Contains(std::string("remote")).Times(6));
  const auto refused =
      run({LAZYPULL_BINARY, "--address", "/nonexistent.sock", "pull", reference, "--remote", storage()});
  EXPECT_EQ(refused.exit_code, 2) << refused.err;
  EXPECT_THAT(refused.err, HasSubstr("--remote"));
}

TEST_F(EmbeddedRemote, WithoutRootDirectoriesAreUsedAndWhatCannotBeReadRightIsDownloaded) {
  const auto image = ImageBuilder()
                         .layer({tar::file("of-one", "1")})
                         .layer({tar::directory("b"), tar::file("b/hidden", "2")})
                         .layer({tar::directory("b"), tar::opaque("b"), tar::file("b/new", "3")})
                         .layer({tar::file("of-four", "4")})
                         .build();
  const auto reference = push(image, *registry, "user:1");
  publish(reference, 3);
  fs::permissions(directory(), fs::perms::all);
  // Layers are for root unless their owner opens them.
  for (const auto& layer : fs::directory_iterator(fs::path(storage()) / "sha256")) {
    fs::permissions(layer, fs::perms::others_read | fs::perms::others_exec, fs::perm_options::add);
  }
  const fs::path home = folder / "home";
  fs::create_directory(home);
  fs::permissions(home, fs::perms::all);
  const auto run_as_user = [&](const Argv& arguments) {
    Argv argv{"setpriv",        "--reuid",       "65534",   "--regid",     "65534",
              "--clear-groups", LAZYPULL_BINARY, "--store", home / "store"};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    ProcessOptions options;
    options.env["HOME"] = home;
    return run(argv, std::move(options));
  };
  const auto result = run_as_user({"pull", reference, "--remote", storage()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  // The third has an opaque directory, which its attribute shows to root only.
  EXPECT_THAT(registry->fetched_blobs("lazypull"),
              UnorderedElementsAre(image.config_digest, image.layers[2].digest, image.layers[3].digest));
  const auto mounted = run_as_user({"mount", reference, home / "copy"});
  ASSERT_EQ(mounted.exit_code, 0) << mounted.err;
  EXPECT_EQ(read_file(home / "copy/of-one"), "1");
  EXPECT_EQ(read_file(home / "copy/b/new"), "3");
  EXPECT_FALSE(fs::exists(home / "copy/b/hidden"));
  EXPECT_EQ(read_file(home / "copy/of-four"), "4");
}

TEST_F(EmbeddedRemote, OneHundredAndTwentyEightLayersAreMounted) {
  ImageBuilder builder;
  for (int i = 0; i < 128; ++i) builder.layer({tar::file("layer" + std::to_string(i), std::to_string(i))});
  const auto image = builder.build();
  const auto reference = registry->store(image, "many:1");
  publish(reference, 100, "erofs");
  const auto outcome = pull(reference);
  EXPECT_THAT(outcome.decisions(), testing::Contains(std::string("remote")).Times(100));
  const auto target = (folder / "mounted").string();
  lazypull.text({"mount", reference, target, "--rw"});
  for (int i = 0; i < 128; ++i) {
    EXPECT_EQ(read_file(fs::path(target) / ("layer" + std::to_string(i))), std::to_string(i));
  }
  write_file(fs::path(target) / "new", "written");
  lazypull.text({"unmount", target});
}

TEST_F(EmbeddedRemote, AsManyLayersAsOverlayfsTakesAreMounted) {
  const auto store = lazypull.open();
  // With long numbers for names.
  store->metadata().write([](Rows& rows) {
    rows.database.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('snapshots', 1000000)");
  });
  std::vector<StoredLayer> layers;
  for (std::size_t i = 0; i < max_lower_layers; ++i) {
    layers.push_back({.blob = "layer " + std::to_string(i), .fill = [i](const fs::path& place) {
                        write_file(place / std::to_string(i), std::to_string(i));
                      }});
  }
  record_image(*store, "registry.example.com/many:1", store_part(*store, layers).manifest);
  const auto target = (folder / "mounted").string();
  lazypull.text({"mount", "registry.example.com/many:1", target});
  for (std::size_t i = 0; i < max_lower_layers; ++i) {
    EXPECT_EQ(read_file(fs::path(target) / std::to_string(i)), std::to_string(i));
  }
  lazypull.text({"unmount", target});
}

}  // namespace
}  // namespace lazypull::test
