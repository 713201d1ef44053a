// Finding layers in shared storages: whatever is wrong with a storage, the layer is simply not there.

#include "snapshot/remote/remote_layers.hpp"

#include "engine/error.hpp"
#include "snapshot/remote/layer_record.hpp"
#include "snapshot/remote/layer_storage.hpp"
#include "tests/support/process.hpp"
#include "tests/support/published_layer.hpp"
#include "tests/support/store_fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <future>
#include <mutex>
#include <string>
#include <unistd.h>
#include <vector>

namespace lazypull::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr milliseconds for_ever = std::chrono::hours(24);

class Finding : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(::geteuid(), 0U) << "these tests need root"; }

  RemoteLayersOptions options(std::vector<fs::path> storages) {
    RemoteLayersOptions made;
    made.storages = std::move(storages);
    made.mounts = folder / "mounts";
    made.patience = for_ever;
    made.warn = [this](const std::string& text) {
      const std::lock_guard lock(mutex);
      warnings.push_back(text);
    };
    return made;
  }

  RemoteLayer layer_in(const std::string& storage, const std::string& blob = "blob") {
    return publish_layer(folder / storage, blob, LayerFormat::directory);
  }

  bool finds(const RemoteLayer& layer) {
    RemoteLayers layers(options({folder / "a"}));
    return layers.find(layer.record.digest).has_value();
  }

  TempDir folder{"layers"};
  std::mutex mutex;
  std::vector<std::string> warnings;
};

TEST_F(Finding, ALayerIsFoundByItsDigest) {
  const auto layer = layer_in("a");
  RemoteLayers layers(options({folder / "a"}));
  const auto found = layers.find(layer.record.digest);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->record, layer.record);
  EXPECT_EQ(found->data, layer.data);
  EXPECT_THAT(warnings, IsEmpty());
}

TEST_F(Finding, WhatNoStorageHasIsNotThere) {
  layer_in("a");
  RemoteLayers layers(options({folder / "a"}));
  EXPECT_FALSE(layers.find(Digest::sha256_of("other")));
  EXPECT_FALSE(layers.find(Digest()));
  EXPECT_THAT(warnings, IsEmpty());
}

TEST_F(Finding, StoragesAreAskedInTheirOrder) {
  const auto second = layer_in("b");
  RemoteLayers layers(options({folder / "a", folder / "b"}));
  EXPECT_EQ(layers.find(second.record.digest)->data, second.data);
  const auto first = layer_in("a");
  EXPECT_EQ(layers.find(first.record.digest)->data, first.data);
}

TEST_F(Finding, AStorageThatIsMissingIsToldOnceUntilItIsBack) {
  RemoteLayers layers(options({folder / "a"}));
  const auto digest = Digest::sha256_of("blob");
  EXPECT_FALSE(layers.find(digest));
  EXPECT_FALSE(layers.find(digest));
  EXPECT_THAT(warnings, ElementsAre(HasSubstr((folder / "a").string())));
  layer_in("a");
  EXPECT_TRUE(layers.find(digest));
  fs::remove_all(folder / "a");
  EXPECT_FALSE(layers.find(digest));
  EXPECT_EQ(warnings.size(), 2U);
}

TEST_F(Finding, ABadRecordIsNotFollowedAndTold) {
  const auto layer = layer_in("a");
  write_file(layer.data.parent_path() / "layer.json", "{}");
  EXPECT_FALSE(finds(layer));
  EXPECT_THAT(warnings, ElementsAre(HasSubstr("layer.json")));
}

TEST_F(Finding, TheNextStorageMakesUpForABadRecord) {
  const auto bad = layer_in("a");
  write_file(bad.data.parent_path() / "layer.json", "{}");
  const auto good = layer_in("b");
  RemoteLayers layers(options({folder / "a", folder / "b"}));
  EXPECT_EQ(layers.find(good.record.digest)->data, good.data);
}

