// Every seed of the fuzzers and everything that they have ever found, without libFuzzer.
#include "tests/fuzz/fuzz_target.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace lazypull {
namespace {

std::string content_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::size_t replay(const fuzz::Target& target, const std::filesystem::path& folder) {
  std::size_t files = 0;
  if (!std::filesystem::exists(folder)) return files;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    SCOPED_TRACE(file.path().string());
    const auto input = content_of(file.path());
    EXPECT_NO_THROW(target.run(std::as_bytes(std::span(input))));
    ++files;
  }
  return files;
}

TEST(FuzzReplay, EverySeedAndPastFindingHoldsTheProperties) {
  const std::filesystem::path data = LAZYPULL_FUZZ_DATA;
  for (const auto& target : fuzz::targets()) {
    EXPECT_GE(replay(target, data / "corpus" / target.name), 3U) << target.name << " lacks seeds";
    replay(target, data / "findings" / target.name);
  }
}

TEST(FuzzReplay, EveryFolderBelongsToATarget) {
  for (const auto* kind : {"corpus", "findings"}) {
    const auto folder = std::filesystem::path(LAZYPULL_FUZZ_DATA) / kind;
    if (!std::filesystem::exists(folder)) continue;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      const auto all = fuzz::targets();
      const auto known = std::ranges::any_of(
          all, [&](const auto& target) { return target.name == entry.path().filename().string(); });
      EXPECT_TRUE(known) << entry.path();
    }
  }
}

}  // namespace
}  // namespace lazypull
