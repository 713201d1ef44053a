// Snapshots that consist of layers in shared storage: with real storages, and with one that a test has in
// hand.

#include "snapshot/embedded/remote_snapshots.hpp"

#include "engine/chain_id.hpp"
#include "engine/labels.hpp"
#include "snapshot/embedded/merge_layers.hpp"
#include "snapshot/embedded/store.hpp"
#include "tests/support/alone.hpp"
#include "tests/support/published_layer.hpp"
#include "tests/support/store_fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <functional>
#include <map>
#include <set>
#include <signal.h>
#include <string>
#include <unistd.h>
#include <vector>

namespace lazypull::test {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::UnorderedElementsAre;

constexpr const char* marked_2019 = "containerd.io/snapshot/remote_snapshot";
constexpr const char* marked_today = "containerd.io/snapshot/remote";

Digest layer_of(const std::string& blob) {
  return Digest::sha256_of(blob);
}

Digest diff_id_of(const std::string& blob) {
  return Digest::sha256_of("tar:" + blob);
}

/// The ChainID of layers that publish_layer makes, lowest first.
std::string chain_of(const std::vector<std::string>& blobs) {
  std::vector<Digest> diff_ids;
  for (const auto& blob : blobs) diff_ids.push_back(diff_id_of(blob));
  return chain_ids(diff_ids).back().str();
}

Labels today(const std::string& chain_id, const std::string& blob) {
  return {{"containerd.io/snapshot.ref", chain_id},
          {"containerd.io/snapshot/cri.layer-digest", layer_of(blob).str()}};
}

Labels v2019(const std::string& blob) {
  return {{"containerd.io/snapshot/remote_snapshot/ref", "registry.example.com/app:1"},
          {"containerd.io/snapshot/remote_snapshot/digest", layer_of(blob).str()}};
}

LayerRecord record_of(const std::string& blob) {
  LayerRecord record;
  record.digest = layer_of(blob);
  record.diff_id = diff_id_of(blob);
  return record;
}

std::string message_of(const std::function<void()>& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.message();
  }
  return "it did not fail";
}

TEST(RemoteRequestInLabels, OfTodayNamesTheChainIdAndTheLayerInEitherDialect) {
  const auto chain = chain_of({"a"});
  for (const auto* key :
       {"containerd.io/snapshot/cri.layer-digest", "containerd.io/snapshot/remote/stargz.digest",
        "containerd.io/snapshot/remote_snapshot/digest"}) {
    const auto request = remote_request({{"containerd.io/snapshot.ref", chain}, {key, layer_of("a").str()}});
    ASSERT_TRUE(request) << key;
    EXPECT_EQ(request->layer, layer_of("a"));
    EXPECT_EQ(request->chain_id, Digest::parse(chain));
  }
}

TEST(RemoteRequestInLabels, Of2019NamesTheLayerOnly) {
  const auto request = remote_request(v2019("a"));
  ASSERT_TRUE(request);
  EXPECT_EQ(request->layer, layer_of("a"));
  EXPECT_FALSE(request->chain_id);
}

TEST(RemoteRequestInLabels, IsNoneWithoutAProtocolOrALayerOrWithWhatIsNoDigest) {
  const auto chain = chain_of({"a"});
  EXPECT_FALSE(remote_request({}));
  EXPECT_FALSE(remote_request({{"containerd.io/snapshot.ref", chain}}));
  EXPECT_FALSE(remote_request({{"containerd.io/snapshot/cri.layer-digest", layer_of("a").str()}}));
  EXPECT_FALSE(remote_request({{"containerd.io/snapshot/remote_snapshot/digest", layer_of("a").str()}}));
  EXPECT_FALSE(remote_request(today("a name", "a")));
  auto labels = v2019("a");
  labels["containerd.io/snapshot/remote_snapshot/digest"] = "sha256:../../etc";
  EXPECT_FALSE(remote_request(labels));
}

TEST(ChainIdOfAName, IsItsLastPart) {
  const auto chain = chain_of({"a"});
  EXPECT_EQ(chain_id_in(chain), Digest::parse(chain));
  EXPECT_EQ(chain_id_in("default/17/" + chain), Digest::parse(chain));
  EXPECT_FALSE(chain_id_in("default/17/extract-1 " + chain));
  EXPECT_FALSE(chain_id_in("name"));
  EXPECT_FALSE(chain_id_in(""));
}

