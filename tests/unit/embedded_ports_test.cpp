#include "snapshot/embedded/store.hpp"
#include "tests/support/coroutine.hpp"
#include "tests/support/store_fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <exception>
#include <string>

namespace lazypull::test {
namespace {

struct EmbeddedPorts : testing::Test {
  TempDir dir{"ports"};
  std::shared_ptr<EmbeddedStore> store = EmbeddedStore::open(dir / "store", "default");
  std::unique_ptr<ContentStore> content = store->content_port();
  std::unique_ptr<Snapshotter> snapshotter = store->snapshotter_port();
  std::unique_ptr<ImageStore> images = store->image_port();
};

/// How an awaitable failed; throws std::logic_error if it did not.
template <class T>
Awaitable<Errc> failure_of_awaitable(Awaitable<T> operation) {
  std::exception_ptr failure;
  try {
    co_await std::move(operation);
  } catch (...) {
    failure = std::current_exception();
  }
  if (!failure) throw std::logic_error("it did not fail");
  co_return as_error(failure).code();
}

Awaitable<> write_all(Ingest& ingest, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto piece = bytes.substr(0, 1000);
    co_await ingest.write(bytes_of(piece));
    bytes.remove_prefix(piece.size());
  }
}

TEST_F(EmbeddedPorts, WhatIsIngestedIsContent) {
  run([](EmbeddedPorts& t) -> Awaitable<> {
    const auto bytes = make_content(5000);
    const auto descriptor = descriptor_of_content(bytes);
    auto found = co_await t.content->info(descriptor.digest);
    EXPECT_FALSE(found);
    const auto ingest = co_await t.content->ingest("layer", descriptor);
    EXPECT_EQ(ingest->offset(), 0U);
    co_await write_all(*ingest, bytes);
    const Labels labels{{"a", "b"}};
    const auto outcome = co_await ingest->commit(labels);
    EXPECT_EQ(outcome, CommitOutcome::committed);
    found = co_await t.content->info(descriptor.digest);
    EXPECT_EQ(found->size, 5000U);
    EXPECT_EQ(found->labels, labels);
    const auto text = co_await t.content->read(descriptor.digest, 5000);
    EXPECT_EQ(text, bytes);
    const auto again = co_await t.content->ingest("layer", descriptor);
    EXPECT_FALSE(again);
  }(*this));
}

TEST_F(EmbeddedPorts, AResumedIngestIsVerifiedFromItsFirstByteOn) {
  run([](EmbeddedPorts& t) -> Awaitable<> {
    const auto bytes = make_content(5000);
    const auto descriptor = descriptor_of_content(bytes);
    auto ingest = co_await t.content->ingest("layer", descriptor);
    co_await write_all(*ingest, bytes.substr(0, 3000));
    ingest.reset();
    ingest = co_await t.content->ingest("layer", descriptor);
    EXPECT_EQ(ingest->offset(), 3000U);
    co_await write_all(*ingest, bytes.substr(3000));
    const Labels labels;
    const auto outcome = co_await ingest->commit(labels);
    EXPECT_EQ(outcome, CommitOutcome::committed);
  }(*this));
}

TEST_F(EmbeddedPorts, AnEarlierTryWithOtherBytesDoesNotVerify) {
  run([](EmbeddedPorts& t) -> Awaitable<> {
    const auto bytes = make_content(5000);
    const auto descriptor = descriptor_of_content(bytes);
    auto ingest = co_await t.content->ingest("layer", descriptor);
    const auto other = make_content(3000);
    co_await write_all(*ingest, other);
    ingest.reset();
    ingest = co_await t.content->ingest("layer", descriptor);
    co_await write_all(*ingest, bytes.substr(3000));
    const Labels labels;
    auto failure = co_await failure_of_awaitable(ingest->commit(labels));
    EXPECT_EQ(failure, Errc::digest_mismatch);
    ingest.reset();
    co_await t.content->abort("layer");
    ingest = co_await t.content->ingest("layer", descriptor);
    EXPECT_EQ(ingest->offset(), 0U);
    co_await write_all(*ingest, bytes.substr(0, 10));
    failure = co_await failure_of_awaitable(ingest->commit(labels));
    EXPECT_EQ(failure, Errc::size_mismatch);
  }(*this));
}

TEST_F(EmbeddedPorts, ACompletePartialOnlyWantsItsCommit) {
  run([](EmbeddedPorts& t) -> Awaitable<> {
    const auto bytes = make_content(5000);
    const auto descriptor = descriptor_of_content(bytes);
    auto ingest = co_await t.content->ingest("layer", descriptor);
    co_await write_all(*ingest, bytes);
    ingest.reset();
    ingest = co_await t.content->ingest("layer", descriptor);
    EXPECT_EQ(ingest->offset(), 5000U);
    const Labels labels;
    const auto outcome = co_await ingest->commit(labels);
    EXPECT_EQ(outcome, CommitOutcome::committed);
  }(*this));
}

TEST_F(EmbeddedPorts, ContentOfAnotherNamespaceIsCompleteAtOnce) {
  run([](EmbeddedPorts& t) -> Awaitable<> {
    const auto bytes = make_content(5000);
    const auto descriptor = descriptor_of_content(bytes);
    const auto other = EmbeddedStore::open(t.dir / "store", "other");
    add_content(*other, bytes);
    const auto found = co_await t.content->info(descriptor.digest);
    EXPECT_FALSE(found);
    const auto ingest = co_await t.content->ingest("layer", descriptor);
    EXPECT_EQ(ingest->offset(), 5000U);
    const Labels labels;
    const auto outcome = co_await ingest->commit(labels);
    EXPECT_EQ(outcome, CommitOutcome::committed);
    const auto text = co_await t.content->read(descriptor.digest, 5000);
    EXPECT_EQ(text, bytes);
  }(*this));
}

TEST_F(EmbeddedPorts, OneWriterAtATime) {
  run([](EmbeddedPorts& t) -> Awaitable<> {
    const auto descriptor = descriptor_of_content("some");
    const auto ingest = co_await t.content->ingest("layer", descriptor);
    const auto failure = co_await failure_of_awaitable(t.content->ingest("layer", descriptor));
    EXPECT_EQ(failure, Errc::locked);
  }(*this));
}

TEST_F(EmbeddedPorts, AnIngestOutlivesItsStoresHandle) {
  run([](EmbeddedPorts& t) -> Awaitable<> {
    const std::string bytes = "some";
    const auto descriptor = descriptor_of_content(bytes);
    const auto ingest = co_await t.content->ingest("layer", descriptor);
    t.content.reset();
    t.snapshotter.reset();
    t.images.reset();
    t.store.reset();
    co_await write_all(*ingest, bytes);
    const Labels labels;
    const auto outcome = co_await ingest->commit(labels);
    EXPECT_EQ(outcome, CommitOutcome::committed);
  }(*this));
}

TEST_F(EmbeddedPorts, ALargeBlobIsReadPieceByPiece) {
  run([](EmbeddedPorts& t) -> Awaitable<> {
    const auto bytes = make_content(3'000'000);
    const auto digest = add_content(*t.store, bytes);
    const auto reader = co_await t.content->open(digest);
    std::string text;
    for (;;) {
      const auto piece = co_await reader->read();
      if (piece.empty()) break;
      EXPECT_LT(piece.size(), bytes.size());
      text.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    }
    EXPECT_EQ(text, bytes);
    const auto missing = Digest::sha256_of("nothing");
    const auto failure = co_await failure_of_awaitable(t.content->open(missing));
    EXPECT_EQ(failure, Errc::not_found);
  }(*this));
}

TEST_F(EmbeddedPorts, ASnapshotIsPreparedFilledAndCommitted) {
  run([](EmbeddedPorts& t) -> Awaitable<> {
    EXPECT_EQ(t.snapshotter->name(), "overlayfs");
    const Labels labels{{"containerd.io/snapshot.ref", "chain"}};
    auto prepared = co_await t.snapshotter->prepare("key", "", labels);
    EXPECT_FALSE(prepared.already_exists);
    EXPECT_EQ(prepared.mounts.size(), 1U);
    const auto outcome = co_await t.snapshotter->commit("chain", "key", labels);
    EXPECT_EQ(outcome, CommitOutcome::committed);
    const auto found = co_await t.snapshotter->stat("chain");
    EXPECT_EQ(found->kind, SnapshotKind::committed);
    EXPECT_EQ(found->labels, labels);
    prepared = co_await t.snapshotter->prepare("key", "", labels);
    EXPECT_TRUE(prepared.already_exists);
    co_await t.snapshotter->remove("chain");
    co_await t.snapshotter->remove("chain");
    const auto gone = co_await t.snapshotter->stat("chain");
    EXPECT_FALSE(gone);
  }(*this));
}

TEST_F(EmbeddedPorts, AnImageRecordIsReplacedWithItsLabels) {
  run([](EmbeddedPorts& t) -> Awaitable<> {
    ImageRecord image;
    image.name = "registry.example.com/app:1";
    image.target = descriptor_of_content("manifest");
    image.labels = {{"a", "1"}, {"b", "2"}};
    auto found = co_await t.images->get(image.name);
    EXPECT_FALSE(found);
    co_await t.images->put(image);
    image.labels = {{"c", "3"}};
    image.target = descriptor_of_content("another manifest");
    co_await t.images->put(image);
    found = co_await t.images->get(image.name);
    EXPECT_EQ(found->target, image.target);
    EXPECT_EQ(found->labels, image.labels);
  }(*this));
}

TEST_F(EmbeddedPorts, ALeaseProtectsWhatIsMadeUnderItUntilItIsReleased) {
  run([](EmbeddedPorts& t) -> Awaitable<> {
    auto lease = co_await t.store->acquire_lease(std::chrono::hours(1));
    const auto leased_content = t.store->content_port(lease.id());
    const auto leased_snapshots = t.store->snapshotter_port(lease.id());
    const std::string bytes = "some";
    const auto descriptor = descriptor_of_content(bytes);
    const auto ingest = co_await leased_content->ingest("layer", descriptor);
    co_await write_all(*ingest, bytes);
    const Labels labels;
    co_await ingest->commit(labels);
    co_await leased_snapshots->prepare("active", "", labels);
    co_await leased_snapshots->prepare("key", "", labels);
    co_await leased_snapshots->commit("chain", "key", labels);

    auto report = co_await t.store->collect();
    EXPECT_EQ(report, GarbageReport());
    co_await t.store->release(std::move(lease));
    report = co_await t.store->collect();
    EXPECT_EQ(report.contents, 1U);
    EXPECT_EQ(report.blobs, 1U);
    EXPECT_EQ(report.snapshots, 2U);
    EXPECT_EQ(report.directories, 2U);
    EXPECT_EQ(report.leases, 0U);
    EXPECT_EQ(entries_in(t.store->layout().leases()), 0U);
  }(*this));
}

TEST_F(EmbeddedPorts, ALeaseProtectsWhatIsThereAlready) {
  run([](EmbeddedPorts& t) -> Awaitable<> {
    const auto digest = add_content(*t.store, "kept");
    add_content(*t.store, "not kept");
    add_snapshot(*t.store, "bottom");
    add_snapshot(*t.store, "top", "bottom");
    add_snapshot(*t.store, "other");
    auto lease = co_await t.store->acquire_lease(std::chrono::hours(1));
    co_await t.store->protect(lease.id(), LeaseResource::content, digest.str());
    co_await t.store->protect(lease.id(), LeaseResource::snapshot, "top");
    co_await t.store->protect(lease.id(), LeaseResource::snapshot, "need not exist");
    const auto report = co_await t.store->collect();
    EXPECT_EQ(report.contents, 1U);
    EXPECT_EQ(report.snapshots, 1U);
    EXPECT_TRUE(t.store->content().info(digest));
    EXPECT_TRUE(t.store->snapshots().stat("bottom"));
    co_await t.store->release(std::move(lease));
  }(*this));
}

TEST_F(EmbeddedPorts, NothingIsMadeUnderALeaseThatHasExpired) {
  run([](EmbeddedPorts& t) -> Awaitable<> {
    const auto lease = co_await t.store->acquire_lease(std::chrono::seconds(0));
    const auto report = co_await t.store->collect();
    EXPECT_EQ(report.leases, 1U);
    const auto leased = t.store->snapshotter_port(lease.id());
    const Labels labels;
    const auto failure = co_await failure_of_awaitable(leased->prepare("key", "", labels));
    EXPECT_EQ(failure, Errc::failed_precondition);
  }(*this));
}

}  // namespace
}  // namespace lazypull::test
