#include "tools/prewarm_list.hpp"

#include "tests/support/temp_dir.hpp"
#include "tools/disk_space.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace lazypull {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> names(const std::vector<PrewarmItem>& items) {
  std::vector<std::string> result;
  for (const auto& item : items) result.push_back(item.reference.name());
  return result;
}

std::string refusal(const std::string& text) {
  try {
    parse_prewarm_list(text, "list.txt");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::invalid_argument);
    return error.message();
  }
  ADD_FAILURE() << "accepted: " << text;
  return {};
}

TEST(PrewarmList, HasOneReferenceALine) {
  const auto items = parse_prewarm_list(
      "alpine\n\n  registry.example.com/app:1  \r\n\tb@sha256:" + std::string(64, 'a') + "\nlast",
      "list.txt");
  EXPECT_THAT(names(items), ElementsAre("docker.io/library/alpine:latest", "registry.example.com/app:1",
                                        "docker.io/library/b@sha256:" + std::string(64, 'a'),
                                        "docker.io/library/last:latest"));
}

TEST(PrewarmList, ACommentBeginsWithAHashAtTheStartOfAWord) {
  EXPECT_THAT(names(parse_prewarm_list("# all\nalpine # small\n   # more\n#busybox\n", "list.txt")),
              ElementsAre("docker.io/library/alpine:latest"));
  EXPECT_THAT(parse_prewarm_list("", "list.txt"), IsEmpty());
  EXPECT_THAT(refusal("app#1"), HasSubstr("list.txt:1: "));
}

TEST(PrewarmList, ALineMayNamePlatformsAndAPriority) {
  const auto items = parse_prewarm_list(
      "a priority=-7 platform=linux/arm64,linux/amd64 platform=linux/arm64\nb", "list.txt");
  EXPECT_EQ(items[0].priority, -7);
  EXPECT_THAT(items[0].platforms,
              ElementsAre(Platform::parse("linux/arm64"), Platform::parse("linux/amd64")));
  EXPECT_EQ(items[1].priority, 0);
  EXPECT_THAT(items[1].platforms, IsEmpty());
}

TEST(PrewarmList, AMistakeIsNamedWithFileAndLine) {
  EXPECT_THAT(refusal("a\nb\nUPPER:case:x\n"), HasSubstr("list.txt:3: "));
  EXPECT_EQ(refusal("a\nb prio=3"), "list.txt:2: 'prio=3' is neither platform=… nor priority=…");
  EXPECT_EQ(refusal("a priority=high"), "list.txt:1: priority: 'high' is not a number from -1000 to 1000");
  EXPECT_THAT(refusal("a priority=1001"), HasSubstr("1001"));
  EXPECT_THAT(refusal("a platform="), HasSubstr("list.txt:1: "));
  EXPECT_THAT(refusal("a \x1b[2J"), testing::Not(HasSubstr("\x1b")));
}

TEST(PrewarmList, SeveralListsAreOneInWhichEachImageIsOnce) {
  const test::TempDir folder("lists");
  const auto first = (folder.path() / "first").string();
  const auto second = (folder.path() / "second").string();
  std::ofstream(first) << "a\nb priority=1\na platform=linux/arm64\n";
  std::ofstream(second) << "b:latest priority=5\ndocker.io/library/a\n";
  const auto items = read_prewarm_lists({first, second}, {"a", "c"});
  EXPECT_THAT(names(items), ElementsAre("docker.io/library/a:latest", "docker.io/library/b:latest",
                                        "docker.io/library/a:latest", "docker.io/library/c:latest"));
  EXPECT_EQ(items[1].priority, 5);
}

TEST(PrewarmList, AFileThatCannotBeReadOrNamesNothingIsAMistake) {
  EXPECT_THROW(read_prewarm_lists({"/no/such/list"}, {}), Error);
  EXPECT_THROW(read_prewarm_lists({"/dev/null"}, {}), Error);
  const test::TempDir folder("lists");
  EXPECT_THROW(read_prewarm_lists({folder.path().string()}, {}), Error) << "a directory";
}

TEST(MinFree, IsASizeOrAShareOfTheDisk) {
  EXPECT_EQ(parse_min_free("10G")->bytes, 10ULL << 30U);
  EXPECT_EQ(parse_min_free("5%")->percent, 5);
  EXPECT_EQ(parse_min_free("2.5%")->percent, 2.5);
  EXPECT_FALSE(parse_min_free("0")->any());
  for (const auto* bad : {"", "%", "-1%", "101%", "nan%", "5 %", "five", "1e9%"}) {
    EXPECT_FALSE(parse_min_free(bad)) << bad;
  }
}

TEST(DiskSpace, IsThatOfTheNearestFolderThatIsThere) {
  const test::TempDir folder("disk");
  const auto there = disk_space(folder.path().string());
  const auto to_be = disk_space((folder.path() / "not" / "yet").string());
  ASSERT_TRUE(there && to_be);
  EXPECT_EQ(there->size, to_be->size);
  EXPECT_GT(there->size, 0U);
}

TEST(DiskSpace, UsableIsWhatMayBeTaken) {
  const DiskSpace disk{"/", 300, 1000};
  EXPECT_EQ(disk.usable({}), 300U);
  EXPECT_EQ(disk.usable({100, 0}), 200U);
  EXPECT_EQ(disk.usable({0, 10}), 200U);
  EXPECT_EQ(disk.usable({0, 50}), 0U);
}

TEST(DiskSpace, TooLittleFreeIsOutOfSpace) {
  const test::TempDir folder("disk");
  EXPECT_NO_THROW(require_free({folder.path().string()}, {1, 0}));
  try {
    require_free({folder.path().string()}, {0, 100});
    ADD_FAILURE() << "a disk that is in use is not free altogether";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::out_of_space);
    EXPECT_THAT(error.message(), HasSubstr("--min-free"));
  }
}

}  // namespace
}  // namespace lazypull