TEST_F(Finding, ARecordOfAnotherLayerIsNotSound) {
  const auto layer = layer_in("a");
  const auto other = layer_in("a", "other");
  fs::copy_file(other.data.parent_path() / "layer.json", layer.data.parent_path() / "layer.json",
                fs::copy_options::overwrite_existing);
  EXPECT_FALSE(finds(layer));
}

TEST_F(Finding, ARecordIsARegularFileAndNothingElse) {
  const auto layer = layer_in("a");
  const auto record = layer.data.parent_path() / "layer.json";
  fs::rename(record, folder / "moved.json");
  EXPECT_FALSE(finds(layer)) << "missing";
  fs::create_symlink(folder / "moved.json", record);
  EXPECT_FALSE(finds(layer)) << "symbolic link";
  fs::remove(record);
  ASSERT_EQ(::mkfifo(record.c_str(), 0600), 0);
  EXPECT_FALSE(finds(layer)) << "FIFO";
  fs::remove(record);
  fs::create_directory(record);
  EXPECT_FALSE(finds(layer)) << "directory";
  fs::remove(record);
  write_file(record, std::string(max_layer_record_bytes + 1, ' '));
  EXPECT_FALSE(finds(layer)) << "too long";
  fs::remove(record);
  fs::rename(folder / "moved.json", record);
  EXPECT_TRUE(finds(layer)) << warnings.back();
}

TEST_F(Finding, ADirectoryLayerNeedsItsDirectory) {
  const auto layer = layer_in("a");
  fs::rename(layer.data, folder / "moved");
  EXPECT_FALSE(finds(layer)) << "missing";
  fs::create_symlink(folder / "moved", layer.data);
  EXPECT_FALSE(finds(layer)) << "symbolic link";
  fs::remove(layer.data);
  write_file(layer.data, "file");
  EXPECT_FALSE(finds(layer)) << "file";
}

TEST_F(Finding, AFolderOfTheStorageThatIsALinkIsNotFollowed) {
  const auto layer = layer_in("a");
  const auto place = layer.data.parent_path();
  fs::rename(place, folder / "moved");
  fs::create_directory_symlink(folder / "moved", place);
  EXPECT_FALSE(finds(layer));
}

TEST_F(Finding, AnImageLayerNeedsAFileOfTheRecordedSize) {
  const auto layer = publish_layer(folder / "a", "blob", LayerFormat::erofs);
  EXPECT_TRUE(finds(layer));
  fs::resize_file(layer.data, layer.record.image_size - 1);
  EXPECT_FALSE(finds(layer)) << "truncated";
  fs::resize_file(layer.data, layer.record.image_size + 1);
  EXPECT_FALSE(finds(layer)) << "longer";
  fs::remove(layer.data);
  EXPECT_FALSE(finds(layer)) << "missing";
  fs::create_directory(layer.data);
  EXPECT_FALSE(finds(layer)) << "directory";
}

TEST_F(Finding, AttributesThatTheStorageDoesNotShowMakeTheLayerUseless) {
  const auto opaque = [](const fs::path& tree) {
    fs::create_directories(tree / "usr");
    ASSERT_EQ(::setxattr((tree / "usr").c_str(), "trusted.overlay.opaque", "y", 1, 0), 0);
  };
  const auto layer = publish_layer(folder / "a", "blob", LayerFormat::directory, opaque);
  EXPECT_TRUE(finds(layer));
  ASSERT_EQ(::removexattr((layer.data / "usr").c_str(), "trusted.overlay.opaque"), 0);
  EXPECT_FALSE(finds(layer));
  EXPECT_THAT(warnings, ElementsAre(HasSubstr("trusted.overlay.opaque of usr")));
}

TEST_F(Finding, AttachingADirectoryGivesTheDirectory) {
  const auto layer = layer_in("a");
  RemoteLayers layers(options({folder / "a"}));
  EXPECT_EQ(layers.attach(layer), layer.data);
  EXPECT_THAT(layers.attached(), IsEmpty());
  layers.detach(layer.record.digest);
  fs::remove_all(layer.data);
  EXPECT_EQ(failure_of([&] { layers.attach(layer); }), Errc::not_found);
}

