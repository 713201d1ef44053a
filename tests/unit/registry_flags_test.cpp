// Flags about how registries are reached.
#include "tools/byte_size.hpp"
#include "tools/options.hpp"

#include <gtest/gtest.h>

#include <map>

namespace lazypull {
namespace {

ParsedCommandLine parse(std::vector<std::string> flags,
                        const std::map<std::string, std::string>& variables = {}) {
  flags.insert(flags.begin(), {"pull", "alpine"});
  return parse_command_line(flags, [&](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  });
}

Options options(std::vector<std::string> flags, const std::map<std::string, std::string>& variables = {}) {
  const auto parsed = parse(std::move(flags), variables);
  if (const auto* options = std::get_if<Options>(&parsed)) return *options;
  ADD_FAILURE() << std::get<ParseExit>(parsed).text;
  return {};
}

std::string refusal(std::vector<std::string> flags) {
  const auto parsed = parse(std::move(flags));
  const auto* exit = std::get_if<ParseExit>(&parsed);
  return exit == nullptr ? "accepted" : exit->text;
}

TEST(ByteSize, IsWrittenAsForCurl) {
  EXPECT_EQ(parse_byte_size("0"), 0U);
  EXPECT_EQ(parse_byte_size("500000"), 500000U);
  EXPECT_EQ(parse_byte_size("500B"), 500U);
  for (const auto* text : {"64k", "64K", "64kb", "64KiB"}) EXPECT_EQ(parse_byte_size(text), 65536U) << text;
  EXPECT_EQ(parse_byte_size("8M"), 8U << 20U);
  EXPECT_EQ(parse_byte_size("1g"), 1U << 30U);
  EXPECT_EQ(parse_byte_size("2T"), 2ULL << 40U);
}

TEST(ByteSize, RefusesWhatIsNone) {
  for (const auto* text :
       {"", "k", "-1", "1.5M", "1 M", "1x", "1Mx", "1iB", "1kib2", "99999999999999999999", "9999999T"}) {
    EXPECT_EQ(parse_byte_size(text), std::nullopt) << text;
  }
}

TEST(RegistryFlags, HaveDefaults) {
  const auto parsed = options({});
  EXPECT_EQ(parsed.hosts_dir, "");
  EXPECT_EQ(parsed.concurrent_layer_fetch_buffer, 0U);
  EXPECT_EQ(parsed.max_connections_per_host, 16U);
  EXPECT_EQ(parsed.limit_rate, 0U);
  EXPECT_EQ(parsed.progress_timeout, std::chrono::minutes(5)) << "containerd's image_pull_progress_timeout";
  EXPECT_EQ(parsed.mirror_timeout, std::chrono::seconds(30));
  EXPECT_EQ(parsed.min_speed, 0U);
  EXPECT_EQ(parsed.retry_budget, 100U);
}

TEST(RegistryFlags, SayHowPatientAPullIs) {
  const auto parsed = options(
      {"--progress-timeout", "90s", "--mirror-timeout", "0s", "--min-speed", "100k", "--retry-budget", "0"});
  EXPECT_EQ(parsed.progress_timeout, std::chrono::seconds(90));
  EXPECT_EQ(parsed.mirror_timeout, std::chrono::seconds(0));
  EXPECT_EQ(parsed.min_speed, 102400U);
  EXPECT_EQ(parsed.retry_budget, 0U);
  EXPECT_EQ(refusal({"--progress-timeout", "soon"}),
            "--progress-timeout: 'soon' is not a duration such as 30s or 1m30s");
  EXPECT_EQ(refusal({"--retry-budget", "-1"}), "--retry-budget: '-1' is not a number from 0 up");
}

TEST(RegistryFlags, AreRead) {
  const auto parsed = options({"--hosts-dir", "/certs.d", "--concurrent-layer-fetch-buffer", "8M",
                               "--max-connections-per-host", "4", "--limit-rate", "500k"});
  EXPECT_EQ(parsed.hosts_dir, "/certs.d");
  EXPECT_EQ(parsed.concurrent_layer_fetch_buffer, 8U << 20U);
  EXPECT_EQ(parsed.max_connections_per_host, 4U);
  EXPECT_EQ(parsed.limit_rate, 512000U);
}

TEST(RegistryFlags, TheHostsDirectoryMayComeFromTheEnvironment) {
  EXPECT_EQ(options({}, {{"LAZYPULL_HOSTS_DIR", "/e"}}).hosts_dir, "/e");
  EXPECT_EQ(options({"--hosts-dir", "/f"}, {{"LAZYPULL_HOSTS_DIR", "/e"}}).hosts_dir, "/f");
}

TEST(RegistryFlags, SayWhatIsWrong) {
  EXPECT_EQ(refusal({"--limit-rate", "fast"}),
            "--limit-rate: 'fast' is not a number of bytes such as 500000, 64k or 8M");
  EXPECT_EQ(refusal({"--concurrent-layer-fetch-buffer", "1k"}),
            "--concurrent-layer-fetch-buffer: '1k' is not from 64k to 1G");
  EXPECT_EQ(refusal({"--max-connections-per-host", "-1"}),
            "--max-connections-per-host: '-1' is not a number from 0 up");
}

}  // namespace
}  // namespace lazypull
