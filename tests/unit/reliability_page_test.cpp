// docs/reliability.md says which tests show what; each of them must exist.

#include "tests/support/temp_dir.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <regex>
#include <set>
#include <string>

namespace lazypull::test {
namespace {

namespace fs = std::filesystem;
using testing::IsEmpty;

std::set<std::string> matches(const std::string& text, const std::regex& pattern) {
  std::set<std::string> found;
  for (std::sregex_iterator match(text.begin(), text.end(), pattern), end; match != end; ++match) {
    found.insert((*match)[1].str() + "." + (*match)[2].str());
  }
  return found;
}

/// "Suite.Name" of every test in the sources.
std::set<std::string> existing_tests() {
  static const std::regex declaration(R"(TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\))");
  constexpr std::size_t longest = 300;
  std::set<std::string> tests;
  for (const auto* kind : {"unit", "integration"}) {
    for (const auto& entry : fs::directory_iterator(fs::path(LAZYPULL_SOURCE) / "tests" / kind)) {
      if (entry.path().extension() != ".cpp") continue;
      const auto text = "\n" + read_file(entry.path());
      for (auto at = text.find("\nTEST"); at != std::string::npos; at = text.find("\nTEST", at + 1)) {
        tests.merge(matches(text.substr(at + 1, std::min(longest, text.find('{', at) - at)), declaration));
      }
    }
  }
  return tests;
}

/// "Suite.Name" or "Suite.*" of everything that a page names in backticks.
std::set<std::string> named_tests(const std::string& page) {
  static const std::regex name(R"(`([A-Z]\w*)\.([A-Z]\w*|\*)`)");
  return matches(page, name);
}

TEST(ReliabilityPage, NamesOnlyTestsThatThereAre) {
  const auto existing = existing_tests();
  std::set<std::string> suites;
  for (const auto& test : existing) suites.insert(test.substr(0, test.find('.')) + ".*");
  const auto named = named_tests(read_file(fs::path(LAZYPULL_SOURCE) / "docs/reliability.md"));
  EXPECT_GT(named.size(), 60U);
  std::set<std::string> missing;
  for (const auto& test : named) {
    if (!existing.contains(test) && !suites.contains(test)) missing.insert(test);
  }
  EXPECT_THAT(missing, IsEmpty());
}

TEST(ReliabilityPage, ATestThatIsGoneWouldBeFound) {
  EXPECT_EQ(named_tests("see `Suite.Name`, `Other.*` and `file.cpp`"),
            (std::set<std::string>{"Suite.Name", "Other.*"}));
  EXPECT_FALSE(existing_tests().contains("Suite.Name"));
}

}  // namespace
}  // namespace lazypull::test