TEST(ALayerOfAChainId, IsTheOneWhoseDiffIdMakesItUponTheParent) {
  const auto bottom = chain_of({"a"});
  const auto top = Digest::parse(chain_of({"a", "b"}));
  EXPECT_TRUE(makes_chain_id(record_of("a"), "", Digest::parse(bottom)));
  EXPECT_TRUE(makes_chain_id(record_of("b"), bottom, top));
  EXPECT_TRUE(makes_chain_id(record_of("b"), "k8s.io/3/" + bottom, top));
  EXPECT_FALSE(makes_chain_id(record_of("b"), "", top));
  EXPECT_FALSE(makes_chain_id(record_of("a"), bottom, top));
  EXPECT_FALSE(makes_chain_id(record_of("b"), "a parent of any name", top));
  EXPECT_FALSE(makes_chain_id(record_of("b"), chain_of({"b"}), top));
}

TEST(ALayerOfAChainId, LiesOnlyUponWhatItsRecordSays) {
  const auto bottom = chain_of({"a"});
  auto record = record_of("b");
  record.below = Digest::parse(bottom);
  EXPECT_TRUE(may_lie_upon(record, "default/1/" + bottom));
  EXPECT_FALSE(may_lie_upon(record, chain_of({"c"})));
  EXPECT_FALSE(may_lie_upon(record, ""));
  EXPECT_FALSE(may_lie_upon(record, "a parent of any name"));
  record.below = Digest();
  EXPECT_TRUE(may_lie_upon(record, ""));
  EXPECT_FALSE(may_lie_upon(record, bottom));
}

/// Layers that are images, whose "mounts" are folders; and whatever else a test wants to happen.
class HandMadeSource final : public LayerSource {
 public:
  explicit HandMadeSource(fs::path folder) : folder_(std::move(folder)) {}

  void add(const std::string& blob) {
    RemoteLayer layer;
    layer.record = record_of(blob);
    layer.record.format = LayerFormat::erofs;
    layer.record.image_size = 4096;
    layer.record.image_digest = Digest::sha256_of("image of " + blob);
    layer.data = "/nonexistent/storage/sha256/" + std::string(layer.record.digest.hex()) + "/layer.erofs";
    layers[layer.record.digest] = layer;
  }

  std::optional<RemoteLayer> find(const Digest& layer) override {
    if (on_find) on_find();
    const auto found = layers.find(layer);
    if (found == layers.end()) return std::nullopt;
    return found->second;
  }
  fs::path attach(const RemoteLayer& layer) override {
    ++attaches;
    if (on_attach) on_attach();
    const auto place = folder_ / layer.record.digest.hex();
    write_file(place / "file", "from " + layer.record.digest.str());
    mounted.insert(layer.record.digest);
    if (after_attach) after_attach();
    return place;
  }
  void detach(const Digest& layer) override { mounted.erase(layer); }
  std::vector<Digest> attached() const override {
    if (on_attached) on_attached();
    return {mounted.begin(), mounted.end()};
  }

  std::map<Digest, RemoteLayer> layers;
  std::set<Digest> mounted;
  int attaches = 0;
  std::function<void()> on_find;
  std::function<void()> on_attach;
  std::function<void()> after_attach;
  std::function<void()> on_attached;

 private:
  fs::path folder_;
};

struct Base : testing::Test {
  TempDir dir{"remote-snapshots"};
  fs::path storage = dir / "storage";
  std::shared_ptr<EmbeddedStore> store = open();

  std::shared_ptr<EmbeddedStore> open(const std::string& name_space = "default") const {
    return EmbeddedStore::open(dir / "store", name_space);
  }
  SnapshotDirectories& snapshots() const { return store->snapshots(); }

  std::shared_ptr<RemoteLayers> storages(const fs::path& place) const {
    RemoteLayersOptions options;
    options.storages = {place};
    options.mounts = store->layout().layer_mounts();
    return std::make_shared<RemoteLayers>(std::move(options));
  }
  fs::path upper(const std::string& name) const { return store->layout().upper(snapshots().stat(name)->id); }

  bool prepare_today(const std::vector<std::string>& blobs, const std::string& parent = {}) const {
    const auto chain = chain_of(blobs);
    return snapshots().prepare("extract " + chain, parent, today(chain, blobs.back()), {}).already_exists;
  }
  /// All of them are remote, named by their ChainIDs.
  std::string provide(const std::vector<std::string>& blobs) const {
    std::string parent;
    std::vector<std::string> below;
    for (const auto& blob : blobs) {
      below.push_back(blob);
      if (!prepare_today(below, parent)) throw std::logic_error(blob + " is not remote");
      parent = chain_of(below);
    }
    return parent;
  }
};

