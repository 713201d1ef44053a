// The cases of the first half are those of containerd's test suite for content stores
// (content/testsuite/testsuite.go), told anew.

#include "snapshot/embedded/store.hpp"
#include "tests/support/store_fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <string>

namespace lazypull::test {
namespace {

using std::chrono::system_clock;
using testing::ElementsAre;
using testing::IsEmpty;

struct ContentSuite : testing::Test {
  TempDir dir{"content"};
  std::shared_ptr<EmbeddedStore> store = EmbeddedStore::open(dir / "store", "one");
  ContentDirectory& content = store->content();

  std::unique_ptr<IngestFile> writer(const std::string& ref, ExpectedContent expected = {}) {
    return content.ingest(ref, std::move(expected), {});
  }

  void expect_unavailable(const std::string& ref) {
    EXPECT_EQ(failure_of([&] { writer(ref); }), Errc::locked);
  }

  struct Interval {
    system_clock::time_point from;
    system_clock::time_point to;
    bool has(system_clock::time_point time) const { return from <= time && time <= to; }
  };

  static Interval during(const std::function<void()>& action) {
    const auto from = system_clock::now();
    action();
    return {from, system_clock::now()};
  }

  void expect_info(const Digest& digest, std::uint64_t size, const Labels& labels, const Interval& created,
                   const Interval& updated) {
    const auto info = content.info(digest);
    ASSERT_TRUE(info);
    EXPECT_EQ(info->info.digest, digest);
    EXPECT_EQ(info->info.size, size);
    EXPECT_EQ(info->info.labels, labels);
    EXPECT_TRUE(created.has(info->created));
    EXPECT_TRUE(updated.has(info->updated));
  }

  static void expect_status(const IngestFile& ingest, const std::string& ref, const std::string& bytes,
                            std::uint64_t total, const Interval& started, const Interval& updated) {
    const auto status = ingest.status();
    EXPECT_EQ(status.ref, ref);
    EXPECT_EQ(status.offset, bytes.size());
    EXPECT_EQ(status.total, total);
    EXPECT_TRUE(started.has(status.started));
    EXPECT_TRUE(updated.has(status.updated));
    EXPECT_EQ(bytes_in(ingest), bytes);
  }
};

const Labels root_label{{"containerd.io/gc.root", "2024-05-01T12:00:00Z"}};

TEST_F(ContentSuite, WriterStoresWhatItIsGivenWhetherSizeAndDigestWereToldBeforeOrNot) {
  const std::array contents{make_content(256), make_content(256), make_content(256), make_content(256)};
  std::vector<std::unique_ptr<IngestFile>> writers;
  writers.push_back(writer("c1"));
  writers.push_back(writer("c2", {.digest = {}, .size = 256}));
  writers.push_back(writer("c3", {.digest = Digest::sha256_of(contents[2]), .size = {}}));
  writers.push_back(writer("c4", expect(contents[3])));
  for (std::size_t i = 0; i < contents.size(); ++i) {
    for (std::size_t at = 0; at < 256; at += 32) writers[i]->write(bytes_of(contents[i].substr(at, 32)));
    const auto digest = Digest::sha256_of(contents[i]);
    const auto commit = during([&] { writers[i]->commit(digest, root_label); });
    expect_info(digest, 256, root_label, commit, commit);
    EXPECT_EQ(content.read(digest, 256), contents[i]);
  }
}

TEST_F(ContentSuite, UpdateStatusFollowsEveryWrite) {
  const auto bytes = make_content(256);
  std::unique_ptr<IngestFile> ingest;
  const auto start = during([&] { ingest = writer("c1", expect(bytes)); });
  expect_status(*ingest, "c1", "", 256, start, start);
  for (const auto& [from, to] : {std::pair(0, 64), std::pair(64, 192), std::pair(192, 256)}) {
    const auto piece = bytes.substr(static_cast<std::size_t>(from), static_cast<std::size_t>(to - from));
    const auto update = during([&] { ingest->write(bytes_of(piece)); });
    expect_status(*ingest, "c1", bytes.substr(0, static_cast<std::size_t>(to)), 256, start, update);
  }
  const auto commit = during([&] { ingest->commit(Digest::sha256_of(bytes), root_label); });
  expect_info(Digest::sha256_of(bytes), 256, root_label, commit, commit);
}

TEST_F(ContentSuite, CommitExistsAnswersThatTheContentWasThere) {
  const auto bytes = make_content(256);
  const auto digest = add_content(*store, bytes);
  for (const auto& told : {digest, Digest()}) {
    const auto ingest = writer("again");
    ingest->write(bytes_of(bytes));
    ingest->expect({.digest = told, .size = 256});
    EXPECT_EQ(ingest->commit(digest, {}), CommitOutcome::already_exists);
  }
}

TEST_F(ContentSuite, ResumedWriterGoesOnWithTheStatusThatTheFirstOneLeft) {
  const auto bytes = make_content(256);
  const auto digest = Digest::sha256_of(bytes);
  std::unique_ptr<IngestFile> ingest;
  const auto start = during([&] { ingest = writer("cb", expect(bytes)); });
  auto update = during([&] { ingest->write(bytes_of(bytes.substr(0, 128))); });
  expect_status(*ingest, "cb", bytes.substr(0, 128), 256, start, update);
  ingest.reset();
  ingest = writer("cb", expect(bytes));
  expect_status(*ingest, "cb", bytes.substr(0, 128), 256, start, update);
  update = during([&] { ingest->write(bytes_of(bytes.substr(128))); });
  expect_status(*ingest, "cb", bytes, 256, start, update);
  const auto commit = during([&] { ingest->commit(digest, {}); });
  ingest.reset();
  expect_info(digest, 256, {}, commit, commit);
}

// How a writer that has been resumed at `limit` gets the rest.
using Resume = std::function<void(IngestFile&, const std::string& bytes, std::size_t limit)>;

struct ContentSuiteResume : ContentSuite {
  void check(const Resume& resume) {
    for (const std::size_t size : {500U, 5000U, 50000U}) {
      for (const std::size_t tenths : {0U, 1U, 5U, 9U, 10U}) {
        const auto bytes = make_content(size);
        const auto limit = size * tenths / 10;
        const std::string ref = "ref-" + std::to_string(size) + "-" + std::to_string(tenths);
        writer(ref, expect(bytes))->write(bytes_of(bytes.substr(0, limit)));
        auto ingest = writer(ref, expect(bytes));
        ASSERT_EQ(ingest->offset(), limit);
        const auto commit = during([&] {
          resume(*ingest, bytes, limit);
          EXPECT_EQ(ingest->commit(Digest::sha256_of(bytes_in(*ingest)), {}), CommitOutcome::committed);
        });
        expect_info(Digest::sha256_of(bytes), size, {}, commit, commit);
      }
    }
  }

