// Layers of a content store on their way into a storage.

#include "snapshot/remote/layer_publisher.hpp"

#include "engine/chain_id.hpp"
#include "engine/error.hpp"
#include "snapshot/remote/layer_staging.hpp"
#include "snapshot/remote/layer_storage.hpp"
#include "tests/support/coroutine.hpp"
#include "tests/support/raw_tar.hpp"
#include "tests/support/store_fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <cstdlib>
#include <fcntl.h>
#include <optional>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

namespace lazypull::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::IsEmpty;

class Publishing : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(::geteuid(), 0U) << "these tests need root"; }

  /// The archives, uncompressed, as the layers of an image in the content store.
  LayerChain chain_of(const std::vector<std::string>& archives) {
    LayerChain chain;
    for (const auto& archive : archives) {
      auto layer = descriptor_of_content(archive);
      layer.media_type = "application/vnd.oci.image.layer.v1.tar";
      add_content(*store, archive);
      chain.layers.push_back(layer);
      chain.diff_ids.push_back(Digest::sha256_of(archive));
    }
    chain.chain_ids = chain_ids(chain.diff_ids);
    return chain;
  }

  PublishOptions options(LayerFormat format) const {
    return {.storage = storage, .format = format, .work = {}};
  }

  std::vector<PublishedLayer> publish(const LayerChain& chain, const PublishOptions& with,
                                      std::size_t first = 0) {
    std::vector<PublishedLayer> published;
    asio::io_context home(1);
    const auto content = store->content_port();
    LayerPublisher publisher(home.get_executor(), *content, with);
    run_on(home, publish_all(publisher, chain, first, published));
    return published;
  }
  std::vector<PublishedLayer> publish(const LayerChain& chain, LayerFormat format = LayerFormat::directory,
                                      std::size_t first = 0) {
    return publish(chain, options(format), first);
  }

  static Awaitable<> publish_all(LayerPublisher& publisher, const LayerChain& chain, std::size_t first,
                                 std::vector<PublishedLayer>& published) {
    for (std::size_t i = first; i < chain.layers.size(); ++i) {
      auto layer = co_await publisher.publish(chain, i);
      published.push_back(std::move(layer));
    }
  }

  Error failure(const LayerChain& chain, LayerFormat format = LayerFormat::directory) {
    try {
      publish(chain, format);
    } catch (const Error& error) {
      return error;
    }
    return {Errc::internal, "it did not fail"};
  }

  fs::path files(const PublishedLayer& layer) const {
    return layer_folder(storage, layer.record.digest) / layer_data_name(layer.record.format);
  }

  void expect_no_leftovers() const {
    for (const auto& entry : fs::directory_iterator(publishing_folder(storage))) {
      EXPECT_EQ(entry.path().filename(), "storage-lock");
    }
  }

  TempDir folder{"publish"};
  fs::path storage = folder / "storage";
  std::shared_ptr<EmbeddedStore> store = EmbeddedStore::open(folder / "store", "default");
};

::mode_t mode_of(const fs::path& file) {
  struct ::stat status{};
  EXPECT_EQ(::lstat(file.c_str(), &status), 0) << file;
  return status.st_mode;
}

std::string one_file(const std::string& name = "file", const std::string& content = "content") {
  return raw_tar::file(name, content) + raw_tar::end();
}

TEST_F(Publishing, ADirectoryHasTheFilesAndTheRecord) {
  const auto chain = chain_of({one_file()});
  const auto published = publish(chain);
  ASSERT_EQ(published.size(), 1U);
  EXPECT_FALSE(published[0].already_there);
  const auto found = read_layer(storage, chain.layers[0].digest);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->record, published[0].record);
  EXPECT_EQ(found->record.diff_id, chain.diff_ids[0]);
  EXPECT_EQ(found->record.size, chain.layers[0].size);
  EXPECT_FALSE(found->record.below) << "right above any layers";
  EXPECT_EQ(read_file(found->data / "file"), "content");
  expect_no_leftovers();
}

TEST_F(Publishing, NobodyElseReachesUnpackedFilesAndAnybodyMayReadImages) {
  const auto directory = publish(chain_of({one_file("a")}));
  EXPECT_EQ(mode_of(files(directory[0]).parent_path()) & 07777U, 0700U);
  const auto image = publish(chain_of({one_file("b")}), LayerFormat::erofs);
  EXPECT_EQ(mode_of(files(image[0]).parent_path()) & 07777U, 0755U);
  EXPECT_EQ(mode_of(files(image[0])) & 07777U, 0644U);
}

