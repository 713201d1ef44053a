#include "engine/platform.hpp"

#include "engine/error.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace lazypull {
namespace {

std::string host_os() {
  return Platform::host().os;
}

/// What Platform::parse makes of "linux" on this machine.
std::string on_host(const std::string& os) {
  auto platform = Platform::host();
  platform.os = os;
  return platform.str();
}

/// Taken as it is, like an entry of an index: not normalised.
Platform raw(const std::string& text) {
  Platform platform;
  const auto first = text.find('/');
  const auto second = text.find('/', first + 1);
  platform.os = text.substr(0, first);
  platform.architecture = text.substr(first + 1, second - first - 1);
  if (second != std::string::npos) platform.variant = text.substr(second + 1);
  return platform;
}

struct ParseCase {
  std::string input;
  std::string expected;
};

TEST(Platform, ParsesAndNormalises) {
  const std::vector<ParseCase> cases{
      {"linux/amd64", "linux/amd64"},       {"linux/x86_64", "linux/amd64"},
      {"Linux/x86_64", "linux/amd64"},      {"linux/X86-64", "linux/amd64"},
      {"linux/amd64/v1", "linux/amd64"},    {"linux/amd64/v2", "linux/amd64/v2"},
      {"linux/amd64/V3", "linux/amd64/v3"}, {"linux/arm64", "linux/arm64"},
      {"linux/arm64/v8", "linux/arm64"},    {"linux/arm64/8", "linux/arm64"},
      {"linux/aarch64", "linux/arm64"},     {"linux/Aarch64/v8", "linux/arm64"},
      {"linux/arm64/v9", "linux/arm64/v9"}, {"linux/arm64/v8.1", "linux/arm64/v8.1"},
      {"linux/arm", "linux/arm/v7"},        {"linux/arm/v7", "linux/arm/v7"},
      {"linux/arm/7", "linux/arm/v7"},      {"linux/arm/6", "linux/arm/v6"},
      {"linux/arm/v6", "linux/arm/v6"},     {"linux/arm/5", "linux/arm/v5"},
      {"linux/arm/8", "linux/arm/v8"},      {"linux/armhf", "linux/arm/v7"},
      {"linux/armel", "linux/arm/v6"},      {"linux/i386", "linux/386"},
      {"linux/i386/v1", "linux/386"},       {"linux/386", "linux/386"},
      {"linux/s390x", "linux/s390x"},       {"linux/ppc64le", "linux/ppc64le"},
      {"linux/riscv64", "linux/riscv64"},   {"linux/loong64", "linux/loong64"},
      {"windows/amd64", "windows/amd64"},   {"WINDOWS/AMD64", "windows/amd64"},
      {"macOS/arm64", "darwin/arm64"},      {"darwin/arm64", "darwin/arm64"},
      {"wasip1/wasm", "wasip1/wasm"},       {"unheard-of/machine_1", "unheard-of/machine_1"},
      {"arm", host_os() + "/arm/v7"},       {"armel", host_os() + "/arm/v6"},
      {"armhf", host_os() + "/arm/v7"},     {"Aarch64", host_os() + "/arm64"},
      {"x86_64", host_os() + "/amd64"},     {"i386", host_os() + "/386"},
      {"s390x", host_os() + "/s390x"},      {"wasm", host_os() + "/wasm"},
      {"linux", on_host("linux")},          {"macOS", on_host("darwin")},
      {"freebsd", on_host("freebsd")},
  };
  for (const auto& test : cases) EXPECT_EQ(Platform::parse(test.input).str(), test.expected) << test.input;
}

TEST(Platform, SurvivesPrintingAndParsing) {
  for (const std::string text :
       {"linux/arm/v7", "linux/arm64", "linux/amd64/v2", "windows/amd64", "linux/386"}) {
    EXPECT_EQ(Platform::parse(Platform::parse(text).str()), Platform::parse(text)) << text;
  }
}

TEST(Platform, RefusesWhatIsNotAPlatform) {
  const std::vector<std::string> bad{
      "",
      "/",
      "/linux/arm",
      "linux/arm/",
      "linux//arm",
      "linux /arm",
      "linux/&arm",
      "linux/arm/foo/bar",
      "*",
      "linux/*",
      "*/arm64",
      "toaster",
      "linux/arm\n",
      std::string("linux/\0arm", 10),
      "linux/" + std::string(300, 'a'),
  };
  for (const auto& text : bad) {
    try {
      const auto platform = Platform::parse(text);
      ADD_FAILURE() << text << " was taken for " << platform.str();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::invalid_argument) << text;
      EXPECT_EQ(error.message().find('\n'), std::string::npos);
    }
  }
}

