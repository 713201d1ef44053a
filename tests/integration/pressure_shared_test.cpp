// Several processes at one store: pulls of the same image of which some are killed, and images that are
// removed and garbage that is collected while others pull.

#include "tests/integration/support/containerd_state.hpp"
#include "tests/integration/support/embedded.hpp"
#include "tests/integration/support/scripted_registry.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <deque>
#include <thread>

namespace lazypull::test {
namespace {

using std::chrono::milliseconds;
using testing::IsEmpty;

Image image_of_layers(std::uint64_t count) {
  ImageBuilder builder;
  for (std::uint64_t i = 0; i < count; ++i) {
    builder.layer({tar::directory("d"), tar::file("d/" + std::to_string(i), tar::noise(200'000, i))});
  }
  return builder.build();
}

class SharedStore : public testing::Test {
 protected:
  SharedStore() { registry.serve(image); }

  void expect_complete() {
    const auto store = lazypull.open();
    store->collect_garbage({.ingest_age = std::chrono::seconds(0)});
    EXPECT_THAT(faults(*store), IsEmpty());
    EXPECT_EQ(store->content().list().size(), image.blobs.size());
    EXPECT_EQ(store->snapshots().list().size(), image.layers.size());
  }

  const Image image = image_of_layers(4);
  ScriptedRegistry registry;
  StoreLazypull lazypull;
};

TEST_F(SharedStore, PullsOfOneImageInSeveralProcessesOfWhichSomeAreKilledAllSucceedOtherwise) {
  for (int round = 0; round < 4; ++round) {
    SCOPED_TRACE(round);
    std::deque<Process> pulls;
    for (int i = 0; i < 4; ++i) pulls.push_back(lazypull.start({"pull", registry.reference(), "--quiet"}));
    for (std::size_t killed = 0; killed < 2; ++killed) {
      std::this_thread::sleep_for(milliseconds(20 + 25 * round));
      pulls[killed].signal(SIGKILL);
    }
    for (std::size_t i = 0; i < pulls.size(); ++i) {
      const auto exit = pulls[i].wait(std::chrono::seconds(60));
      if (i >= 2) EXPECT_EQ(exit, 0) << pulls[i].err();
    }
    expect_complete();
    const auto store = lazypull.open();
    store->images().remove(registry.reference());
    store->collect_garbage({.ingest_age = std::chrono::seconds(0)});
    ASSERT_THAT(store->content().list(), IsEmpty());
  }
}

TEST_F(SharedStore, AnImageThatIsRemovedAndCollectedWhileItIsPulledIsPulledAllTheSame) {
  const auto store = lazypull.open();
  int removed = 0;
  for (int round = 0; round < 5; ++round) {
    auto pull = lazypull.start({"pull", registry.reference(), "--quiet"});
    while (pull.running()) {
      removed += store->images().remove(registry.reference()) ? 1 : 0;
      store->collect_garbage({.ingest_age = std::chrono::seconds(0)});
    }
    ASSERT_EQ(pull.wait(milliseconds(0)), 0) << pull.err();
  }
  EXPECT_GT(removed, 0) << "the image was there in between";
  Argv again{"pull", registry.reference()};
  lazypull.run_ok(again);
  expect_complete();
}

TEST_F(SharedStore, TheCommandsOfTheStoreDoTheSameFromOtherProcesses) {
  for (int round = 0; round < 3; ++round) {
    auto pull = lazypull.start({"pull", registry.reference(), "--quiet"});
    auto remove = lazypull.start({"images", "rm", registry.reference()});
    auto collect = lazypull.start({"gc"});
    const auto exit = pull.wait(std::chrono::seconds(60));
    EXPECT_EQ(exit, 0) << pull.err();
    const auto of_remove = remove.wait(std::chrono::seconds(60));
    EXPECT_TRUE(of_remove == 0 || of_remove == 3) << remove.err();
    EXPECT_EQ(collect.wait(std::chrono::seconds(60)), 0) << collect.err();
  }
  lazypull.run_ok({"pull", registry.reference()});
  expect_complete();
}

TEST_F(SharedStore, ContainerdsGarbageCollectionDuringAPullTakesNothingFromIt) {
  Containerd containerd;
  Lazypull into_containerd(containerd);
  for (int round = 0; round < 3; ++round) {
    auto pull = into_containerd.start({"pull", registry.reference()});
    while (pull.running()) {
      containerd.ctr({"images", "remove", registry.reference()});
      collect_garbage(containerd);
    }
    ASSERT_EQ(pull.wait(milliseconds(0)), 0) << pull.err();
  }
  into_containerd.run_ok({"pull", registry.reference()});
  collect_garbage(containerd);
  const auto state = read_state(containerd);
  EXPECT_EQ(state.content.size(), image.blobs.size());
  EXPECT_EQ(state.snapshots.size(), image.layers.size());
  EXPECT_THAT(state.leases, IsEmpty());
}

}  // namespace
}  // namespace lazypull::test
