// The README's first command, for a user who has no rights at all.

#include "tests/support/process.hpp"
#include "tests/support/temp_dir.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace lazypull::test {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;

namespace fs = std::filesystem;

/// A copy of the script and of the program that was built, which everybody may read and nobody write.
fs::path install(const TempDir& folder) {
  const fs::path source = fs::path(LAZYPULL_PEERS_SOURCE) / "../../../tools/quickstart.sh";
  const auto build = folder / "build";
  fs::create_directories(folder / "tools");
  fs::create_directories(build / "tools");
  fs::copy_file(source, folder / "tools/quickstart.sh");
  fs::copy_file(LAZYPULL_BINARY, build / "tools/lazypull");
  for (const auto& path : {folder.path(), folder / "tools", folder / "tools/quickstart.sh", build,
                           build / "tools", build / "tools/lazypull"}) {
    fs::permissions(path, fs::perms(0755));
  }
  return folder / "tools/quickstart.sh";
}

TEST(QuickStart, NeedsNoRightsOnceItIsBuilt) {
  const TempDir folder("quickstart");
  const auto script = install(folder);
  const auto work = folder / "tmp";
  fs::create_directory(work);
  fs::permissions(work, fs::perms(01777));
  ProcessOptions options;
  options.env = {{"BUILD", (folder / "build").string()}, {"TMPDIR", work.string()}, {"HOME", ""}};
  options.timeout = std::chrono::minutes(3);
  const auto out = run_ok(
      {"setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "bash", script.string()}, options);
  EXPECT_THAT(out, ContainsRegex("pulled 127\\.0\\.0\\.1:[0-9]+/demo:1 .*: 4 layers: 4 downloaded"));
  EXPECT_THAT(out, ContainsRegex("pulled 127\\.0\\.0\\.1:[0-9]+/demo:1 .*: 4 layers: 4 existing"));
  EXPECT_THAT(out, HasSubstr("\nhello from the image\n"));
  EXPECT_THAT(out, ContainsRegex("  200  GET /v2/demo/manifests/sha256:[0-9a-f]+  [0-9]+ bytes"));
  EXPECT_TRUE(fs::is_empty(work)) << "it has left something behind";
}

}  // namespace
}  // namespace lazypull::test
