// Pulls into the embedded store that run into a limit of the machine: a small disk, a store that may only be
// read, few descriptors, files that may not grow, a clock that jumps. Each says what is wrong, and the next
// pull completes the image.

#include "tests/integration/support/embedded.hpp"
#include "tests/integration/support/scripted_registry.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <cstddef>

namespace lazypull::test {
namespace {

namespace fs = std::filesystem;
using testing::AnyOf;
using testing::HasSubstr;
using testing::IsEmpty;

Image image_of(std::size_t bytes) {
  return ImageBuilder()
      .layer({tar::directory("d"), tar::file("d/noise", tar::noise(bytes)), tar::file("d/b", "x")})
      .layer({tar::directory("e"), tar::file("e/zeros", std::string(2 * bytes, '\0')), tar::whiteout("d/b")})
      .build();
}

class Limits : public testing::Test {
 protected:
  void expect_complete(const fs::path& directory, const Image& image) {
    const auto store = EmbeddedStore::open(directory, "default");
    store->collect_garbage({.ingest_age = std::chrono::seconds(0)});
    EXPECT_THAT(faults(*store), IsEmpty());
    EXPECT_EQ(store->content().list().size(), image.blobs.size());
    EXPECT_EQ(store->snapshots().list().size(), image.layers.size());
  }

  PullOutcome pull_with(Argv limit) {
    limit.insert(limit.end(), {LAZYPULL_BINARY, "--store", lazypull.directory(), "pull", registry.reference(),
                               "--output", "json"});
    PullOutcome outcome;
    outcome.process =
        run(std::move(limit), {.env = {{"DOCKER_CONFIG", "/nonexistent"}, {"HOME", "/nonexistent"}}});
    return outcome;
  }

  ScriptedRegistry registry;
  StoreLazypull lazypull;
};

/// The store is on a small file system of its own.
class SmallDisk : public Limits {
 protected:
  SmallDisk() {
    fs::create_directory(disk());
    if (::mount("tmpfs", disk().c_str(), "tmpfs", 0, "size=3m") != 0) throw std::runtime_error("mount tmpfs");
  }
  fs::path disk() const { return folder / "disk"; }
  fs::path store() const { return disk() / "store"; }
  void remount(unsigned long flags, const char* options) {
    ASSERT_EQ(::mount("tmpfs", disk().c_str(), "tmpfs", MS_REMOUNT | flags, options), 0);
  }
  ProcessResult pull() {
    return run({LAZYPULL_BINARY, "--store", store(), "pull", "--quiet", registry.reference()},
               {.env = {{"DOCKER_CONFIG", "/nonexistent"}, {"HOME", "/nonexistent"}}});
  }
  TempDir folder{"small-disk"};
};

TEST_F(SmallDisk, ThatFillsUpFailsThePullAndThenTakesTheImageOnceItIsLarger) {
  const auto image = image_of(2'000'000);
  registry.serve(image);
  const auto failed = pull();
  EXPECT_EQ(failed.exit_code, 8) << failed.err;
  EXPECT_THAT(failed.err, HasSubstr("layer sha256:"));
  EXPECT_THAT(failed.err, AnyOf(HasSubstr("No space left on device"), HasSubstr("disk is full")));
  remount(0, "size=64m");
  const auto next = pull();
  EXPECT_EQ(next.exit_code, 0) << next.err;
  expect_complete(store(), image);
}

TEST_F(SmallDisk, ThatMayOnlyBeReadIsNamed) {
  const auto image = image_of(10'000);
  registry.serve(image);
  remount(MS_RDONLY, "size=3m");
  const auto new_store = pull();
  EXPECT_EQ(new_store.exit_code, 7) << new_store.err;
  EXPECT_THAT(new_store.err, HasSubstr(store().string() + ": Read-only file system"));
  remount(0, "size=3m");
  ASSERT_EQ(pull().exit_code, 0);
  remount(MS_RDONLY, "size=3m");
  const auto old_store = pull();
  EXPECT_EQ(old_store.exit_code, 7) << old_store.err;
  EXPECT_THAT(old_store.err, HasSubstr(store().string()));
  EXPECT_THAT(old_store.err, HasSubstr("Read-only file system"));
  remount(0, "size=3m");
  expect_complete(store(), image);
}

TEST_F(Limits, FewDescriptorsAreAnErrorThatSaysSoAtAnyNumber) {
  const auto image = image_of(10'000);
  registry.serve(image);
  int failures = 0;
  for (int descriptors = 4; descriptors <= 40; descriptors += 2) {
    SCOPED_TRACE(descriptors);
    const auto outcome = pull_with({"prlimit", "--nofile=" + std::to_string(descriptors)});
    EXPECT_THAT(outcome.process.exit_code, AnyOf(0, 1, 7, 127)) << outcome.process.err;
    if (outcome.process.exit_code == 0) break;
    if (outcome.process.exit_code == 127) continue;  // the loader itself has too few
    ++failures;
    EXPECT_THAT(outcome.process.err, HasSubstr("Too many open files"));
  }
  EXPECT_GT(failures, 5);
  EXPECT_EQ(pull_with({"prlimit", "--nofile=64"}).process.exit_code, 0);
  expect_complete(lazypull.directory(), image);
}

TEST_F(Limits, AFileThatMayNotGrowIsAnErrorThatNamesIt) {
  const auto image = image_of(100'000);
  registry.serve(image);
  for (const int bytes : {4'000, 50'000, 90'000, 150'000}) {
    SCOPED_TRACE(bytes);
    const auto outcome = pull_with({"prlimit", "--fsize=" + std::to_string(bytes)});
    EXPECT_EQ(outcome.process.exit_code, 8) << outcome.process.err;
    EXPECT_THAT(outcome.process.err, AnyOf(HasSubstr(lazypull.directory()), HasSubstr("layer sha256:")));
  }
  EXPECT_EQ(pull_with({"env"}).process.exit_code, 0);
  expect_complete(lazypull.directory(), image);
}

TEST_F(Limits, AClockThatJumpsByYearsInTheMiddleChangesNothing) {
  const auto image = image_of(10'000);
  registry.serve(image);
  for (const auto* seconds : {"400000000", "-400000000"}) {
    for (const int at : {10, 60, 120, 180, 240}) {
      SCOPED_TRACE(std::string(seconds) + " s at write " + std::to_string(at));
      StoreLazypull fresh;
      const TempDir folder("clock");
      const auto outcome =
          fresh.run({"pull", registry.reference()}, {.env = {{"LD_PRELOAD", LAZYPULL_FAULT_SHIM},
                                                             {"FAULT_FOLDER", fresh.directory()},
                                                             {"FAULT_AT", std::to_string(at)},
                                                             {"FAULT_ERRNO", "clock"},
                                                             {"FAULT_CLOCK", seconds},
                                                             {"FAULT_REPORT", folder / "report"}}});
      EXPECT_EQ(outcome.process.exit_code, 0) << outcome.process.err;
      EXPECT_THAT(read_file(folder / "report"), HasSubstr(" 1 ")) << "the clock has not jumped";
      expect_complete(fresh.directory(), image);
    }
  }
}

}  // namespace
}  // namespace lazypull::test