  static void write_in_pieces(IngestFile& ingest, std::string_view bytes) {
    while (!bytes.empty()) {
      const auto piece = bytes.substr(0, 1024);
      ingest.write(bytes_of(piece));
      bytes.remove_prefix(piece.size());
    }
  }
};

TEST_F(ContentSuiteResume, ResumeTruncateBeginsFromTheStart) {
  check([](IngestFile& ingest, const std::string& bytes, std::size_t) {
    ingest.truncate();
    EXPECT_EQ(ingest.offset(), 0U);
    write_in_pieces(ingest, bytes);
  });
}

TEST_F(ContentSuiteResume, ResumeDiscardWritesOnlyWhatIsMissing) {
  check([](IngestFile& ingest, const std::string& bytes, std::size_t limit) {
    write_in_pieces(ingest, std::string_view(bytes).substr(limit));
  });
}

TEST_F(ContentSuiteResume, ResumeCopyFromAStreamSkipsWhatIsThere) {
  check([](IngestFile& ingest, const std::string& bytes, std::size_t) {
    std::string_view stream(bytes);  // can only be read in order
    std::uint64_t position = 0;
    while (!stream.empty()) {
      const auto piece = stream.substr(0, 100);
      stream.remove_prefix(piece.size());
      const auto skip = std::min<std::uint64_t>(piece.size(), ingest.offset() - position);
      ingest.write(bytes_of(piece.substr(static_cast<std::size_t>(skip))));
      position += piece.size();
    }
  });
}

TEST_F(ContentSuiteResume, ResumeCopySeekerBeginsToReadAtTheOffset) {
  check([](IngestFile& ingest, const std::string& bytes, std::size_t) {
    auto seeker = std::string_view(bytes);
    seeker.remove_prefix(static_cast<std::size_t>(ingest.offset()));
    write_in_pieces(ingest, seeker);
  });
}

TEST_F(ContentSuiteResume, ResumeCopyReaderAtReadsAtTheOffsetOfEachWrite) {
  check([](IngestFile& ingest, const std::string& bytes, std::size_t) {
    while (ingest.offset() < bytes.size()) {
      ingest.write(bytes_of(bytes)
                       .subspan(static_cast<std::size_t>(ingest.offset()))
                       .first(std::min<std::size_t>(333, bytes.size() - ingest.offset())));
    }
  });
}

TEST_F(ContentSuite, SmallBlobIsReadWholeWithALimitBeyondItsEnd) {
  const std::string blob = "foobar";
  const auto digest = add_content(*store, blob);
  EXPECT_EQ(content.read(digest, blob.size() + 1), blob);
}

TEST_F(ContentSuite, LabelsAreSetAtTheCommitAndChangedOneByOneLater) {
  const auto bytes = make_content(256);
  const auto digest = Digest::sha256_of(bytes);
  const auto ingest = writer("c1-checklabels", expect(bytes));
  ingest->write(bytes_of(bytes));
  Labels labels{{"k1", "v1"}, {"k2", "v2"}, *root_label.begin()};
  const auto commit = during([&] { ingest->commit(digest, labels); });
  expect_info(digest, 256, labels, commit, commit);

  auto update =
      during([&] { content.update_labels(digest, {{"k1", "newvalue"}, {"k2", ""}, {"k3", "v3"}}); });
  expect_info(digest, 256, {{"k1", "newvalue"}, {"k3", "v3"}, *root_label.begin()}, commit, update);

  update = during([&] { content.update_labels(digest, {{"k1", "v1"}, {"k3", ""}}); });
  expect_info(digest, 256, {{"k1", "v1"}, *root_label.begin()}, commit, update);
}

TEST_F(ContentSuite, CommitErrorStateKeepsTheIngestOnlyWhereThereWasAFailure) {
  const auto c1 = make_content(256);
  const auto d1 = add_content(*store, c1);
  const auto d2 = Digest::sha256_of(make_content(256));
  const std::string ref = "c1-commiterror-state";
  const auto more = c1 + "more";

  // The content exists: the ingest is over, whether the digest was told or not.
  for (const auto& told : {d1, Digest()}) {
    const auto ingest = writer(ref);
    EXPECT_EQ(ingest->offset(), 0U);
    ingest->write(bytes_of(c1));
    expect_unavailable(ref);
    ingest->expect({.digest = told, .size = c1.size()});
    EXPECT_EQ(ingest->commit(d1, {}), CommitOutcome::already_exists);
    writer(ref);  // is free again, though the committed one still lives
    content.abort(ref);
  }

  auto ingest = writer(ref);
  ingest->write(bytes_of(more));
  ingest->expect({.digest = d2, .size = more.size()});
  EXPECT_EQ(failure_of([&] { ingest->commit(Digest::sha256_of(more), {}); }), Errc::digest_mismatch);
  ingest.reset();

  ingest = writer(ref);
  expect_unavailable(ref);
  ingest->expect({.digest = {}, .size = c1.size()});
  EXPECT_EQ(failure_of([&] { ingest->commit(Digest::sha256_of(more), {}); }), Errc::size_mismatch);
  ingest.reset();

  ingest = writer(ref);
  expect_unavailable(ref);
  EXPECT_EQ(ingest->offset(), more.size());
  ingest->expect({.digest = {}, .size = more.size()});
  EXPECT_EQ(ingest->commit(Digest::sha256_of(more), {}), CommitOutcome::committed);
  EXPECT_EQ(failure_of([&] { ingest->write(bytes_of(c1)); }), Errc::failed_precondition);
  EXPECT_EQ(failure_of([&] { ingest->commit(d1, {}); }), Errc::failed_precondition);
  ingest.reset();

  ingest = writer(ref);
  EXPECT_EQ(ingest->offset(), 0U);
  ingest->write(bytes_of(c1));
  expect_unavailable(ref);
  EXPECT_EQ(ingest->commit(d1, {}), CommitOutcome::already_exists);
  ingest.reset();

  ingest = writer(ref);
  expect_unavailable(ref);
  ingest.reset();
  EXPECT_TRUE(writer(ref));
}

struct ContentOfTwoNamespaces : ContentSuite {
  std::shared_ptr<EmbeddedStore> other = EmbeddedStore::open(dir / "store", "two");
  std::string bytes = make_content(1000);
  Digest digest = add_content(*store, bytes);
};

TEST_F(ContentOfTwoNamespaces, CrossNamespaceShareNeedsOnlyTheCommit) {
  const auto ingest = other->content().ingest("ref-1000", expect(bytes), {});
  ASSERT_TRUE(ingest);
  EXPECT_EQ(ingest->status().ref, "ref-1000");
  EXPECT_EQ(ingest->offset(), 1000U);
  EXPECT_EQ(ingest->status().total, 1000U);
  EXPECT_EQ(bytes_in(*ingest), bytes);
  EXPECT_EQ(ingest->commit(digest, {}), CommitOutcome::committed);
  EXPECT_EQ(content.read(digest, 1000), bytes);
  EXPECT_EQ(other->content().read(digest, 1000), bytes);
  EXPECT_EQ(entries_in(store->layout().blobs() / "sha256"), 1U);
}

TEST_F(ContentOfTwoNamespaces, CrossNamespaceAppendGoesOnFromACopy) {
  const auto longer = bytes + "appended bytes";
  const auto ingest = other->content().ingest("ref-1000", expect(bytes), {});
  ASSERT_TRUE(ingest);
  EXPECT_EQ(ingest->offset(), 1000U);
  ingest->write(bytes_of("appended bytes"));
  ingest->expect(expect(longer));
  EXPECT_EQ(ingest->commit(Digest::sha256_of(bytes_in(*ingest)), {}), CommitOutcome::committed);
  EXPECT_EQ(content.read(digest, 1000), bytes);
  EXPECT_EQ(other->content().read(Digest::sha256_of(longer), longer.size()), longer);
  EXPECT_FALSE(content.info(Digest::sha256_of(longer)));
}

TEST_F(ContentOfTwoNamespaces, CrossNamespaceIsolationHidesWhatTheOtherHas) {
  EXPECT_FALSE(other->content().info(digest));
  EXPECT_THAT(other->content().list(), IsEmpty());
  EXPECT_EQ(failure_of([&] { other->content().read(digest, 1000); }), Errc::not_found);
  EXPECT_EQ(failure_of([&] { other->content().open(digest); }), Errc::not_found);
  EXPECT_EQ(failure_of([&] { other->content().update_labels(digest, {{"a", "b"}}); }), Errc::not_found);
  EXPECT_FALSE(other->content().remove(digest));
  EXPECT_TRUE(content.info(digest));
}

TEST_F(ContentOfTwoNamespaces, IngestsOfTheSameNameAreTwo) {
  const auto mine = writer("same");
  mine->write(bytes_of("mine"));
  const auto theirs = other->content().ingest("same", {}, {});
  EXPECT_EQ(theirs->offset(), 0U);
  EXPECT_THAT(content.ingests(), testing::SizeIs(1));
}

TEST_F(ContentOfTwoNamespaces, LabelsAreEachNamespacesOwn) {
  other->content().ingest("ref", expect(bytes), {})->commit(digest, {{"of", "two"}});
  content.update_labels(digest, {{"of", "one"}});
  EXPECT_EQ(content.info(digest)->info.labels, (Labels{{"of", "one"}}));
  EXPECT_EQ(other->content().info(digest)->info.labels, (Labels{{"of", "two"}}));
}

// What follows is this store's own.

TEST_F(ContentSuite, ABlobIsAReadOnlyFileOfTheLayoutAndLeavesNoIngest) {
  const auto bytes = make_content(100);
  const auto digest = add_content(*store, bytes);
  const auto file = dir.path() / "store" / "blobs" / "sha256" / digest.hex();
  EXPECT_EQ(read_file(file), bytes);
  struct ::stat status{};
  ASSERT_EQ(::stat(file.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777U, 0444U);
  EXPECT_EQ(entries_in(store->layout().ingests()), 0U);
  EXPECT_EQ(entries_in(store->layout().trash()), 0U);
}

TEST_F(ContentSuite, ASha512DigestHasItsOwnFolder) {
  const std::string bytes = "foobar";
  Hasher hasher("sha512");
  hasher.update(bytes_of(bytes));
  const auto digest = hasher.finish();
  const auto ingest = writer("long", {.digest = digest, .size = bytes.size()});
  ingest->write(bytes_of(bytes));
  ingest->commit(digest, {});
  EXPECT_EQ(content.read(digest, 6), bytes);
  EXPECT_TRUE(std::filesystem::exists(store->layout().blobs() / "sha512" / digest.hex()));
}

TEST_F(ContentSuite, NoRefLeadsOutOfTheStore) {
  for (const auto* ref : {"../../escape", "/etc/passwd", "..", "", "a/../../b", "with\nnewline"}) {
    writer(ref)->write(bytes_of("x"));
    EXPECT_EQ(writer(ref)->offset(), 1U);
    content.abort(ref);
  }
  EXPECT_EQ(entries_in(store->layout().ingests()), 0U);
  EXPECT_EQ(entries_in(dir.path()), 1U);
}

TEST_F(ContentSuite, AnIngestOfContentThatIsThereIsNoIngest) {
  const auto bytes = make_content(100);
  add_content(*store, bytes);
  EXPECT_FALSE(writer("again", expect(bytes)));
}

TEST_F(ContentSuite, ABlobThatSomebodyDeletedCanBeFetchedAgain) {
  const auto bytes = make_content(100);
  const auto digest = add_content(*store, bytes, {{"a", "b"}});
  std::filesystem::remove(store->layout().blob(digest));
  EXPECT_FALSE(content.info(digest));
  EXPECT_EQ(add_content(*store, bytes), digest);
  EXPECT_EQ(content.read(digest, 100), bytes);
}

TEST_F(ContentSuite, AReadIsBounded) {
  const auto digest = add_content(*store, make_content(100));
  EXPECT_EQ(failure_of([&] { content.read(digest, 99); }), Errc::size_mismatch);
  EXPECT_EQ(failure_of([&] { content.read(Digest::sha256_of("nothing"), 99); }), Errc::not_found);
}

TEST_F(ContentSuite, ALabelThatContainerdWouldRefuseIsRefused) {
  const auto digest = add_content(*store, make_content(10));
  const Labels longest{{"key", std::string(4093, 'v')}};
  content.update_labels(digest, longest);
  EXPECT_EQ(content.info(digest)->info.labels, longest);
  EXPECT_EQ(failure_of([&] { content.update_labels(digest, {{"key", std::string(4094, 'v')}}); }),
            Errc::invalid_argument);
}

TEST_F(ContentSuite, AnAbortedIngestBeginsAnew) {
  writer("partial")->write(bytes_of("some"));
  EXPECT_THAT(content.ingests(), testing::SizeIs(1));
  content.abort("partial");
  EXPECT_THAT(content.ingests(), IsEmpty());
  EXPECT_EQ(writer("partial")->offset(), 0U);
  content.abort("never begun");
}

TEST_F(ContentSuite, AnIngestThatIsBeingWrittenCannotBeAborted) {
  const auto ingest = writer("busy");
  ingest->write(bytes_of("some"));
  EXPECT_EQ(failure_of([&] { content.abort("busy"); }), Errc::locked);
  EXPECT_EQ(bytes_in(*ingest), "some");
}

TEST_F(ContentSuite, APartialIngestThatIsLongerThanTheContentBeginsAnew) {
  writer("ref")->write(bytes_of("longer than expected"));
  EXPECT_EQ(writer("ref", {.digest = {}, .size = 5})->offset(), 0U);
}

TEST_F(ContentSuite, PartialIngestsAreListedWithWhatIsKnownOfThem) {
  writer("first", {.digest = {}, .size = 10})->write(bytes_of("12345"));
  writer("second");
  auto all = content.ingests();
  std::ranges::sort(all, {}, &IngestStatus::ref);
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].ref, "first");
  EXPECT_EQ(all[0].offset, 5U);
  EXPECT_EQ(all[0].total, 10U);
  EXPECT_EQ(all[1].ref, "second");
  EXPECT_EQ(all[1].total, std::nullopt);
}

TEST_F(ContentSuite, TwoThatCommitTheSameContentAtOnceBothHaveIt) {
  const auto bytes = make_content(100);
  const auto digest = Digest::sha256_of(bytes);
  const auto first = writer("first", expect(bytes));
  const auto second = EmbeddedStore::open(dir / "store", "one")->content().info(digest);
  EXPECT_FALSE(second);
  const auto rival = writer("second", expect(bytes));
  first->write(bytes_of(bytes));
  rival->write(bytes_of(bytes));
  EXPECT_EQ(first->commit(digest, {}), CommitOutcome::committed);
  EXPECT_EQ(rival->commit(digest, {}), CommitOutcome::already_exists);
  EXPECT_EQ(content.read(digest, 100), bytes);
  EXPECT_EQ(entries_in(store->layout().ingests()), 0U);
}

TEST_F(ContentSuite, ContentIsListedInTheOrderOfDigests) {
  const auto a = add_content(*store, "a");
  const auto b = add_content(*store, "b");
  std::vector<Digest> digests;
  for (const auto& item : content.list()) digests.push_back(item.info.digest);
  EXPECT_THAT(digests, ElementsAre(std::min(a, b), std::max(a, b)));
}

}  // namespace
}  // namespace lazypull::test