TEST(Platform, OfThisMachineIsComplete) {
  const auto host = Platform::host();
  EXPECT_FALSE(host.os.empty());
  EXPECT_FALSE(host.architecture.empty());
  EXPECT_EQ(host, host.normalized());
  EXPECT_EQ(Platform::parse(host.str()), host);
}

TEST(Platform, NormalisingFillsInTheOperatingSystemOnly) {
  const auto normalized = Platform{}.normalized();
  EXPECT_EQ(normalized.os, host_os());
  EXPECT_EQ(normalized.architecture, "");
}

TEST(Platform, NormalisingKeepsVersionAndFeatures) {
  Platform windows = raw("Windows/x86_64");
  windows.os_version = "10.0.17763.1457";
  windows.os_features = {"win32k"};
  const auto normalized = windows.normalized();
  EXPECT_EQ(normalized.str(), "windows/amd64");
  EXPECT_EQ(normalized.os_version, "10.0.17763.1457");
  EXPECT_EQ(normalized.os_features, std::vector<std::string>{"win32k"});
}

TEST(Platform, WithoutAnOperatingSystemIsPrintedAsUnknown) {
  EXPECT_EQ(Platform{}.str(), "unknown");
}

struct MatchCase {
  std::string platform;
  std::vector<std::string> matching;
  std::vector<std::string> others;
};

TEST(PlatformMatcher, OnlyMatchesWhatThePlatformRuns) {
  const std::vector<MatchCase> cases{
      {"linux/amd64",
       {"linux/amd64", "linux/x86_64", "linux/amd64/v1", "linux/386", "linux/i386", "LINUX/AMD64"},
       {"linux/amd64/v2", "linux/arm/v7", "linux/arm64", "windows/amd64", "windows/arm", "unknown/unknown"}},
      {"linux/amd64/v2",
       {"linux/amd64", "linux/amd64/v1", "linux/amd64/v2", "linux/386"},
       {"linux/amd64/v3", "linux/amd64/v4", "linux/arm/v7", "linux/arm64", "windows/amd64", "windows/arm"}},
      {"linux/386",
       {"linux/386", "linux/i386"},
       {"linux/amd64", "linux/arm/v7", "linux/arm64", "windows/386"}},
      {"windows/amd64", {"windows/amd64"}, {"linux/amd64", "linux/arm/v7", "linux/arm64", "windows/arm"}},
      {"linux/arm/v8",
       {"linux/arm", "linux/arm/v5", "linux/arm/v6", "linux/arm/v7", "linux/arm/v8"},
       {"linux/amd64", "linux/arm/v4", "linux/arm64", "windows/amd64", "windows/arm"}},
      {"linux/arm/v7",
       {"linux/arm", "linux/armhf", "linux/armel", "linux/arm/v5", "linux/arm/v6", "linux/arm/v7"},
       {"linux/amd64", "linux/arm/v4", "linux/arm/v8", "linux/arm64", "windows/amd64", "windows/arm"}},
      {"linux/arm/v6",
       {"linux/arm/v5", "linux/arm/v6", "linux/armel"},
       {"linux/amd64", "linux/arm", "linux/arm/v4", "linux/arm/v7", "linux/arm/v8", "linux/arm64"}},
      {"linux/arm/v5",
       {"linux/arm/v5"},
       {"linux/amd64", "linux/arm", "linux/arm/v4", "linux/arm/v6", "linux/arm/v7", "linux/arm/v8"}},
      {"linux/arm/v4", {"linux/arm/v4"}, {"linux/arm", "linux/arm/v5", "linux/arm/v6", "linux/arm/v7"}},
      {"linux/arm64",
       {"linux/arm", "linux/arm/v5", "linux/arm/v6", "linux/arm/v7", "linux/arm/v8", "linux/arm64",
        "linux/arm64/v8", "linux/aarch64"},
       {"linux/amd64", "linux/arm/v4", "linux/arm/v9", "linux/arm64/v9", "windows/amd64", "windows/arm"}},
      {"linux/arm64/v9",
       {"linux/arm64/v9", "linux/arm64", "linux/arm64/v8", "linux/arm/v8", "linux/arm/v7"},
       {"linux/amd64", "linux/arm64/v10"}},
      {"linux/riscv64", {"linux/riscv64"}, {"linux/amd64", "linux/riscv"}},
      {"linux/s390x", {"linux/s390x"}, {"linux/s390", "linux/amd64"}},
  };
  for (const auto& test : cases) {
    const auto matcher = PlatformMatcher::only(Platform::parse(test.platform));
    for (const auto& text : test.matching) {
      EXPECT_TRUE(matcher.matches(raw(text))) << test.platform << " runs " << text;
    }
    for (const auto& text : test.others) {
      EXPECT_FALSE(matcher.matches(raw(text))) << test.platform << " does not run " << text;
    }
  }
}