/// With layers "a", "b" and "c" as directories in a real storage.
struct RemoteSnapshots : Base {
  RemoteSnapshots() {
    for (const auto* blob : {"a", "b", "c"}) publish_layer(storage, blob, LayerFormat::directory);
    snapshots().use_remote_layers(storages(storage));
  }
  std::string file_of(const std::string& blob) const {
    return read_file(storage / "sha256" / layer_of(blob).hex() / "fs/file");
  }
};

TEST_F(RemoteSnapshots, ByTodaysProtocolAreCommittedUnderTheChainIdAndAnsweredAsThere) {
  const auto chain = chain_of({"a"});
  auto labels = today(chain, "a");
  labels["containerd.io/snapshot/cri.image-ref"] = "registry.example.com/app:1";
  const auto outcome = snapshots().prepare("key", "", labels, {});
  EXPECT_TRUE(outcome.already_exists);
  EXPECT_THAT(outcome.mounts, IsEmpty());
  EXPECT_FALSE(snapshots().stat("key"));
  const auto found = snapshots().stat(chain);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->info.kind, SnapshotKind::committed);
  EXPECT_EQ(found->remote, layer_of("a"));
  EXPECT_THAT(found->info.labels, Contains(std::pair(std::string(marked_today), "remote snapshot")));
  EXPECT_TRUE(found->info.labels.contains(marked_2019)) << "clients of 2019 know it too";
  for (const auto& label : labels) EXPECT_THAT(found->info.labels, Contains(label));
  EXPECT_EQ(read_file(upper(chain) / "file"), "from a");
  EXPECT_TRUE(fs::is_symlink(upper(chain)));
}

TEST_F(RemoteSnapshots, LieUponParentsAsContainerdNamesThem) {
  add_snapshot(*store, "default/3/" + chain_of({"a"}));
  EXPECT_TRUE(prepare_today({"a", "b"}, "default/3/" + chain_of({"a"})));
  EXPECT_EQ(snapshots().stat(chain_of({"a", "b"}))->info.parent, "default/3/" + chain_of({"a"}));
}

TEST_F(RemoteSnapshots, AreNotMadeOfALayerWithAnotherDiffIdThanTheImages) {
  const auto wrong = chain_of({"something else"});
  const auto outcome = snapshots().prepare("key", "", today(wrong, "a"), {});
  EXPECT_FALSE(outcome.already_exists);
  EXPECT_THAT(outcome.mounts, SizeIs(1));
  EXPECT_FALSE(snapshots().stat("key")->remote);
  EXPECT_FALSE(snapshots().stat(wrong));
}

TEST_F(RemoteSnapshots, AreNotMadeWhereNoStorageHasTheLayerOrNoneIsUsed) {
  EXPECT_FALSE(prepare_today({"unpublished"}));
  snapshots().use_remote_layers(nullptr);
  EXPECT_FALSE(prepare_today({"a"}));
}

TEST_F(RemoteSnapshots, ByTheProtocolOf2019AreActiveAndMarkedAndStaySoWhenCommitted) {
  const auto outcome = snapshots().prepare("key", "", v2019("a"), {});
  EXPECT_FALSE(outcome.already_exists);
  const Mount expected{.type = "bind", .source = upper("key"), .target = "", .options = {"ro", "rbind"}};
  EXPECT_THAT(outcome.mounts, ElementsAre(expected)) << "there is nothing to be filled";
  EXPECT_EQ(snapshots().mounts("key"), outcome.mounts);
  EXPECT_EQ(snapshots().stat("key")->info.kind, SnapshotKind::active);
  EXPECT_TRUE(snapshots().stat("key")->info.labels.contains(marked_2019));
  EXPECT_EQ(snapshots().commit(chain_of({"a"}), "key", v2019("a"), {}), CommitOutcome::committed);
  const auto found = snapshots().stat(chain_of({"a"}));
  EXPECT_TRUE(found->info.labels.contains(marked_2019));
  EXPECT_EQ(found->remote, layer_of("a"));
  EXPECT_EQ(read_file(upper(chain_of({"a"})) / "file"), "from a");
}

TEST_F(RemoteSnapshots, ByTheProtocolOf2019AreAReadOnlyOverlayUponAParent) {
  provide({"a"});
  const auto outcome = snapshots().prepare("key", chain_of({"a"}), v2019("b"), {});
  ASSERT_THAT(outcome.mounts, SizeIs(1));
  EXPECT_THAT(outcome.mounts[0].options, Contains("ro"));
  EXPECT_THAT(outcome.mounts[0].options,
              Contains("lowerdir=" + upper("key").string() + ":" + upper(chain_of({"a"})).string()));
}

