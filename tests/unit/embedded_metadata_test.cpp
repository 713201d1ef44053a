#include "snapshot/embedded/metadata.hpp"
#include "snapshot/embedded/store.hpp"
#include "tests/support/store_fixture.hpp"

#include <boost/json/parse.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace lazypull::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct EmbeddedMetadata : testing::Test {
  TempDir dir{"metadata"};
  std::filesystem::path file = dir / "test.db";

  static void put(Metadata& metadata, const std::string& name) {
    ImageRecord image;
    image.name = name;
    image.target = descriptor_of_content(name);
    metadata.write([&](Rows& rows) { rows.images.put("default", image); });
  }

  static std::vector<std::string> names(Metadata& metadata) {
    std::vector<std::string> all;
    for (const auto& image : metadata.read([](Rows& rows) { return rows.images.list("default"); })) {
      all.push_back(image.record.name);
    }
    return all;
  }
};

TEST_F(EmbeddedMetadata, WhatHasBeenWrittenIsThereForTheNextConnection) {
  {
    Metadata metadata(file);
    put(metadata, "a");
  }
  Metadata metadata(file);
  EXPECT_THAT(names(metadata), ElementsAre("a"));
}

TEST_F(EmbeddedMetadata, AnotherConnectionSeesACommitAtOnce) {
  Metadata one(file);
  Metadata two(file);
  put(one, "a");
  put(two, "b");
  EXPECT_THAT(names(one), ElementsAre("a", "b"));
  EXPECT_THAT(names(two), ElementsAre("a", "b"));
}

TEST_F(EmbeddedMetadata, ATransactionThatThrowsHasChangedNothing) {
  Metadata metadata(file);
  EXPECT_THROW(metadata.write([](Rows& rows) {
    ImageRecord image;
    image.name = "a";
    image.target = descriptor_of_content("a");
    rows.images.put("default", image);
    throw std::runtime_error("in the middle");
  }),
               std::runtime_error);
  EXPECT_THAT(names(metadata), IsEmpty());
  put(metadata, "b");
  EXPECT_THAT(names(metadata), ElementsAre("b"));
}

TEST_F(EmbeddedMetadata, AReaderSeesOneStateWhateverOthersWriteMeanwhile) {
  Metadata one(file);
  Metadata two(file);
  put(one, "a");
  one.read([&](Rows& rows) {
    EXPECT_EQ(rows.images.list("default").size(), 1U);
    put(two, "b");
    EXPECT_EQ(rows.images.list("default").size(), 1U);
  });
  EXPECT_THAT(names(one), ElementsAre("a", "b"));
}

TEST_F(EmbeddedMetadata, WritersOfSeveralConnectionsAndThreadsLoseNothing) {
  Metadata one(file);
  Metadata two(file);
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < 25; ++i) put(i % 2 == 0 ? one : two, std::to_string(thread * 100 + i));
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(names(one).size(), 100U);
}

TEST_F(EmbeddedMetadata, ADatabaseOfALaterVersionIsRefused) {
  {
    const Metadata metadata(file);
  }
  {
    Database database(file);
    database.execute("PRAGMA user_version = 1000");
  }
  try {
    const Metadata metadata(file);
    FAIL() << "it was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::failed_precondition);
    EXPECT_THAT(error.message(), HasSubstr("later version"));
    EXPECT_THAT(error.message(), HasSubstr(file.string()));
  }
}

TEST_F(EmbeddedMetadata, SomebodyElsesDatabaseIsRefused) {
  {
    Database database(file);
    database.execute("CREATE TABLE theirs (a)");
  }
  EXPECT_EQ(failure_of([&] { const Metadata metadata(file); }), Errc::failed_precondition);
}

TEST_F(EmbeddedMetadata, AFileThatIsNoDatabaseIsRefused) {
  write_file(file, std::string(5000, 'x'));
  EXPECT_EQ(failure_of([&] { const Metadata metadata(file); }), Errc::failed_precondition);
}