struct OrderCase {
  std::string platform;
  std::vector<std::string> best_first;
};

TEST(PlatformMatcher, OnlyPrefersWhatIsClosestToThePlatform) {
  const std::vector<OrderCase> cases{
      {"linux/amd64", {"linux/amd64", "linux/386"}},
      {"linux/amd64/v3", {"linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"}},
      {"linux/amd64/v4",
       {"linux/amd64/v4", "linux/amd64/v3", "linux/amd64/v2", "linux/amd64/v1", "linux/386"}},
      {"linux/arm64", {"linux/arm64/v8", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"}},
      {"linux/arm64/v9", {"linux/arm64/v9", "linux/arm64", "linux/arm/v8", "linux/arm/v7"}},
      {"linux/arm/v8", {"linux/arm/v8", "linux/arm", "linux/arm/v6", "linux/arm/v5"}},
      {"linux/arm/v7", {"linux/arm/v7", "linux/armel", "linux/arm/v5"}},
  };
  for (const auto& test : cases) {
    const auto matcher = PlatformMatcher::only(Platform::parse(test.platform));
    for (std::size_t i = 0; i < test.best_first.size(); ++i) {
      for (std::size_t j = 0; j < test.best_first.size(); ++j) {
        EXPECT_EQ(matcher.less(raw(test.best_first[i]), raw(test.best_first[j])), i < j)
            << test.platform << ": " << test.best_first[i] << " before " << test.best_first[j];
      }
    }
  }
}

TEST(PlatformMatcher, AnOddVariantIsMatchedOnlyAsItIs) {
  for (const std::string variant : {"v", "v-1", "vx", "v99999999999999999999", "v2000000000", "3"}) {
    const auto matcher = PlatformMatcher::only(raw("linux/amd64/" + variant));
    EXPECT_TRUE(matcher.matches(raw("linux/amd64/" + variant))) << variant;
    EXPECT_FALSE(matcher.matches(raw("linux/amd64/v2"))) << variant;
    EXPECT_TRUE(matcher.matches(raw("linux/386"))) << variant;
  }
}

TEST(PlatformMatcher, AnyMatchesEachGivenPlatformExactly) {
  const auto matcher = PlatformMatcher::any({Platform::parse("linux/arm64"), Platform::parse("linux/amd64")});
  EXPECT_TRUE(matcher.matches(raw("linux/x86_64")));
  EXPECT_TRUE(matcher.matches(raw("linux/arm64/v8")));
  EXPECT_FALSE(matcher.matches(raw("linux/386")));
  EXPECT_FALSE(matcher.matches(raw("linux/arm/v7")));
  EXPECT_FALSE(matcher.wants_all());
}

TEST(PlatformMatcher, AnyOrdersAsGiven) {
  const auto matcher = PlatformMatcher::any({Platform::parse("linux/arm64"), Platform::parse("linux/amd64")});
  EXPECT_TRUE(matcher.less(raw("linux/arm64"), raw("linux/amd64")));
  EXPECT_FALSE(matcher.less(raw("linux/amd64"), raw("linux/arm64")));
  EXPECT_FALSE(matcher.less(raw("linux/amd64"), raw("linux/amd64")));
}

TEST(PlatformMatcher, AnyOfNoneMatchesNothing) {
  EXPECT_FALSE(PlatformMatcher::any({}).matches(Platform::host()));
}

TEST(PlatformMatcher, AllMatchesEverythingAndPrefersNothing) {
  const auto matcher = PlatformMatcher::all();
  EXPECT_TRUE(matcher.wants_all());
  EXPECT_TRUE(matcher.matches(raw("unknown/unknown")));
  EXPECT_TRUE(matcher.matches(raw("plan9/mips")));
  EXPECT_FALSE(matcher.less(raw("linux/amd64"), raw("plan9/mips")));
}

TEST(PlatformMatcher, SaysWhatItLooksFor) {
  EXPECT_EQ(PlatformMatcher::only(raw("linux/x86_64")).str(), "linux/amd64");
  EXPECT_EQ(PlatformMatcher::any({raw("linux/aarch64"), raw("linux/arm")}).str(),
            "linux/arm64, linux/arm/v7");
  EXPECT_EQ(PlatformMatcher::all().str(), "all");
}

}  // namespace
}  // namespace lazypull