TEST_F(RemoteSnapshots, OfAWrongDiffIdAreRefusedUnderTheNameOfAChainId) {
  snapshots().prepare("key", "", v2019("a"), {});
  const auto wrong = "default/9/" + chain_of({"something else"});
  EXPECT_EQ(failure_of([&] { snapshots().commit(wrong, "key", v2019("a"), {}); }), Errc::failed_precondition);
  EXPECT_EQ(snapshots().stat("key")->info.kind, SnapshotKind::active);
  EXPECT_EQ(snapshots().commit("a name that says nothing", "key", {}, {}), CommitOutcome::committed);
}

TEST_F(RemoteSnapshots, OfAnUnknownLayerAreOrdinaryOnesWithoutTheMark) {
  const auto outcome = snapshots().prepare("key", "", v2019("unpublished"), {});
  EXPECT_THAT(outcome.mounts.at(0).options, Contains("rw"));
  EXPECT_FALSE(snapshots().stat("key")->info.labels.contains(marked_2019));
}

TEST_F(RemoteSnapshots, AreOnlySaidToBeSoByTheSnapshotter) {
  const Labels claim{{marked_2019, "true"}, {marked_today, "remote snapshot"}, {"other", "kept"}};
  snapshots().prepare("key", "", claim, {});
  EXPECT_EQ(snapshots().stat("key")->info.labels, (Labels{{"other", "kept"}}));
  snapshots().commit("name", "key", claim, {});
  EXPECT_EQ(snapshots().stat("name")->info.labels, (Labels{{"other", "kept"}}));
  snapshots().view("view", "name", claim, {});
  EXPECT_EQ(snapshots().stat("view")->info.labels, (Labels{{"other", "kept"}}));
}

TEST_F(RemoteSnapshots, AreMadeOnceForEachParent) {
  const auto bottom = chain_of({"a"});
  const auto top = chain_of({"a", "b"});
  for (const auto* parent : {"one/1/", "two/2/"}) add_snapshot(*store, parent + bottom);
  EXPECT_TRUE(prepare_today({"a", "b"}, "one/1/" + bottom));
  EXPECT_TRUE(prepare_today({"a", "b"}, "one/1/" + bottom));
  EXPECT_TRUE(prepare_today({"a", "b"}, "two/2/" + bottom)) << "another namespace of containerd";
  EXPECT_TRUE(prepare_today({"a", "b"}, "two/2/" + bottom));
  std::vector<std::string> parents;
  for (const auto& snapshot : snapshots().list()) {
    if (!snapshot.remote) continue;
    EXPECT_EQ(snapshot.info.labels.at("containerd.io/snapshot.ref"), top) << "by which containerd finds it";
    EXPECT_EQ(chain_id_in(snapshot.info.name), Digest::parse(top)) << "for layers that lie upon it";
    parents.push_back(snapshot.info.parent);
  }
  EXPECT_THAT(parents, UnorderedElementsAre("one/1/" + bottom, "two/2/" + bottom));
}

TEST_F(RemoteSnapshots, DoNotMakeAnotherNamespacesOrdinarySnapshotsTheirs) {
  const auto chain = chain_of({"unpublished"});
  add_snapshot(*store, "one/1/" + chain, "", today(chain, "unpublished"));
  EXPECT_FALSE(prepare_today({"unpublished"}));
}

TEST_F(RemoteSnapshots, AreRefusedWhereAnOrdinaryOneWouldBe) {
  const auto labels = today(chain_of({"a"}), "a");
  snapshots().prepare("key", "", {}, {});
  EXPECT_EQ(failure_of([&] { snapshots().prepare("key", "", labels, {}); }), Errc::already_exists);
  EXPECT_EQ(failure_of([&] { snapshots().prepare("new", "nothing", labels, {}); }), Errc::not_found);
  EXPECT_EQ(failure_of([&] { snapshots().prepare("new", "key", labels, {}); }), Errc::invalid_argument);
  EXPECT_EQ(failure_of([&] { snapshots().prepare("", "", v2019("a"), {}); }), Errc::invalid_argument);
  EXPECT_EQ(failure_of([&] { snapshots().prepare("new", "", labels, "expired lease"); }),
            Errc::failed_precondition);
  EXPECT_THAT(snapshots().list(), SizeIs(1));
  EXPECT_EQ(entries_in(store->layout().snapshots()), 1U);
}

