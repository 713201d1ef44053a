// Platforms agree with the tests of containerd, regclient and go-containerregistry.
#include "engine/error.hpp"
#include "engine/platform.hpp"
#include "tests/data/peer_table.hpp"

namespace lazypull {
namespace {

using test::flag_at;
using test::text_at;

std::string or_host(const std::string& text, const std::string& host) {
  return text == "HOST" ? host : text;
}

/// As an index has it: not normalised.
Platform as_written(const test::json::object& object) {
  Platform platform;
  platform.os = text_at(object, "os");
  platform.architecture = text_at(object, "architecture");
  platform.variant = text_at(object, "variant");
  platform.os_version = text_at(object, "os_version");
  return platform;
}

TEST(PeerTables, PlatformsAreReadAsByThePeers) {
  const auto host = Platform::host();
  test::for_each_row({"platform-parse-containerd", "platform-parse-others"}, 66, [&](const auto& row) {
    const auto input = text_at(row, "input");
    if (flag_at(row, "refused")) {
      EXPECT_THROW(Platform::parse(input), Error);
      return;
    }
    Platform expected;
    expected.os = or_host(text_at(row, "os"), host.os);
    expected.architecture = or_host(text_at(row, "architecture"), host.architecture);
    expected.variant = or_host(text_at(row, "variant"), host.variant);
    const auto platform = Platform::parse(input);
    EXPECT_EQ(platform, expected.normalized());
    EXPECT_EQ(Platform::parse(platform.str()), platform);
    const auto printed = text_at(row, "printed");
    if (!printed.empty()) EXPECT_EQ(platform.str(), printed);
  });
}

TEST(PeerTables, PlatformsMatchAsInContainerd) {
  test::for_each_row({"platform-match-containerd"}, 294, [](const auto& row) {
    const auto& wanted_text = row.at("wanted");
    const auto wanted = wanted_text.is_string() ? Platform::parse(text_at(row, "wanted"))
                                                : as_written(wanted_text.as_object());
    const auto matcher =
        flag_at(row, "strict") ? PlatformMatcher::any({wanted}) : PlatformMatcher::only(wanted);
    EXPECT_EQ(matcher.matches(as_written(row.at("candidate").as_object())), flag_at(row, "matches"));
  });
}

TEST(PeerTables, TheBetterPlatformIsThatOfRegclient) {
  test::for_each_row({"platform-order-regclient"}, 19, [](const auto& row) {
    const auto matcher = PlatformMatcher::only(as_written(row.at("host").as_object()));
    const auto target = as_written(row.at("target").as_object());
    EXPECT_EQ(matcher.matches(target), flag_at(row, "matches"));
    if (!row.contains("previous")) return;
    EXPECT_EQ(matcher.less(target, as_written(row.at("previous").as_object())), flag_at(row, "better"));
  });
}

}  // namespace
}  // namespace lazypull