TEST_F(Publishing, AnImageHasItsSizeAndDigestInTheRecord) {
  for (const auto format : {LayerFormat::erofs, LayerFormat::squashfs}) {
    const auto published = publish(chain_of({one_file(layer_data_name(format))}), format);
    const auto& record = published.at(0).record;
    EXPECT_EQ(record.format, format);
    const auto facts = facts_of_file(files(published[0]));
    EXPECT_EQ(record.image_size, facts.size);
    EXPECT_EQ(record.image_digest, facts.digest);
    EXPECT_EQ(facts.digest, Digest::sha256_of(read_file(files(published[0]))));
  }
  expect_no_leftovers();
}

TEST_F(Publishing, ImagesCanBeUnpackedElsewhere) {
  auto with = options(LayerFormat::erofs);
  with.work = folder / "work";
  EXPECT_FALSE(publish(chain_of({one_file()}), with).at(0).already_there);
  EXPECT_EQ(entries_in(folder / "work"), 0U);
  expect_no_leftovers();
}

TEST_F(Publishing, ASecondTimeNothingHappensWhateverTheFormat) {
  const auto chain = chain_of({one_file()});
  const auto first = publish(chain);
  struct ::stat before{};
  ASSERT_EQ(::stat(files(first[0]).c_str(), &before), 0);
  for (const auto format : {LayerFormat::directory, LayerFormat::erofs}) {
    const auto again = publish(chain, format);
    EXPECT_TRUE(again.at(0).already_there);
    EXPECT_EQ(again.at(0).record, first[0].record);
  }
  struct ::stat after{};
  ASSERT_EQ(::stat(files(first[0]).c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
}

TEST_F(Publishing, WhatIsNotSoundIsMadeAnew) {
  const auto chain = chain_of({one_file()});
  const auto image = files(publish(chain, LayerFormat::erofs).at(0));
  write_file(image.parent_path() / "layer.json", "{}");
  EXPECT_FALSE(publish(chain, LayerFormat::erofs).at(0).already_there);
  fs::resize_file(image, 1);
  EXPECT_FALSE(publish(chain, LayerFormat::erofs).at(0).already_there);
  EXPECT_TRUE(publish(chain, LayerFormat::erofs).at(0).already_there);
  expect_no_leftovers();
}

TEST_F(Publishing, ARecordOfALaterVersionIsNotTouched) {
  const auto chain = chain_of({one_file()});
  const auto record = files(publish(chain).at(0)).parent_path() / "layer.json";
  write_file(record, "{\"version\":2}");
  EXPECT_EQ(failure(chain).code(), Errc::unsupported);
  EXPECT_EQ(read_file(record), "{\"version\":2}");
}

TEST_F(Publishing, WhiteoutsAndOpaqueDirectoriesTakeOverlayfssForm) {
  const auto upper = raw_tar::file(".wh.gone", "") + raw_tar::directory("dir") +
                     raw_tar::file("dir/.wh..wh..opq", "") + raw_tar::end();
  const auto published = publish(chain_of({one_file("gone"), upper}));
  struct ::stat status{};
  ASSERT_EQ(::lstat((files(published[1]) / "gone").c_str(), &status), 0);
  EXPECT_TRUE(S_ISCHR(status.st_mode) && status.st_rdev == 0);
  EXPECT_EQ(::getxattr((files(published[1]) / "dir").c_str(), "trusted.overlay.opaque", nullptr, 0), 1);
  EXPECT_THAT(published[1].record.attributes,
              testing::ElementsAre(LayerAttribute{.path = "dir", .name = "trusted.overlay.opaque"}));
  EXPECT_FALSE(published[1].record.below);
}

TEST_F(Publishing, TheLowestLayerHasNoWhiteoutsAndIsForThatPlaceOnly) {
  const auto archive = raw_tar::file(".wh.gone", "") + one_file();
  const auto published = publish(chain_of({archive}));
  EXPECT_FALSE(fs::exists(fs::symlink_status(files(published[0]) / "gone")));
  EXPECT_TRUE(fs::exists(files(published[0]) / "file"));
  EXPECT_EQ(published[0].record.below, Digest());
}

/// A folder with odd attributes below, and a layer that puts a file into it without naming it.
std::vector<std::string> leaves_folder_to_below() {
  return {
      raw_tar::entry({.name = "shared", .type = '5', .mode = "0001777", .uid = "0000012"}) + raw_tar::end(),
      one_file("between"), one_file("shared/mine")};
}

TEST_F(Publishing, AFolderThatNoEntryNamesIsAsItIsBelow) {
  for (const auto format : {LayerFormat::directory, LayerFormat::erofs}) {
    fs::remove_all(storage);
    const auto chain = chain_of(leaves_folder_to_below());
    const auto published = publish(chain, format);
    EXPECT_EQ(published[2].record.below, chain.chain_ids[1]);
    EXPECT_FALSE(published[1].record.below);
    if (format != LayerFormat::directory) continue;
    EXPECT_EQ(mode_of(files(published[2]) / "shared"), static_cast<::mode_t>(S_IFDIR | 01777));
    struct ::stat status{};
    ASSERT_EQ(::stat((files(published[2]) / "shared").c_str(), &status), 0);
    EXPECT_EQ(status.st_uid, 012U);
  }
}

TEST_F(Publishing, TheLayersBelowAreLookedIntoThoughTheyArePublishedAsImages) {
  const auto chain = chain_of(leaves_folder_to_below());
  auto below = chain;
  below.layers.pop_back();
  publish(below, LayerFormat::squashfs);
  const auto published = publish(chain, LayerFormat::directory, 2);
  EXPECT_EQ(mode_of(files(published.at(0)) / "shared"), static_cast<::mode_t>(S_IFDIR | 01777));
}

TEST_F(Publishing, TheSameLayerIsTheSameWheneverItIsUnpacked) {
  const auto archives = std::vector<std::string>{
      one_file("lowest"), raw_tar::file("unnamed/file", "") + raw_tar::file(".wh.gone", "") + raw_tar::end()};
  const auto chain = chain_of(archives);
  const auto first = publish(chain);
  const auto image = [&] {
    fs::remove_all(storage);
    return publish(chain, LayerFormat::erofs).at(1).record.image_digest;
  };
  const auto first_image = image();
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // file systems' times are coarse
  EXPECT_EQ(image(), first_image);
  fs::remove_all(storage);
  EXPECT_EQ(publish(chain).at(1).record, first[1].record);
}

TEST_F(Publishing, OtherFilesThanTheConfigSaysAreRefusedAndLeaveNothing) {
  auto chain = chain_of({one_file()});
  chain.diff_ids[0] = Digest::sha256_of("something else");
  const auto error = failure(chain);
  EXPECT_EQ(error.code(), Errc::digest_mismatch);
  EXPECT_THAT(error.message(), HasSubstr(chain.layers[0].digest.str()));
  EXPECT_THAT(list_layers(storage), IsEmpty());
  expect_no_leftovers();
}

TEST_F(Publishing, ABlobThatIsNoArchiveIsRefusedAndLeavesNothing) {
  EXPECT_NE(failure(chain_of({std::string(5000, 'q')})).message(), "it did not fail");
  EXPECT_THAT(list_layers(storage), IsEmpty());
  expect_no_leftovers();
}

TEST_F(Publishing, ABlobThatIsNotThereIsAnErrorThatSaysWhatToDo) {
  auto chain = chain_of({one_file()});
  store->content().remove(chain.layers[0].digest);
  const auto error = failure(chain);
  EXPECT_EQ(error.code(), Errc::not_found);
  EXPECT_THAT(error.message(), HasSubstr(chain.layers[0].digest.str()));
  EXPECT_THAT(error.message(), HasSubstr("lazypull fetch"));
}

TEST_F(Publishing, ABlobIsNotNeededForALayerThatIsThere) {
  auto chain = chain_of({one_file()});
  publish(chain);
  store->content().remove(chain.layers[0].digest);
  EXPECT_TRUE(publish(chain).at(0).already_there);
}

TEST_F(Publishing, WhatIsNoFileSystemLayerIsUnsupported) {
  auto chain = chain_of({one_file()});
  chain.layers[0].media_type = "application/vnd.in-toto+json";
  EXPECT_EQ(failure(chain).code(), Errc::unsupported);
}

TEST_F(Publishing, SquashfsRefusesAccessListsAndErofsKeepsThem) {
  const std::string list(
      "\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x02\0\x07\0\xe8\x03\0\0\x04\0\x05\0\xff\xff\xff\xff"
      "\x10\0\x07\0\xff\xff\xff\xff\x20\0\x05\0\xff\xff\xff\xff",
      44);
  const auto archive = raw_tar::pax({{"SCHILY.xattr.system.posix_acl_access", list}}) +
                       raw_tar::file("file", "x") + raw_tar::end();
  const auto chain = chain_of({archive});
  const auto error = failure(chain, LayerFormat::squashfs);
  EXPECT_EQ(error.code(), Errc::unsupported);
  EXPECT_THAT(error.message(), HasSubstr("file"));
  EXPECT_FALSE(publish(chain, LayerFormat::erofs).at(0).already_there);
}

TEST_F(Publishing, AProgramThatIsNotInstalledIsNamedWithItsPackage) {
  const std::string path = std::getenv("PATH");
  ASSERT_EQ(::setenv("PATH", folder.path().c_str(), 1), 0);
  const auto erofs = failure(chain_of({one_file()}), LayerFormat::erofs);
  const auto squashfs = failure(chain_of({one_file()}), LayerFormat::squashfs);
  ASSERT_EQ(::setenv("PATH", path.c_str(), 1), 0);
  EXPECT_EQ(erofs.code(), Errc::failed_precondition);
  EXPECT_THAT(erofs.message(), HasSubstr("erofs-utils"));
  EXPECT_THAT(squashfs.message(), HasSubstr("squashfs-tools"));
  expect_no_leftovers();
}

TEST_F(Publishing, AProgramThatFailsIsQuoted) {
  write_file(folder / "bin/mkfs.erofs", "#!/bin/sh\necho it broke >&2\nexit 7\n");
  ASSERT_EQ(::chmod((folder / "bin/mkfs.erofs").c_str(), 0755), 0);
  const std::string path = std::getenv("PATH");
  ASSERT_EQ(::setenv("PATH", (folder / "bin").c_str(), 1), 0);
  const auto error = failure(chain_of({one_file()}), LayerFormat::erofs);
  ASSERT_EQ(::setenv("PATH", path.c_str(), 1), 0);
  EXPECT_THAT(error.message(), HasSubstr("mkfs.erofs ended with 7: it broke"));
  EXPECT_THAT(list_layers(storage), IsEmpty());
}

TEST_F(Publishing, WhatKilledPublishersHaveLeftIsRemovedAndWhatOthersDoIsNot) {
  make_storage(storage);
  const auto place = publishing_folder(storage);
  write_file(place / "dead/tree/file", "x");
  write_file(place / "dead.lock", "");
  write_file(place / "living/tree/file", "x");
  write_file(place / "living.lock", "");
  const UniqueFd lock(::open((place / "living.lock").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(::flock(lock.get(), LOCK_EX | LOCK_NB), 0);
  publish(chain_of({one_file()}));
  EXPECT_FALSE(fs::exists(place / "dead"));
  EXPECT_FALSE(fs::exists(place / "dead.lock"));
  EXPECT_TRUE(fs::exists(place / "living/tree/file"));
}

TEST_F(Publishing, OfTwoWhoPublishALayerAtOnceOneDoes) {
  const auto chain = chain_of({one_file()});
  std::vector<PublishedLayer> published;
  asio::io_context home(1);
  const auto content = store->content_port();
  LayerPublisher one(home.get_executor(), *content, options(LayerFormat::directory));
  LayerPublisher two(home.get_executor(), *content, options(LayerFormat::erofs));
  auto both = [&]() -> Awaitable<> {
    std::exception_ptr failure;
    asio::co_spawn(co_await asio::this_coro::executor, publish_all(one, chain, 0, published),
                   [&](std::exception_ptr thrown) { failure = thrown; });
    co_await publish_all(two, chain, 0, published);
    while (published.size() < 2 && !failure) co_await step();
    if (failure) std::rethrow_exception(failure);
  };
  run_on(home, both());
  ASSERT_EQ(published.size(), 2U);
  EXPECT_NE(published[0].already_there, published[1].already_there);
  EXPECT_TRUE(read_layer(storage, chain.layers[0].digest));
}

}  // namespace
}  // namespace lazypull::test