TEST_F(RemoteSnapshots, ShowTheirFilesThroughViewsAndUnderActiveOnes) {
  const auto one = provide({"a"});
  const Mount bind{.type = "bind", .source = upper(one), .target = "", .options = {"ro", "rbind"}};
  EXPECT_THAT(snapshots().view("view", one, {}, {}), ElementsAre(bind));
  const auto two = provide({"a", "b"});
  const auto active = snapshots().prepare("container", two, {}, {}).mounts;
  EXPECT_THAT(active.at(0).options, Contains("lowerdir=" + upper(two).string() + ":" + upper(one).string()));
  EXPECT_THAT(snapshots().layers(two), ElementsAre(storage / "sha256" / layer_of("b").hex() / "fs",
                                                   storage / "sha256" / layer_of("a").hex() / "fs"));
}

TEST_F(RemoteSnapshots, ThatRepeatALayerShowItOnceSinceOverlayfsRefusesItTwice) {
  ASSERT_EQ(::geteuid(), 0U) << "needs root";
  const auto top = provide({"a", "b", "a"});
  EXPECT_THAT(snapshots().layers(top), SizeIs(2));
  const auto mounts = snapshots().view("view", top, {}, {});
  const auto target = dir / "target";
  fs::create_directory(target);
  ASSERT_EQ(::mount("overlay", target.c_str(), "overlay", MS_RDONLY, mounts.at(0).options.back().c_str()), 0);
  EXPECT_EQ(read_file(target / "file"), "from a");
  ::umount2(target.c_str(), MNT_DETACH);
  EXPECT_THAT(snapshots().view("same", provide({"b", "b"}), {}, {}).at(0).type, "bind");
}

TEST_F(RemoteSnapshots, AreMergedIntoACopyLikeOthers) {
  const auto bottom = provide({"a"});
  add_snapshot(*store, "top", bottom);
  const auto target = dir / "copy";
  fs::create_directory(target);
  merge_layers(snapshots().layers("top"), target);
  EXPECT_EQ(read_file(target / "file"), "from a");
  EXPECT_EQ(read_file(target / "top"), "from top");
}

TEST_F(RemoteSnapshots, GiveTheirRootsOwnerToTheLayersAbove) {
  ASSERT_EQ(::geteuid(), 0U) << "needs root";
  const auto data = storage / "sha256" / layer_of("a").hex() / "fs";
  ASSERT_EQ(::chown(data.c_str(), 1234, 5678), 0);
  snapshots().prepare("key", provide({"a"}), {}, {});
  struct ::stat status{};
  ASSERT_EQ(::stat(upper("key").c_str(), &status), 0);
  EXPECT_EQ(status.st_uid, 1234U);
  EXPECT_EQ(status.st_gid, 5678U);
}

TEST_F(RemoteSnapshots, AreNeverDeletedThroughTheirLink) {
  const auto top = provide({"a", "b"});
  snapshots().prepare("2019", "", v2019("c"), {});
  EXPECT_TRUE(snapshots().remove(top));
  EXPECT_TRUE(snapshots().remove("2019"));
  EXPECT_EQ(store->collect_garbage().snapshots, 1U);
  EXPECT_EQ(entries_in(store->layout().snapshots()), 0U);
  EXPECT_EQ(entries_in(store->layout().trash()), 0U);
  for (const auto* blob : {"a", "b", "c"}) EXPECT_EQ(file_of(blob), "from " + std::string(blob));
}

TEST_F(RemoteSnapshots, TakeNothingOfTheDisk) {
  EXPECT_EQ(snapshots().usage(provide({"a"})), DiskUsage());
  snapshots().prepare("2019", "", v2019("b"), {});
  EXPECT_EQ(snapshots().usage("2019"), DiskUsage());
}

TEST_F(RemoteSnapshots, AreUsableByAProcessThatWasToldOfNoStorage) {
  const auto top = provide({"a", "b"});
  store = open();
  EXPECT_THAT(snapshots().layers(top), SizeIs(2));
  EXPECT_EQ(snapshots().view("view", top, {}, {}).at(0).type, "overlay");
  EXPECT_EQ(snapshots().stat(top)->remote, layer_of("b"));
}

