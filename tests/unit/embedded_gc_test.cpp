#include "snapshot/embedded/store.hpp"
#include "tests/support/store_fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <functional>
#include <signal.h>
#include <string>
#include <thread>
#include <unistd.h>

namespace lazypull::test {
namespace {

struct EmbeddedGarbage : testing::Test {
  TempDir dir{"garbage"};
  std::shared_ptr<EmbeddedStore> store = open();

  std::shared_ptr<EmbeddedStore> open(const std::string& name_space = "default") const {
    return EmbeddedStore::open(dir / "store", name_space);
  }

  bool has(const Digest& digest) const { return store->content().info(digest).has_value(); }
  bool has_snapshot(const std::string& name) const { return store->snapshots().stat(name).has_value(); }

  StoreLease lease(std::chrono::seconds lifetime = std::chrono::hours(1)) const {
    return acquire_lease(store->layout(), store->metadata(), "default", lifetime);
  }
  void protect(const StoreLease& lease, LeaseResource kind, const std::string& key) const {
    protect_resource(store->metadata(), lease.id(), kind, key);
  }
};

TEST_F(EmbeddedGarbage, AnImageKeepsWhatItsLabelsLeadTo) {
  add_snapshot(*store, "bottom");
  add_snapshot(*store, "top", "bottom");
  const auto layer = add_content(*store, "layer");
  const auto config = add_content(*store, "config", {{"containerd.io/gc.ref.snapshot.overlayfs", "top"}});
  const auto manifest = add_content(*store, "manifest",
                                    {{"containerd.io/gc.ref.content.config", config.str()},
                                     {"containerd.io/gc.ref.content.l.0", layer.str()}});
  const auto index = add_content(*store, "index", {{"containerd.io/gc.ref.content.m.0", manifest.str()}});
  add_image(*store, "app", index, 5);
  EXPECT_EQ(store->collect_garbage(), GarbageReport());
  EXPECT_TRUE(has(layer));

  store->images().remove("app");
  const auto report = store->collect_garbage();
  EXPECT_EQ(report.contents, 4U);
  EXPECT_EQ(report.blobs, 4U);
  EXPECT_EQ(report.snapshots, 2U);
  EXPECT_EQ(report.directories, 2U);
  EXPECT_GT(report.bytes, 0U);
  EXPECT_EQ(entries_in(store->layout().blobs() / "sha256"), 0U);
  EXPECT_EQ(entries_in(store->layout().snapshots()), 0U);
  EXPECT_EQ(entries_in(store->layout().trash()), 0U);
}

TEST_F(EmbeddedGarbage, OnlyWhatNoOtherImageSharesGoes) {
  const auto layer = add_content(*store, "shared layer");
  const Labels labels{{"containerd.io/gc.ref.content.l.0", layer.str()}};
  const auto one = add_content(*store, "one", labels);
  const auto two = add_content(*store, "two", labels);
  add_image(*store, "one", one, 3);
  add_image(*store, "two", two, 3);
  store->images().remove("one");
  EXPECT_EQ(store->collect_garbage().contents, 1U);
  EXPECT_TRUE(has(layer));
  EXPECT_TRUE(has(two));
  EXPECT_FALSE(has(one));
}

TEST_F(EmbeddedGarbage, LabelsOfOtherSnapshottersAndOtherKindsKeepNothing) {
  add_snapshot(*store, "top");
  const auto layer = add_content(*store, "layer");
  const auto manifest = add_content(*store, "manifest",
                                    {{"containerd.io/gc.ref.snapshot.native", "top"},
                                     {"containerd.io/gc.ref.contents", layer.str()},
                                     {"my.containerd.io/gc.ref.content.l.0", layer.str()}});
  add_image(*store, "app", manifest, 8);
  store->collect_garbage();
  EXPECT_FALSE(has_snapshot("top"));
  EXPECT_FALSE(has(layer));
  EXPECT_TRUE(has(manifest));
}

TEST_F(EmbeddedGarbage, LabelsThatLeadInACircleOrNowhereDoNoHarm) {
  const auto later = Digest::sha256_of("two");
  const auto one = add_content(*store, "one",
                               {{"containerd.io/gc.ref.content", later.str()},
                                {"containerd.io/gc.ref.content/x", "no digest"},
                                {"containerd.io/gc.ref.snapshot.overlayfs", "nothing"}});
  add_content(*store, "two", {{"containerd.io/gc.ref.content.0", one.str()}});
  add_image(*store, "app", one, 3);
  EXPECT_EQ(store->collect_garbage(), GarbageReport());
  store->images().remove("app");
  EXPECT_EQ(store->collect_garbage().contents, 2U);
}

TEST_F(EmbeddedGarbage, ARootLabelKeepsContentAndSnapshots) {
  const Labels root{{"containerd.io/gc.root", "2024-05-01T12:00:00Z"}};
  const auto kept = add_content(*store, "kept", root);
  add_snapshot(*store, "bottom");
  add_snapshot(*store, "top", "bottom", root);
  EXPECT_EQ(store->collect_garbage(), GarbageReport());
  EXPECT_TRUE(has(kept));
  EXPECT_TRUE(has_snapshot("bottom"));
}

TEST_F(EmbeddedGarbage, ABlobStaysAsLongAsAnyNamespaceHasIt) {
  const auto other = open("other");
  const auto digest = add_content(*store, "shared");
  add_content(*other, "shared");
  add_image(*other, "app", digest, 6);
  const auto report = store->collect_garbage();
  EXPECT_EQ(report.contents, 1U);
  EXPECT_EQ(report.blobs, 0U);
  EXPECT_FALSE(has(digest));
  EXPECT_EQ(other->content().read(digest, 6), "shared");
}

TEST_F(EmbeddedGarbage, AReferenceDoesNotReachIntoAnotherNamespace) {
  const auto other = open("other");
  const auto digest = add_content(*store, "shared");
  add_image(*other, "app", digest, 6);
  EXPECT_EQ(store->collect_garbage().contents, 1U);
}

TEST_F(EmbeddedGarbage, ALeaseOfThisProcessProtectsFromAnotherStoreObject) {
  const auto digest = add_content(*store, "leased");
  const auto held = lease();
  protect(held, LeaseResource::content, digest.str());
  EXPECT_EQ(open()->collect_garbage(), GarbageReport());
  EXPECT_TRUE(has(digest));
}

TEST_F(EmbeddedGarbage, ALeaseThatIsLetGoProtectsNothingMore) {
  const auto digest = add_content(*store, "leased");
  {
    const auto held = lease();
    protect(held, LeaseResource::content, digest.str());
  }
  const auto report = store->collect_garbage();
  EXPECT_EQ(report.leases, 1U);
  EXPECT_EQ(report.contents, 1U);
  EXPECT_EQ(entries_in(store->layout().leases()), 0U);
}

TEST_F(EmbeddedGarbage, AnExpiredLeaseProtectsNothingMore) {
  const auto digest = add_content(*store, "leased");
  const auto held = lease();
  protect(held, LeaseResource::content, digest.str());
  store->metadata().write([](Rows& rows) { rows.database.execute("UPDATE leases SET expires = 0"); });
  EXPECT_EQ(store->collect_garbage().leases, 1U);
  EXPECT_FALSE(has(digest));
}

TEST_F(EmbeddedGarbage, ContentThatALeaseIsAboutToAdoptFromAnotherNamespaceStays) {
  const auto other = open("other");
  const auto digest = add_content(*other, "shared");
  const auto held = lease();
  const auto ingest = store->content().ingest("ref", expect("shared"), held.id());
  const auto report = store->collect_garbage();
  EXPECT_EQ(report.contents, 1U);
  EXPECT_EQ(report.blobs, 0U);
  EXPECT_EQ(ingest->commit(digest, {}), CommitOutcome::committed);
  EXPECT_EQ(store->content().read(digest, 6), "shared");
}

TEST_F(EmbeddedGarbage, ContentThatVanishesWhileItIsAdoptedWithoutALeaseIsAnError) {
  const auto other = open("other");
  const auto digest = add_content(*other, "shared");
  const auto ingest = store->content().ingest("ref", expect("shared"), {});
  store->collect_garbage();
  EXPECT_EQ(failure_of([&] { ingest->commit(digest, {}); }), Errc::unavailable);
}

TEST_F(EmbeddedGarbage, FilesWithoutARecordGo) {
  write_file(store->layout().blobs() / "sha256" / std::string(64, 'a'), "killed before it was recorded");
  write_file(store->layout().upper(4711) / "file", "likewise");
  write_file(store->layout().trash() / "old/file", "killed while deleting");
  write_file(store->layout().lease_lock("nobody"), "");
  const auto report = store->collect_garbage();
  EXPECT_EQ(report.blobs, 1U);
  EXPECT_EQ(report.directories, 1U);
  EXPECT_EQ(entries_in(store->layout().blobs() / "sha256"), 0U);
  EXPECT_EQ(entries_in(store->layout().snapshots()), 0U);
  EXPECT_EQ(entries_in(store->layout().trash()), 0U);
  EXPECT_EQ(entries_in(store->layout().leases()), 0U);
}

TEST_F(EmbeddedGarbage, OnlyOldIngestsThatNobodyWritesGo) {
  const GarbageOptions old_is_now{.ingest_age = std::chrono::seconds(-1)};
  store->content().ingest("partial", {}, {})->write(bytes_of("some"));
  EXPECT_EQ(store->collect_garbage().ingests, 0U);
  const auto busy = store->content().ingest("busy", {}, {});
  EXPECT_EQ(store->collect_garbage(old_is_now).ingests, 1U);
  EXPECT_EQ(store->content().ingest("partial", {}, {})->offset(), 0U);
  busy->write(bytes_of("still"));
  EXPECT_EQ(busy->commit(Digest::sha256_of("still"), {}), CommitOutcome::committed);
}

TEST_F(EmbeddedGarbage, AnIngestThatALeaseNamesStays) {
  const GarbageOptions old_is_now{.ingest_age = std::chrono::seconds(-1)};
  const auto held = lease();
  store->content().ingest("partial", {}, held.id())->write(bytes_of("some"));
  EXPECT_EQ(store->collect_garbage(old_is_now).ingests, 0U);
  EXPECT_EQ(store->content().ingest("partial", {}, {})->offset(), 4U);
}

TEST_F(EmbeddedGarbage, AnActiveSnapshotWithoutALeaseGoesWithAllThatIsBuiltUponNothingElse) {
  add_snapshot(*store, "bottom");
  store->snapshots().prepare("active", "bottom", {}, {});
  store->snapshots().view("view", "bottom", {}, {});
  EXPECT_EQ(store->collect_garbage().snapshots, 3U);
}

TEST_F(EmbeddedGarbage, SnapshotIdsAreNotUsedAgain) {
  add_snapshot(*store, "one");
  const auto id = store->snapshots().stat("one")->id;
  store->collect_garbage();
  add_snapshot(*store, "two");
  EXPECT_GT(store->snapshots().stat("two")->id, id);
}

TEST_F(EmbeddedGarbage, CollectingWhileOthersPullUnderLeasesTakesNothingFromThem) {
  std::atomic<bool> done = false;
  std::thread collector([&] {
    const auto another = open();
    while (!done) another->collect_garbage({.ingest_age = std::chrono::seconds(0)});
  });
  for (int i = 0; i < 60; ++i) {
    auto held = lease();
    const auto bytes = "layer " + std::to_string(i % 7);
    const auto digest = Digest::sha256_of(bytes);
    if (const auto ingest = store->content().ingest("layer-" + digest.str(), expect(bytes), held.id())) {
      ingest->write(bytes_of(bytes).subspan(static_cast<std::size_t>(ingest->offset())));
      ingest->commit(digest, {});
    }
    EXPECT_EQ(store->content().read(digest, 100), bytes);
    const auto key = "key " + std::to_string(i);
    const auto chain = "chain " + std::to_string(i);
    store->snapshots().prepare(key, "", {}, held.id());
    write_file(store->layout().upper(store->snapshots().stat(key)->id) / "file", bytes);
    store->snapshots().commit(chain, key, {}, held.id());
    EXPECT_EQ(read_file(store->snapshots().layers(chain).front() / "file"), bytes);
    release_lease(store->layout(), store->metadata(), std::move(held));
  }
  done = true;
  collector.join();
  store->collect_garbage();
  EXPECT_EQ(entries_in(store->layout().blobs() / "sha256"), 0U);
  EXPECT_EQ(entries_in(store->layout().snapshots()), 0U);
}

/// A process that works on a store of its own making until it is killed.
class Victim {
 public:
  explicit Victim(const std::function<void(int ready)>& work) {
    std::array<int, 2> ends{};
    if (::pipe(ends.data()) != 0) throw std::runtime_error("pipe");
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(ends[0]);
      try {
        work(ends[1]);
      } catch (const std::exception& failure) {
        std::fprintf(stderr, "%s\n", failure.what());
      }
      ::_exit(1);
    }
    ::close(ends[1]);
    char byte = 0;
    ready_ = ::read(ends[0], &byte, 1) == 1;
    ::close(ends[0]);
  }
  ~Victim() { kill(); }