TEST_F(EmbeddedMetadata, EveryFieldOfADescriptorComesBack) {
  Metadata metadata(file);
  ImageRecord image;
  image.name = "registry.example.com/app:1";
  const std::string data("binary\0data", 11);
  image.target = descriptor_of_content(data);
  image.target.media_type = "application/vnd.oci.image.manifest.v1+json";
  image.target.urls = {"https://example.com/a", "https://example.com/b"};
  image.target.annotations = {{"key", "value \"quoted\" \n ü"}, {"empty", ""}};
  image.target.data = data;
  image.target.platform = Platform{.os = "linux",
                                   .architecture = "arm",
                                   .variant = "v7",
                                   .os_version = "1.2",
                                   .os_features = {"one", "two"}};
  image.target.artifact_type = "application/vnd.example";
  image.labels = {{"a", "b"}};
  metadata.write([&](Rows& rows) { rows.images.put("default", image); });
  const auto found = metadata.read([&](Rows& rows) { return rows.images.find("default", image.name); });
  ASSERT_TRUE(found);
  EXPECT_EQ(found->record.target, image.target);
  EXPECT_EQ(found->record.labels, image.labels);
}

struct EmbeddedImages : testing::Test {
  TempDir dir{"images"};
  std::shared_ptr<EmbeddedStore> store = EmbeddedStore::open(dir / "store", "default");

  boost::json::array index() {
    const auto text = read_file(store->layout().index_file());
    return boost::json::parse(text).as_object().at("manifests").as_array();
  }

  static std::string annotation(const boost::json::value& descriptor, const char* key) {
    const auto& annotations = descriptor.as_object().at("annotations").as_object();
    const auto* value = annotations.if_contains(key);
    return value != nullptr ? std::string(value->as_string()) : std::string();
  }
};

TEST_F(EmbeddedImages, ANewStoreIsAnEmptyOciLayout) {
  EXPECT_EQ(read_file(store->layout().layout_file()), R"({"imageLayoutVersion":"1.0.0"})");
  EXPECT_TRUE(index().empty());
}

TEST_F(EmbeddedImages, TheIndexNamesEveryImage) {
  const auto digest = add_content(*store, "manifest");
  add_image(*store, "registry.example.com/app:1", digest, 8);
  add_image(*store, "registry.example.com/app:2", digest, 8);
  ASSERT_EQ(index().size(), 2U);
  const auto first = index().at(0);
  EXPECT_EQ(first.as_object().at("digest").as_string(), digest.str());
  EXPECT_EQ(first.as_object().at("size").as_int64(), 8);
  EXPECT_EQ(annotation(first, "org.opencontainers.image.ref.name"), "registry.example.com/app:1");
  EXPECT_EQ(annotation(first, "io.containerd.image.name"), "registry.example.com/app:1");
  store->images().remove("registry.example.com/app:1");
  EXPECT_EQ(index().size(), 1U);
}

TEST_F(EmbeddedImages, OfTwoNamespacesThatUseOneNameTheFirstIsFoundByIt) {
  const auto other = EmbeddedStore::open(dir / "store", "other");
  add_image(*other, "registry.example.com/app:1", Digest::sha256_of("a"), 1);
  add_image(*store, "registry.example.com/app:1", Digest::sha256_of("b"), 1);
  ASSERT_EQ(index().size(), 2U);
  EXPECT_EQ(index().at(0).as_object().at("digest").as_string(), Digest::sha256_of("b").str());
  EXPECT_EQ(annotation(index().at(0), "org.opencontainers.image.ref.name"), "registry.example.com/app:1");
  EXPECT_EQ(annotation(index().at(1), "org.opencontainers.image.ref.name"), "");
}

TEST_F(EmbeddedImages, AnIndexThatIsOutOfDateIsWrittenAnewWhenTheStoreIsOpened) {
  add_image(*store, "registry.example.com/app:1", Digest::sha256_of("a"), 1);
  const auto good = read_file(store->layout().index_file());
  write_file(store->layout().index_file(), "{");
  store = EmbeddedStore::open(dir / "store", "default");
  EXPECT_EQ(read_file(store->layout().index_file()), good);
}

TEST_F(EmbeddedImages, AnImageKeepsWhenItWasCreated) {
  add_image(*store, "registry.example.com/app:1", Digest::sha256_of("a"), 1);
  const auto before = store->images().find("registry.example.com/app:1");
  add_image(*store, "registry.example.com/app:1", Digest::sha256_of("b"), 1);
  const auto after = store->images().find("registry.example.com/app:1");
  EXPECT_EQ(after->created, before->created);
  EXPECT_GT(after->updated, before->updated);
  EXPECT_EQ(after->record.target.digest, Digest::sha256_of("b"));
}