TEST_F(RemoteSnapshots, WhoseStorageHasGoneSayWhatIsMissingAndWhere) {
  const auto top = provide({"a", "b"});
  snapshots().view("view", top, {}, {});
  fs::rename(storage, dir / "away");
  for (const bool told : {true, false}) {
    if (!told) store = open();
    for (const auto& call : std::vector<std::function<void()>>{
             [&] { snapshots().mounts("view"); }, [&] { snapshots().layers(top); },
             [&] { snapshots().view("another", top, {}, {}); },
             [&] { snapshots().prepare("another", top, {}, {}); }}) {
      EXPECT_EQ(failure_of(call), Errc::unavailable) << "and not that there is no snapshot";
      EXPECT_THAT(message_of(call), HasSubstr(layer_of("b").str()));
      EXPECT_THAT(message_of(call), HasSubstr(storage.string()));
    }
    EXPECT_THAT(message_of([&] { snapshots().mounts("view"); }), HasSubstr("snapshot view"));
    EXPECT_FALSE(snapshots().stat("another"));
  }
  fs::rename(dir / "away", storage);
  EXPECT_EQ(snapshots().mounts("view").at(0).type, "overlay");
}

TEST_F(RemoteSnapshots, AreNotMadeWhereTheStorageHasGoneOrDoesNotAnswer) {
  ASSERT_EQ(::geteuid(), 0U) << "needs root";
  RemoteLayersOptions options;
  options.storages = {storage};
  options.mounts = store->layout().layer_mounts();
  options.patience = std::chrono::milliseconds(100);
  snapshots().use_remote_layers(std::make_shared<RemoteLayers>(options));
  {
    const HangingMount hanging(storage);
    EXPECT_FALSE(prepare_today({"a"}));
    EXPECT_EQ(snapshots().stat("extract " + chain_of({"a"}))->info.kind, SnapshotKind::active);
  }
  fs::remove_all(storage);
  EXPECT_FALSE(prepare_today({"b"}));
}

TEST_F(RemoteSnapshots, MoveWithTheStorage) {
  const auto top = provide({"a", "b"});
  snapshots().view("view", top, {}, {});
  fs::rename(storage, dir / "new-storage");
  snapshots().use_remote_layers(storages(dir / "new-storage"));
  EXPECT_EQ(snapshots().mounts("view").at(0).type, "overlay");
  EXPECT_EQ(fs::canonical(upper(top)), dir / "new-storage/sha256" / layer_of("b").hex() / "fs");
  EXPECT_EQ(read_file(upper(top) / "file"), "from b");
  store = open();
  EXPECT_EQ(snapshots().mounts("view").at(0).type, "overlay") << "and that is remembered";
}

TEST_F(RemoteSnapshots, SurviveABootOnceTheyAreDurable) {
  const auto reopen = [&](const char* boot) {
    store.reset();
    store = EmbeddedStore::open(dir / "store", "default", {.boot_id = boot, .file_threads = 1});
  };
  reopen("first");
  snapshots().use_remote_layers(storages(storage));
  const auto kept = provide({"a"});
  add_image(*store, "app", add_content(*store, "manifest"), 8);
  snapshots().use_remote_layers(storages(storage));
  const auto lost = provide({"b"});
  reopen("second");
  EXPECT_EQ(snapshots().stat(kept)->remote, layer_of("a"));
  EXPECT_FALSE(snapshots().stat(lost));
  EXPECT_EQ(entries_in(store->layout().snapshots()), 1U);
}

TEST_F(RemoteSnapshots, AreFoundInADatabaseOfTheVersionBefore) {
  add_snapshot(*store, "name");
  store.reset();
  {
    Database database(dir / "store/lazypull.db");
    database.execute(
        "DROP TABLE remote_snapshots; ALTER TABLE snapshots DROP COLUMN bytes; "
        "ALTER TABLE snapshots DROP COLUMN inodes; PRAGMA user_version = 1");
  }
  store = open();
  snapshots().use_remote_layers(storages(storage));
  EXPECT_EQ(read_file(upper("name") / "name"), "from name");
  EXPECT_GT(snapshots().usage("name").bytes, 0U);
  EXPECT_EQ(snapshots().stat(provide({"a"}))->remote, layer_of("a"));
}

/// With layers "a" and "b" as images, of which a test decides what becomes.
struct RemoteImages : Base {
  RemoteImages() {
    for (const auto* blob : {"a", "b"}) source->add(blob);
    snapshots().use_layer_source(source);
  }
  std::shared_ptr<HandMadeSource> source = std::make_shared<HandMadeSource>(dir / "mounts");
};

