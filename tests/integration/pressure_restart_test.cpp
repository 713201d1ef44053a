// containerd, or the snapshotter behind it, is restarted in the middle of a pull: the pull waits for it and
// goes on.

#include "tests/integration/support/containerd_state.hpp"
#include "tests/integration/support/lazypull.hpp"
#include "tests/integration/support/lazypull_snapshotter.hpp"
#include "tests/integration/support/scripted_registry.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

namespace lazypull::test {
namespace {

using std::chrono::milliseconds;
using testing::IsEmpty;

/// Holds an answer of the registry back until the test lets it go.
class Gate {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait_for(lock, std::chrono::seconds(30), [&] { return open_; });
  }
  bool wait_for_somebody() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(30), [&] { return waiting_ > 0; });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int waiting_ = 0;
  bool open_ = false;
};

/// The upper layer is large enough to be written into an ingest that a restart interrupts.
Image image_to_wait_for() {
  return ImageBuilder()
      .layer({tar::directory("d"), tar::file("d/a", tar::noise(300'000, 1))})
      .layer({tar::directory("d"), tar::file("d/large", tar::noise(3'000'000, 2)), tar::whiteout("d/a")})
      .build();
}

class Restart : public testing::Test {
 protected:
  Restart() {
    registry.serve(image);
    // The first half comes at once, the rest only after the restart.
    registry.answer(blob_request(image.layers[1].digest), [this](const ScriptedRequest& request) {
      const auto& blob = image.layers[1].blob;
      const auto range = request.header("Range");
      if (range.empty()) {
        ScriptedResponse half(200, blob);
        half.cut_after = blob.size() / 2;
        return half;
      }
      gate.pass();
      const auto from = std::stoul(range.substr(std::string("bytes=").size()));
      return ScriptedResponse(
          206, blob.substr(from),
          {{"Content-Range", "bytes " + std::to_string(from) + "-" + std::to_string(blob.size() - 1) + "/" +
                                 std::to_string(blob.size())}});
    });
  }
  ~Restart() override { gate.open(); }

  /// Pulls, does `disturb` in the middle of the upper layer, and returns how the pull ended.
  template <class Disturb>
  std::string pull_through(Containerd& containerd, const Argv& arguments, Disturb disturb) {
    Argv command{"pull", registry.reference()};
    command.insert(command.end(), arguments.begin(), arguments.end());
    auto process = Lazypull(containerd).start(command);
    EXPECT_TRUE(gate.wait_for_somebody());
    std::this_thread::sleep_for(milliseconds(300));  // the lower layer is through
    disturb();
    gate.open();
    const auto exit = process.wait(std::chrono::seconds(60));
    return exit == 0 ? "" : "exit code " + std::to_string(exit.value_or(-1)) + ": " + process.err();
  }

  /// What a pull leaves that nobody disturbs.
  void expect_as_undisturbed(Containerd& containerd, const Argv& arguments, const std::string& snapshotter) {
    collect_garbage(containerd);
    const auto disturbed = read_state(containerd, snapshotter);
    const auto tree = read_image_tree(containerd, snapshotter, registry.reference());
    containerd.ctr({"images", "remove", registry.reference()});
    collect_garbage(containerd);
    Argv command{"pull", registry.reference()};
    command.insert(command.end(), arguments.begin(), arguments.end());
    Lazypull(containerd).run_ok(command);
    collect_garbage(containerd);
    EXPECT_THAT(diff(read_state(containerd, snapshotter), disturbed), IsEmpty());
    EXPECT_THAT(diff(read_image_tree(containerd, snapshotter, registry.reference()), tree,
                     {.ignore_directory_mtime = true, .ignore_root = true}),
                IsEmpty());
    EXPECT_THAT(disturbed.leases, IsEmpty());
  }

  Image image = image_to_wait_for();
  Gate gate;
  ScriptedRegistry registry;
};

TEST_F(Restart, OfContainerdByKillIsWaitedFor) {
  Containerd containerd;
  EXPECT_EQ(pull_through(containerd, {},
                         [&] {
                           containerd.kill();
                           containerd.start();
                         }),
            "");
  expect_as_undisturbed(containerd, {}, "overlayfs");
}

TEST_F(Restart, OfContainerdThatTakesAWhileIsWaitedFor) {
  Containerd containerd;
  EXPECT_EQ(pull_through(containerd, {},
                         [&] {
                           containerd.stop();
                           gate.open();
                           std::this_thread::sleep_for(std::chrono::seconds(2));
                           containerd.start();
                         }),
            "");
  expect_as_undisturbed(containerd, {}, "overlayfs");
}

TEST_F(Restart, OfContainerdWhileItIsSentTheBytesIsWaitedFor) {
  Containerd containerd;
  const Argv arguments{"--unpack", "diff-service"};
  EXPECT_EQ(pull_through(containerd, arguments,
                         [&] {
                           containerd.kill();
                           containerd.start();
                         }),
            "");
  expect_as_undisturbed(containerd, arguments, "overlayfs");
}

TEST_F(Restart, OfTheSnapshotterIsWaitedFor) {
  LazypullSnapshotter snapshotter;
  Containerd containerd({.snapshotters = {snapshotter.plugin()}});
  const Argv arguments{"--snapshotter", "lazypull"};
  EXPECT_EQ(pull_through(containerd, arguments,
                         [&] {
                           snapshotter.kill();
                           gate.open();
                           std::this_thread::sleep_for(milliseconds(500));
                           snapshotter.start();
                         }),
            "");
  expect_as_undisturbed(containerd, arguments, "lazypull");
}

}  // namespace
}  // namespace lazypull::test
