// The harness itself: processes, temporary folders, images made on the spot, and the comparison of trees.

#include "tests/integration/support/image.hpp"
#include "tests/integration/support/tar.hpp"
#include "tests/integration/support/tree.hpp"
#include "tests/support/process.hpp"
#include "tests/support/temp_dir.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/sysmacros.h>

#include <filesystem>
#include <fstream>
#include <signal.h>
#include <string>
#include <vector>

namespace lazypull::test {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using namespace std::chrono_literals;

TEST(Process, GivesOutputErrorsAndExitCodeOfAProgram) {
  const auto result = run({"sh", "-c", "cat; echo problem >&2; pwd; echo $COLOUR; exit 3"},
                          {.env = {{"COLOUR", "green"}}, .cwd = "/usr", .input = "hello\n"});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_EQ(result.out, "hello\n/usr\ngreen\n");
  EXPECT_EQ(result.err, "problem\n");
}

TEST(Process, ThrowsForWhatCannotBeStartedFailsOrTakesTooLong) {
  EXPECT_THROW(run({"/nonexistent/program"}), std::exception);
  EXPECT_THROW(run({"no-such-program-in-path"}), std::exception);
  EXPECT_THROW(run_ok({"false"}), std::runtime_error);
  EXPECT_THROW(run({"sleep", "60"}, {.timeout = 50ms}), std::runtime_error);
}

TEST(Process, EndsWithItsWholeGroup) {
  const TempDir folder;
  pid_t grandchild = 0;
  {
    Process shell({"sh", "-c", "trap '' TERM; sleep 600 & echo $! > pid.new; mv pid.new pid; wait"},
                  {.cwd = folder.path()});
    wait_until([&] { return std::filesystem::exists(folder / "pid"); }, "the shell's child");
    grandchild = std::stoi(read_file(folder / "pid"));
    EXPECT_EQ(::kill(grandchild, 0), 0);
    shell.stop(50ms);
    EXPECT_FALSE(shell.running());
  }
  // It is now a zombie at most, of whoever adopts orphans.
  wait_until(
      [&] {
        std::ifstream file("/proc/" + std::to_string(grandchild) + "/stat");
        std::string text;
        return !std::getline(file, text) || text.find(") Z") != std::string::npos;
      },
      "the grandchild to end");
}

TEST(TempDir, IsRemovedWithWhatIsMountedBelow) {
  std::filesystem::path path;
  {
    const TempDir folder("mounts");
    path = folder.path();
    std::filesystem::create_directories(path / "a b");
    run_ok({"mount", "-t", "tmpfs", "none", path / "a b"});
    write_file(path / "a b" / "file", "x");
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(Tar, WritesWhatGnuTarReads) {
  const TempDir folder;
  write_file(folder / "layer.tar", tar::archive(tar::one_of_each()));
  std::filesystem::create_directory(folder / "out");
  run_ok({"tar", "-C", folder / "out", "--xattrs", "--xattrs-include=*", "-xpf", folder / "layer.tar"});
  const auto tree = read_tree(folder / "out");
  EXPECT_EQ(tree.size(), tar::one_of_each().size() + 1);
  EXPECT_EQ(tree.at("bin").mode, 01777U);
  EXPECT_EQ(tree.at("bin/su").mode, 04755U);
  EXPECT_EQ(tree.at("bin/su").uid, 1000U);
  EXPECT_EQ(tree.at("bin/su").gid, 2000U);
  EXPECT_EQ(tree.at("bin/su").linked_to, "bin/also");
  EXPECT_EQ(tree.at("bin/fine").mtime_ns, 1'700'000'000'123'456'789);
  EXPECT_EQ(tree.at("bin/old").mtime_ns, -1'750'000'000);
  EXPECT_EQ(tree.at("bin/link").target, "../target");
  EXPECT_EQ(tree.at("bin/null").type, 'c');
  EXPECT_EQ(tree.at("bin/null").device, makedev(1, 3));
  EXPECT_EQ(tree.at("bin/pipe").type, 'p');
  EXPECT_EQ(tree.at("bin/attributes").xattrs.at("user.colour"), std::string("g\0een", 5));
  EXPECT_EQ(tree.at("bin/huge-id").uid, 4'000'000'000U);
  EXPECT_EQ(tree.at("bin/" + std::string(180, 'n')).size, 9U);
}

TEST(TreeManifest, DiffNamesEveryKindOfDifference) {
  const TempDir folder;
  const auto make = [&folder](const char* name, const std::string& commands) {
    std::filesystem::create_directory(folder / name);
    run_ok({"sh", "-ec", "umask 022; " + commands}, {.cwd = folder / name});
    run_ok({"sh", "-ec",
            "find . -exec touch -h -d @1000 {} +; " +
                std::string(name == std::string("b") ? "touch -d @1001 time" : "")},
           {.cwd = folder / name});
    return read_tree(folder / name);
  };
  const auto a = make("a",
                      "echo 1 > content; echo x > mode; echo x > owner; echo x > time; ln -s here link; echo "
                      "x > first; ln first second;"
                      "mknod device c 1 3; echo x > attributes; setfattr -n user.a -v 1 attributes; echo x > "
                      "gone; mkdir type");
  const auto b = make("b",
                      "echo 2 > content; echo x > mode; chmod 4755 mode; echo x > owner; chown 1:2 owner; "
                      "echo x > time; ln -s there link; echo x > first; echo x > second;"
                      "mknod device c 1 5; echo x > attributes; setfattr -n user.a -v 2 attributes; echo x > "
                      "new; echo > type");
  EXPECT_THAT(diff(a, a), IsEmpty());
  const auto lines = diff(a, b);
  for (const char* line :
       {"attributes: xattr user.a \"1\" != \"2\"", "gone: only in the left", "new: only in the right",
        "mode: mode 0644 != 4755", "owner: uid 0 != 1", "owner: gid 0 != 2",
        "time: mtime 1000000000000 != 1001000000000", "link: link target here != there",
        "second: hard link of first != ", "type: type d != -"}) {
    EXPECT_THAT(lines, Contains(line));
  }
  EXPECT_THAT(lines, Contains(HasSubstr("content: sha256 ")));
  EXPECT_THAT(lines, Contains(HasSubstr("device: device ")));
  EXPECT_THAT(diff(a, b, {.ignore_mtime = true}), Not(Contains(HasSubstr("mtime"))));
}

TEST(Image, KeepsItsPartsThroughALayout) {
  const TempDir folder;
  const auto amd =
      ImageBuilder().layer({tar::file("a", "1")}).layer({tar::file("b", "2")}, Compression::zstd).build();
  write_layout(amd, folder / "one");
  const auto read = read_layout(folder / "one");
  EXPECT_EQ(read.digest, amd.digest);
  EXPECT_EQ(read.config_digest, amd.config_digest);
  EXPECT_EQ(read.chain_ids, amd.chain_ids);
  EXPECT_EQ(read.blobs, amd.blobs);
  ASSERT_EQ(read.layers.size(), 2U);
  EXPECT_EQ(read.layers[1].blob, amd.layers[1].blob);
  EXPECT_EQ(read.platform, "linux/amd64");
  const auto arm = ImageBuilder().platform("linux/arm64/v8").layer({tar::file("a", "arm")}).build();
  const auto index = make_index({amd, arm});
  EXPECT_EQ(index.blobs.size(), amd.blobs.size() + arm.blobs.size() + 1);
}

}  // namespace
}  // namespace lazypull::test
