// A pull into the embedded store during which one write goes wrong: the first, the second, the third … of
// some three hundred. Each ends with the documented exit code and an error that names the file or the blob,
// leaves nothing behind that is taken for whole, and the next pull completes the image. LAZYPULL_FAULT_STEP=1
// tries every single write with each kind of fault; without it each kind has writes of its own, and all
// together try every other one.

#include "tests/integration/support/embedded.hpp"
#include "tests/integration/support/scripted_registry.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <deque>
#include <set>
#include <sstream>

namespace lazypull::test {
namespace {

namespace fs = std::filesystem;
using testing::AnyOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int kinds = 8;
constexpr int usual_step = 2 * kinds;
constexpr std::size_t side_by_side = 4;

int step_from_environment() {
  const char* text = std::getenv("LAZYPULL_FAULT_STEP");
  return text == nullptr ? usual_step : std::max(1, std::atoi(text));
}

/// Two layers of all that is written differently.
Image small_image() {
  return ImageBuilder()
      .layer({tar::directory("d"), tar::file("d/a", tar::noise(50'000)),
              tar::file("d/b", "x").mode(04755).owner(5, 6), tar::symlink("d/s", "a"),
              tar::hard_link("d/h", "d/a"), tar::fifo("pipe"), tar::file("d/x", "1").xattr("user.a", "1")})
      .layer({tar::directory("d"), tar::whiteout("d/b"), tar::directory("e"), tar::opaque("e"),
              tar::file("e/f", "y"), tar::file("implicit/g", "z")})
      .build();
}

/// What one kind of fault is, and how a pull may end that meets it.
struct Fault {
  std::string with;  ///< as fault_shim.c understands it
  bool stays = false;
  std::vector<int> exits;
  int first = 1;  ///< of the writes that this kind has
};

/// One pull that is made to fail.
struct Trial {
  int at = 0;
  StoreLazypull lazypull;
  TempDir folder{"fault"};
  std::optional<Process> process;
  long hits = 0;
  std::string where;  ///< "rename /…/index.json"

  void start(const Fault& fault, const std::string& reference) {
    ProcessOptions options;
    options.env = {{"LD_PRELOAD", LAZYPULL_FAULT_SHIM},      {"FAULT_FOLDER", lazypull.directory()},
                   {"FAULT_AT", std::to_string(at)},         {"FAULT_ERRNO", fault.with},
                   {"FAULT_STAYS", fault.stays ? "1" : "0"}, {"FAULT_REPORT", folder / "report"}};
    process = lazypull.start({"pull", reference, "--quiet"}, options);
  }
  int end() {
    const auto exit = process->wait(std::chrono::seconds(60));
    if (!exit) throw std::runtime_error("the pull does not end");
    std::istringstream report(read_file(folder / "report"));
    long operations = 0;
    report >> operations >> hits;
    std::getline(report >> std::ws, where);
    return *exit;
  }
};

class WritePoints : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    image = new Image(small_image());
    registry = new ScriptedRegistry;
    registry->serve(*image);
    StoreLazypull clean;
    clean.run_ok({"pull", registry->reference()});
    const auto store = clean.open();
    trees = new std::map<std::string, TreeManifest>;
    for (const auto& chain_id : image->chain_ids)
      trees->emplace(chain_id, read_snapshot_tree(*store, chain_id));
  }
  static void TearDownTestSuite() {
    delete trees;
    delete registry;
    delete image;
  }

  static std::vector<std::string> tree_difference(EmbeddedStore& store, const std::string& chain_id) {
    return diff(trees->at(chain_id), read_snapshot_tree(store, chain_id),
                {.ignore_directory_mtime = true, .ignore_root = true});
  }

  /// What the store takes for whole and is not.
  static std::vector<std::string> half_made(EmbeddedStore& store) {
    std::vector<std::string> found;
    for (const auto& content : store.content().list()) {
      const auto digest = content.info.digest.str();
      const auto file = store.layout().blobs() / "sha256" / std::string(content.info.digest.hex());
      const auto blob = image->blobs.find(digest);
      if (blob == image->blobs.end() || read_file(file) != blob->second) found.push_back("blob " + digest);
    }
    for (const auto& snapshot : store.snapshots().list()) {
      if (snapshot.info.kind != SnapshotKind::committed || !trees->contains(snapshot.info.name)) continue;
      for (const auto& line : tree_difference(store, snapshot.info.name))
        found.push_back(snapshot.info.name + ": " + line);
    }
    return found;
  }

  void check_failed(Trial& trial, int exit, const Fault& fault) {
    SCOPED_TRACE("write " + std::to_string(trial.at) + ": " + trial.where + "\n" + trial.process->err());
    EXPECT_THAT(fault.exits, Contains(exit));
    const bool says_why = exit != 0 && exit != 128 + SIGKILL && exit != 128 + SIGTERM;
    if (says_why) {
      EXPECT_THAT(trial.process->err(), AnyOf(HasSubstr(trial.lazypull.directory()), HasSubstr("sha256:")));
    }
    const auto store = trial.lazypull.open();
    EXPECT_THAT(half_made(*store), IsEmpty());
    if (exit == 0) {
      EXPECT_EQ(store->content().list().size(), image->blobs.size());
    }
    if (exit == 128 + SIGTERM) {
      for (const auto& snapshot : store->snapshots().list())
        EXPECT_EQ(snapshot.info.kind, SnapshotKind::committed) << snapshot.info.name;
    }
  }

  void check_completed(Trial& trial) {
    SCOPED_TRACE("after write " + std::to_string(trial.at) + ": " + trial.where);
    EXPECT_EQ(trial.process->wait(std::chrono::seconds(60)), 0) << trial.process->err();
    const auto store = trial.lazypull.open();
    store->collect_garbage({.ingest_age = std::chrono::seconds(0)});
    EXPECT_THAT(faults(*store), IsEmpty());
    EXPECT_EQ(store->content().list().size(), image->blobs.size());
    EXPECT_EQ(store->snapshots().list().size(), image->layers.size());
    EXPECT_THAT(tree_difference(*store, image->top_chain_id()), IsEmpty());
  }

  /// Returns where the faults have hit.
  std::set<std::string> try_all(const Fault& fault) {
    std::set<std::string> operations;
    const int step = step_from_environment();
    const int first = step == 1 ? 1 : fault.first;
    bool ended = false;
    for (int at = first; !ended && !HasFailure();) {
      std::deque<Trial> trials;
      for (std::size_t i = 0; i < side_by_side; ++i, at += step) {
        trials.emplace_back().at = at;
        trials.back().start(fault, registry->reference());
      }
      for (auto& trial : trials) {
        const int exit = trial.end();
        ended = ended || trial.hits == 0;
        if (trial.hits == 0) EXPECT_EQ(exit, 0) << trial.process->err();
        operations.insert(trial.where.substr(0, trial.where.find(' ')));
        check_failed(trial, exit, fault);
      }
      for (auto& trial : trials)
        trial.process = trial.lazypull.start({"pull", registry->reference(), "--quiet"});
      for (auto& trial : trials) check_completed(trial);
    }
    return operations;
  }

  static Image* image;
  static ScriptedRegistry* registry;
  static std::map<std::string, TreeManifest>* trees;  ///< of the image's snapshots, by ChainID
};
Image* WritePoints::image = nullptr;
ScriptedRegistry* WritePoints::registry = nullptr;
std::map<std::string, TreeManifest>* WritePoints::trees = nullptr;

// What still succeeds has met the fault only where it tidied up or brought the database into its own file.

TEST_F(WritePoints, OnADiskThatIsFullFromThereOn) {
  const auto hit = try_all({.with = std::to_string(ENOSPC), .stays = true, .exits = {8, 0}, .first = 1});
  EXPECT_THAT(hit, Contains("pwrite64")) << "the database";
}

TEST_F(WritePoints, OnADiskThatIsFullOnce) {
  try_all({.with = std::to_string(ENOSPC), .exits = {8, 0}, .first = 3});
}

TEST_F(WritePoints, WithAQuotaThatIsUsedUpFromThereOn) {
  try_all({.with = std::to_string(EDQUOT), .stays = true, .exits = {8, 7, 0}, .first = 5});
}

TEST_F(WritePoints, WithAnInputOutputErrorOnce) {
  try_all({.with = std::to_string(EIO), .exits = {1, 7, 0}, .first = 7});
}

TEST_F(WritePoints, OnADiskThatIsBrokenFromThereOn) {
  try_all({.with = std::to_string(EIO), .stays = true, .exits = {1, 7, 0}, .first = 9});
}

TEST_F(WritePoints, OnAFileSystemThatBecomesReadOnly) {
  try_all({.with = std::to_string(EROFS), .stays = true, .exits = {7, 1, 0}, .first = 11});
}

TEST_F(WritePoints, WithAKillThere) {
  try_all({.with = "kill", .exits = {128 + SIGKILL, 0}, .first = 13});
}

TEST_F(WritePoints, WithASigtermThere) {
  try_all({.with = "term", .exits = {128 + SIGTERM, 0}, .first = 15});
}

/// So that the tests above cannot pass because nothing is counted.
TEST_F(WritePoints, AreMany) {
  Trial trial;
  trial.start({.with = "0", .exits = {0}}, registry->reference());
  EXPECT_EQ(trial.end(), 0);
  std::istringstream report(read_file(trial.folder / "report"));
  long operations = 0;
  report >> operations;
  EXPECT_GT(operations, 200);
  RecordProperty("write_points", static_cast<int>(operations));
}

}  // namespace
}  // namespace lazypull::test