TEST_F(RemoteImages, AreLookedForAndAttachedWhileOthersMayWrite) {
  const auto other = open();
  int calls = 0;
  const auto write = [&] {
    // Would wait for half a minute, and fail, for a transaction that is in the way.
    add_snapshot(*other, "written " + std::to_string(calls++));
  };
  source->on_find = write;
  source->on_attach = write;
  snapshots().prepare("container", provide({"a", "b"}), {}, {});
  source->mounted.clear();
  snapshots().mounts("container");
  EXPECT_GE(calls, 8);
}

TEST_F(RemoteImages, ThatCannotBeAttachedAreNotRemote) {
  source->on_attach = [] { throw Error(Errc::failed_precondition, "the image is torn"); };
  EXPECT_FALSE(prepare_today({"a"}));
  EXPECT_THAT(source->mounted, IsEmpty());
  EXPECT_THAT(snapshots().list(), SizeIs(1));
}

TEST_F(RemoteImages, StayAttachedUntilTheLastSnapshotOfThemGoes) {
  const auto other = open("other");
  other->snapshots().use_layer_source(source);
  const auto chain = provide({"a"});
  other->snapshots().prepare("key", "", today(chain, "a"), {});
  snapshots().prepare("2019", "", v2019("a"), {});
  snapshots().remove(chain);
  EXPECT_THAT(source->mounted, SizeIs(1));
  snapshots().remove("2019");
  EXPECT_THAT(source->mounted, SizeIs(1));
  other->snapshots().remove(chain);
  EXPECT_THAT(source->mounted, IsEmpty());
}

TEST_F(RemoteImages, AreDetachedByGarbageCollection) {
  const auto top = provide({"a", "b"});
  const Labels root{{"containerd.io/gc.root", "yes"}};
  snapshots().view("view", chain_of({"a"}), root, {});
  EXPECT_EQ(store->collect_garbage().snapshots, 1U);
  EXPECT_FALSE(snapshots().stat(top));
  EXPECT_THAT(source->mounted, ElementsAre(layer_of("a")));
}

TEST_F(RemoteImages, AreAttachedAnewAfterABoot) {
  const auto top = provide({"a", "b"});
  snapshots().prepare("container", top, {}, {});
  source->mounted.clear();
  snapshots().mounts("container");
  EXPECT_THAT(source->mounted, SizeIs(2));
  source->mounted.clear();
  snapshots().layers(top);
  EXPECT_THAT(source->mounted, SizeIs(2));
  source->mounted.clear();
  snapshots().view("view", top, {}, {});
  EXPECT_THAT(source->mounted, SizeIs(2));
}

TEST_F(RemoteImages, AreAttachedAgainIfTheirLastUserGoesMeanwhile) {
  source->after_attach = [&] {
    // Another process removes the last snapshot of the layer.
    if (source->attaches == 1) source->mounted.clear();
  };
  EXPECT_TRUE(prepare_today({"a"}));
  EXPECT_EQ(source->attaches, 2);
  EXPECT_THAT(source->mounted, SizeIs(1));
  EXPECT_EQ(entries_in(store->layout().snapshots()), 1U);
}

TEST_F(RemoteImages, ThatAlwaysComeAndGoAreDownloaded) {
  source->after_attach = [&] { source->mounted.clear(); };
  EXPECT_FALSE(prepare_today({"a"}));
}

TEST_F(RemoteImages, ThatNoRecordSpeaksOfAreDetached) {
  source->attach(source->layers.at(layer_of("a")));
  provide({"b"});
  write_file(store->layout().upper(4711) / "file", "of a process that was killed");
  EXPECT_EQ(snapshots().cleanup(), 2U);
  EXPECT_THAT(source->mounted, ElementsAre(layer_of("b")));
  EXPECT_EQ(entries_in(store->layout().snapshots()), 1U);
  EXPECT_EQ(entries_in(store->layout().trash()), 0U);
  EXPECT_EQ(snapshots().cleanup(), 0U);
}

