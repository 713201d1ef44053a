// The flags of `lazypull prewarm` that tell formats, budgets and what may be under way.

#include "tools/options.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lazypull {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

ParsedCommandLine parse(std::vector<std::string> flags) {
  flags.insert(flags.begin(), {"prewarm", "list"});
  return parse_command_line(flags, [](const std::string&) { return std::nullopt; });
}

PrewarmCommand prewarm(const std::vector<std::string>& flags) {
  const auto parsed = parse(flags);
  if (const auto* exit = std::get_if<ParseExit>(&parsed)) {
    ADD_FAILURE() << exit->text;
    return {};
  }
  return std::get<Options>(parsed).prewarm;
}

std::string refusal(const std::vector<std::string>& flags) {
  const auto parsed = parse(flags);
  const auto* exit = std::get_if<ParseExit>(&parsed);
  if (exit == nullptr) {
    ADD_FAILURE() << "accepted";
    return {};
  }
  EXPECT_EQ(exit->code, ExitCode::usage);
  return exit->text;
}

TEST(PrewarmFlags, LimitNothingByDefault) {
  const auto command = prewarm({});
  EXPECT_EQ(command.format, PrewarmFormat::automatic);
  EXPECT_EQ(command.max_bytes_in_flight, 0U);
  EXPECT_THAT(command.class_rates, IsEmpty());
  EXPECT_THAT(command.rates_file, IsEmpty());
}

TEST(PrewarmFlags, TellTheFormatOfTheLists) {
  EXPECT_EQ(prewarm({"--format", "yaml"}).format, PrewarmFormat::yaml);
  EXPECT_EQ(prewarm({"--format", "lines"}).format, PrewarmFormat::lines);
  EXPECT_THAT(refusal({"--format", "toml"}), HasSubstr("auto, lines, yaml"));
}

TEST(PrewarmFlags, LimitTheBytesInFlight) {
  EXPECT_EQ(prewarm({"--max-bytes-in-flight", "512M"}).max_bytes_in_flight, 512U << 20U);
  EXPECT_THAT(refusal({"--max-bytes-in-flight", "much"}), HasSubstr("--max-bytes-in-flight"));
}

TEST(PrewarmFlags, GiveEachClassItsBandwidth) {
  const auto command =
      prewarm({"--class-rate", "prewarm=20M", "--class-rate", "serving=1G", "--rates-file", "/etc/rates"});
  EXPECT_THAT(command.class_rates,
              ElementsAre(Pair(PullClass::serving, 1U << 30U), Pair(PullClass::prewarm, 20U << 20U)));
  EXPECT_EQ(command.rates_file, "/etc/rates");
  EXPECT_THAT(refusal({"--class-rate", "20M"}), HasSubstr("--class-rate: '20M' is neither"));
}

}  // namespace
}  // namespace lazypull