TEST_F(Finding, ALayerOfAStorageThatIsNotUsedIsNotAttached) {
  const auto layer = layer_in("a");
  RemoteLayers layers(options({folder / "b"}));
  EXPECT_EQ(failure_of([&] { layers.attach(layer); }), Errc::not_found);
}

class Hanging : public Finding {
 protected:
  RemoteLayersOptions impatient(std::vector<fs::path> storages, milliseconds pause) {
    auto made = options(std::move(storages));
    made.patience = milliseconds(30);
    made.pause = pause;
    return made;
  }
};

TEST_F(Hanging, AStorageIsGivenUpAndTheNextOneAsked) {
  layer_in("a");
  const auto second = layer_in("b");
  const HangingMount hanging(folder / "a");
  RemoteLayers layers(impatient({folder / "a", folder / "b"}, for_ever));
  for (int i = 0; i < 3; ++i) {
    const auto found = layers.find(second.record.digest);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->data, second.data);
  }
  EXPECT_THAT(warnings, ElementsAre(HasSubstr((folder / "a").string() + " did not answer")));
}

std::size_t threads_of_this_process() {
  return entries_in("/proc/self/task");
}

TEST_F(Hanging, ItHoldsOneThreadHoweverManyAsk) {
  layer_in("a");
  const HangingMount hanging(folder / "a");
  const auto before = threads_of_this_process();
  RemoteLayers layers(impatient({folder / "a"}, milliseconds(0)));
  std::vector<std::future<bool>> askers;
  for (int i = 0; i < 8; ++i) {
    askers.push_back(std::async(std::launch::async, [&] {
      bool found = false;
      for (int j = 0; j < 3; ++j) found = found || layers.find(Digest::sha256_of("blob")).has_value();
      return found;
    }));
  }
  for (auto& asker : askers) EXPECT_FALSE(asker.get());
  wait_until([&] { return threads_of_this_process() <= before + 1; }, "the askers' threads to end");
}

TEST_F(Hanging, OnceItsThreadIsBackAStorageIsUsedAgain) {
  const auto layer = layer_in("a");
  HangingMount hanging(folder / "a");
  RemoteLayers layers(impatient({folder / "a"}, milliseconds(0)));
  EXPECT_FALSE(layers.find(layer.record.digest));
  hanging.revive();
  wait_until([&] { return layers.find(layer.record.digest).has_value(); }, "the storage to answer");
}

TEST_F(Hanging, ItIsLeftAloneUntilThePauseIsOver) {
  const auto layer = layer_in("a");
  HangingMount hanging(folder / "a");
  RemoteLayers layers(impatient({folder / "a"}, for_ever));
  EXPECT_FALSE(layers.find(layer.record.digest));
  hanging.revive();
  EXPECT_FALSE(layers.find(layer.record.digest));
}

TEST_F(Hanging, AttachingSaysSo) {
  const auto directory = layer_in("a");
  const auto image = publish_layer(folder / "a", "image", LayerFormat::erofs);
  const HangingMount hanging(folder / "a");
  for (const auto& layer : {directory, image}) {
    RemoteLayers layers(impatient({folder / "a"}, for_ever));
    EXPECT_EQ(failure_of([&] { layers.attach(layer); }), Errc::unavailable);
  }
  EXPECT_THAT(entries_in(folder / "mounts"), 0U);
}

TEST_F(Hanging, WhatIsMountedIsAttachedWithoutTheStorage) {
  const auto image = publish_layer(folder / "a", "image", LayerFormat::erofs);
  RemoteLayers layers(impatient({folder / "a"}, for_ever));
  const auto place = layers.attach(image);
  {
    const HangingMount hanging(folder / "a");
    EXPECT_EQ(layers.attach(image), place);
  }
  layers.detach(image.record.digest);
}

}  // namespace
}  // namespace lazypull::test