  bool ready() const { return ready_; }
  /// False if it had ended by itself before.
  bool kill() {
    if (pid_ <= 0) return false;
    ::kill(pid_, SIGKILL);
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFSIGNALED(status);
  }

 private:
  ::pid_t pid_ = 0;
  bool ready_ = false;
};

void say_ready(int end) {
  [[maybe_unused]] const auto written = ::write(end, "r", 1);
}

// No store is open in the process that forks, so that the child has no part of anything.
struct KilledProcess : testing::Test {
  TempDir dir{"killed"};
  std::filesystem::path folder = dir / "store";

  static void expect_consistent(EmbeddedStore& store) {
    std::size_t blobs = 0;
    for (const auto& item : store.content().list()) {
      const auto bytes = store.content().read(item.info.digest, item.info.size);
      EXPECT_EQ(bytes.size(), item.info.size);
      EXPECT_EQ(Digest::sha256_of(bytes), item.info.digest);
      ++blobs;
    }
    EXPECT_EQ(entries_in(store.layout().blobs() / "sha256"), blobs);
    for (const auto& snapshot : store.snapshots().list()) {
      EXPECT_TRUE(std::filesystem::is_directory(store.layout().upper(snapshot.id)));
    }
    EXPECT_EQ(entries_in(store.layout().snapshots()), store.snapshots().list().size());
    EXPECT_EQ(entries_in(store.layout().trash()), 0U);
  }
};

TEST_F(KilledProcess, LeavesALeaseThatIsDeadAtOnceAndAnIngestThatGoesOn) {
  Victim victim([this](int ready) {
    const auto store = EmbeddedStore::open(folder, "default");
    const auto lease = acquire_lease(store->layout(), store->metadata(), "default", std::chrono::hours(24));
    const auto ingest = store->content().ingest("layer", {}, lease.id());
    ingest->write(bytes_of("half of it"));
    const auto done = store->content().ingest("whole", {}, lease.id());
    done->write(bytes_of("whole"));
    done->commit(Digest::sha256_of("whole"), {});
    store->snapshots().prepare("active", "", {}, lease.id());
    say_ready(ready);
    ::pause();
  });
  ASSERT_TRUE(victim.ready());
  const auto store = EmbeddedStore::open(folder, "default");
  EXPECT_EQ(store->collect_garbage(), GarbageReport());
  EXPECT_EQ(failure_of([&] { store->content().ingest("layer", {}, {}); }), Errc::locked);

  EXPECT_TRUE(victim.kill());
  const auto report = store->collect_garbage();
  EXPECT_EQ(report.leases, 1U);
  EXPECT_EQ(report.contents, 1U);
  EXPECT_EQ(report.snapshots, 1U);
  EXPECT_EQ(report.ingests, 0U);
  EXPECT_EQ(bytes_in(*store->content().ingest("layer", {}, {})), "half of it");
}

TEST_F(KilledProcess, InTheMiddleOfCommitsLeavesAConsistentStore) {
  for (int round = 0; round < 12; ++round) {
    Victim victim([this, round](int ready) {
      const auto store = EmbeddedStore::open(folder, "default");
      const Labels root{{"containerd.io/gc.root", "yes"}};
      say_ready(ready);
      for (int i = 0;; ++i) {
        const auto name = std::to_string(round) + "-" + std::to_string(i);
        add_content(*store, name, i % 2 == 0 ? root : Labels());
        add_snapshot(*store, name, "", i % 2 == 0 ? root : Labels());
        if (i % 5 == 0) add_image(*store, name, Digest::sha256_of(name), name.size());
        if (i % 7 == 0) store->collect_garbage();
      }
    });
    ASSERT_TRUE(victim.ready());
    ::usleep(static_cast<::useconds_t>(3000 + 4111 * round));
    EXPECT_TRUE(victim.kill());
    const auto store = EmbeddedStore::open(folder, "default");
    store->collect_garbage();
    expect_consistent(*store);
    EXPECT_EQ(add_content(*store, "after round " + std::to_string(round)),
              Digest::sha256_of("after round " + std::to_string(round)));
  }
}

TEST_F(KilledProcess, SeveralAtOnceDoNotHarmTheOneThatGoesOn) {
  const auto work = [this](int ready) {
    const auto store = EmbeddedStore::open(folder, "default");
    say_ready(ready);
    for (int i = 0;; ++i) {
      add_content(*store, "content " + std::to_string(i % 20));
      if (i % 3 == 0) store->collect_garbage();
    }
  };
  Victim one(work);
  Victim two(work);
  ASSERT_TRUE(one.ready() && two.ready());
  const auto store = EmbeddedStore::open(folder, "default");
  const auto lease = acquire_lease(store->layout(), store->metadata(), "default", std::chrono::hours(1));
  for (int i = 0; i < 20; ++i) {
    const auto bytes = "content " + std::to_string(i);
    protect_resource(store->metadata(), lease.id(), LeaseResource::content, Digest::sha256_of(bytes).str());
    for (;;) {
      const auto digest = Digest::sha256_of(bytes);
      const auto ingest = store->content().ingest("mine-" + std::to_string(i), expect(bytes), lease.id());
      if (!ingest) break;
      ingest->write(bytes_of(bytes).subspan(static_cast<std::size_t>(ingest->offset())));
      ingest->commit(digest, {});
    }
    if (i == 5) {
      EXPECT_TRUE(one.kill());
    }
    if (i == 10) {
      EXPECT_TRUE(two.kill());
    }
  }
  store->collect_garbage();
  for (int i = 0; i < 20; ++i) {
    const auto bytes = "content " + std::to_string(i);
    EXPECT_EQ(store->content().read(Digest::sha256_of(bytes), 100), bytes);
  }
  expect_consistent(*store);
}

}  // namespace
}  // namespace lazypull::test