TEST_F(EmbeddedImages, ImagesAreEachNamespacesOwn) {
  const auto other = EmbeddedStore::open(dir / "store", "other");
  add_image(*store, "registry.example.com/app:1", Digest::sha256_of("a"), 1);
  EXPECT_THAT(other->images().list(), IsEmpty());
  EXPECT_FALSE(other->images().remove("registry.example.com/app:1"));
}

TEST_F(EmbeddedImages, ARecordNeedsANameAndATarget) {
  ImageRecord image;
  image.target = descriptor_of_content("a");
  EXPECT_EQ(failure_of([&] { store->images().put(image); }), Errc::invalid_argument);
  image.name = "name";
  image.target.digest = {};
  EXPECT_EQ(failure_of([&] { store->images().put(image); }), Errc::invalid_argument);
}

TEST_F(EmbeddedImages, WhatCouldNotBeReadBackIsNotWritten) {
  const auto digest = add_content(*store, "content");
  const std::string no_utf8 = "\xff\xfe";
  EXPECT_EQ(failure_of([&] { store->content().update_labels(digest, {{"key", no_utf8}}); }),
            Errc::invalid_argument);
  EXPECT_EQ(failure_of([&] { add_snapshot(*store, "name", "", {{no_utf8, "value"}}); }),
            Errc::invalid_argument);
  EXPECT_EQ(failure_of([&] { add_image(*store, no_utf8, digest, 7); }), Errc::invalid_argument);
  ImageRecord image;
  image.name = "name";
  image.target.digest = digest;
  image.target.media_type = "no media type";
  EXPECT_EQ(failure_of([&] { store->images().put(image); }), Errc::invalid_argument);
  EXPECT_THAT(store->images().list(), IsEmpty());
  EXPECT_TRUE(store->content().info(digest));
}

struct OpeningAStore : testing::Test {
  TempDir dir{"opening"};

  Errc failure(const std::string& name, const std::string& name_space = "default") {
    return failure_of([&] { EmbeddedStore::open(dir / name, name_space); });
  }
};

TEST_F(OpeningAStore, ADirectoryOfSomethingElseIsLeftAlone) {
  write_file(dir / "other/index.json", "{}");
  write_file(dir / "other/blobs/sha256/aa", "a");
  EXPECT_EQ(failure("other"), Errc::failed_precondition);
  EXPECT_EQ(entries_in(dir / "other"), 2U);
}

TEST_F(OpeningAStore, AnInterruptedFirstOpenDoesNotSpoilTheDirectory) {
  write_file(dir / "store/lazypull.lock", "");
  std::filesystem::create_directories(dir / "store/blobs");
  EXPECT_TRUE(EmbeddedStore::open(dir / "store", "default"));
}

TEST_F(OpeningAStore, AFileIsNoStore) {
  write_file(dir / "file", "");
  EXPECT_THROW(EmbeddedStore::open(dir / "file", "default"), Error);
}

TEST_F(OpeningAStore, ANamespaceIsOneThatContainerdWouldAccept) {
  for (const auto* good : {"default", "k8s.io", "a-b_c.d", "A1"}) {
    EXPECT_TRUE(EmbeddedStore::open(dir / "store", good)) << good;
  }
  for (const auto* bad : {"", ".", "../x", "a/b", "a..b", "-a", "a-", "ü", "a b"}) {
    EXPECT_EQ(failure("store", bad), Errc::invalid_argument) << bad;
  }
  EXPECT_EQ(failure("store", std::string(77, 'a')), Errc::invalid_argument);
}

TEST_F(OpeningAStore, OnlyItsOwnerReachesTheFilesOfImages) {
  const auto store = EmbeddedStore::open(dir / "store", "default");
  const auto mode = std::filesystem::status(store->layout().snapshots()).permissions();
  EXPECT_EQ(mode, std::filesystem::perms::owner_all);
}

}  // namespace
}  // namespace lazypull::test