TEST_F(RemoteImages, LeaveNothingButAMountIfTheProcessDiesBeforeTheirRecord) {
  store.reset();
  ASSERT_TRUE(becomes_the_only_thread());
  const auto child = ::fork();
  if (child == 0) {
    store = open();
    snapshots().use_layer_source(source);
    source->on_attached = [] { ::_exit(7); };  // in the transaction
    prepare_today({"a"});
    ::_exit(1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 7);
  store = open();
  snapshots().use_layer_source(source);
  EXPECT_THAT(snapshots().list(), IsEmpty());
  EXPECT_EQ(entries_in(store->layout().snapshots()), 0U);
  EXPECT_TRUE(prepare_today({"a"}));
}

/// Real images, really mounted.
struct RemoteMounts : Base {
  void SetUp() override {
    ASSERT_EQ(::geteuid(), 0U) << "needs root";
    for (const auto* blob : {"a", "b"}) publish_layer(storage, blob, LayerFormat::erofs);
    publish_layer(storage, "c", LayerFormat::directory);
    snapshots().use_remote_layers(storages(storage));
  }
  void TearDown() override {
    if (!store) store = open();
    const auto layers = storages(storage);
    for (const auto& layer : layers->attached()) layers->detach(layer);
  }
  std::vector<Digest> attached() const { return storages(storage)->attached(); }
};

TEST_F(RemoteMounts, ComeWithTheFirstSnapshotOfALayerAndGoWithTheLast) {
  const auto top = provide({"a", "c", "b"});
  EXPECT_THAT(attached(), UnorderedElementsAre(layer_of("a"), layer_of("b")));
  EXPECT_EQ(read_file(upper(top) / "file"), "from b");
  snapshots().remove(top);
  EXPECT_THAT(attached(), ElementsAre(layer_of("a")));
  store->collect_garbage();
  EXPECT_THAT(attached(), IsEmpty());
  EXPECT_EQ(entries_in(store->layout().layer_mounts()), 0U);
  EXPECT_TRUE(fs::exists(storage / "sha256" / layer_of("a").hex() / "layer.erofs"));
}

TEST_F(RemoteMounts, AreMadeAgainByAProcessThatWasToldOfNoStorage) {
  const auto top = provide({"a", "b"});
  snapshots().prepare("container", top, {}, {});
  for (const auto& layer : attached()) storages(storage)->detach(layer);
  store = open();
  snapshots().mounts("container");
  EXPECT_THAT(attached(), SizeIs(2));
  EXPECT_EQ(read_file(upper(top) / "file"), "from b");
  snapshots().remove("container");
  snapshots().remove(top);
  EXPECT_THAT(attached(), ElementsAre(layer_of("a")));
}

TEST_F(RemoteMounts, OfATornImageAreNotMade) {
  const auto image = storage / "sha256" / layer_of("a").hex() / "layer.erofs";
  fs::permissions(image, fs::perms::owner_all);
  write_file(image, std::string(fs::file_size(image), '\0'));
  EXPECT_FALSE(prepare_today({"a"}));
  EXPECT_THAT(attached(), IsEmpty());
}

TEST_F(RemoteMounts, AndRecordsAgreeWheneverAProcessIsKilled) {
  store.reset();
  for (int round = 0; round < 8; ++round) {
    ASSERT_TRUE(becomes_the_only_thread());
    const auto child = ::fork();
    if (child == 0) {
      store = open();
      snapshots().use_remote_layers(storages(storage));
      for (int i = 0;; ++i) {
        provide(i % 2 == 0 ? std::vector<std::string>{"a", "c"} : std::vector<std::string>{"a", "b"});
        snapshots().prepare("2019", chain_of({"a"}), v2019("b"), {});
        snapshots().commit("other", "2019", v2019("b"), {});
        for (const auto& name : {std::string("other"), chain_of({"a", "b"}), chain_of({"a", "c"})}) {
          snapshots().remove(name);
        }
        if (i % 3 == 0) snapshots().remove(chain_of({"a"}));
      }
    }
    ::usleep(static_cast<::useconds_t>(60'000 + 17'111 * round));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "it ended by itself";
    store = open();
    snapshots().cleanup();
    std::set<Digest> needed;
    for (const auto& snapshot : snapshots().list()) {
      EXPECT_TRUE(fs::is_symlink(store->layout().upper(snapshot.id))) << snapshot.info.name;
      ASSERT_TRUE(snapshot.remote);
      if (snapshot.remote != layer_of("c")) needed.insert(*snapshot.remote);
      if (snapshot.info.kind == SnapshotKind::committed) snapshots().layers(snapshot.info.name);
    }
    const auto mounts = attached();
    EXPECT_EQ(std::set<Digest>(mounts.begin(), mounts.end()), needed);
    EXPECT_EQ(entries_in(store->layout().snapshots()), snapshots().list().size());
    for (const auto* name : {"2019", "other"}) snapshots().remove(name);
    store->collect_garbage();
    EXPECT_THAT(attached(), IsEmpty());
    store.reset();
  }
}

}  // namespace
}  // namespace lazypull::test
