#include "tools/options.hpp"

#include "engine/labels.hpp"
#include "tools/store_directory.hpp"
#include "transport/duration.hpp"

#include <gtest/gtest.h>

#include <map>
#include <unistd.h>

namespace lazypull {
namespace {

using namespace std::chrono_literals;
using Arguments = std::vector<std::string>;
using Variables = std::map<std::string, std::string>;

ParsedCommandLine parse(const Arguments& arguments, const Variables& variables = {}) {
  return parse_command_line(arguments, [&](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  });
}

Options options(const Arguments& arguments, const Variables& variables = {}) {
  const auto parsed = parse(arguments, variables);
  if (const auto* exit = std::get_if<ParseExit>(&parsed)) {
    ADD_FAILURE() << exit->text;
    return {};
  }
  return std::get<Options>(parsed);
}

ParseExit rejected(const Arguments& arguments) {
  const auto parsed = parse(arguments);
  if (const auto* exit = std::get_if<ParseExit>(&parsed)) return *exit;
  std::string line;
  for (const auto& argument : arguments) line += " " + argument;
  ADD_FAILURE() << "accepted:" << line;
  return {};
}

TEST(Options, DefaultsAreThoseOfCtr) {
  const auto parsed = options({"pull", "alpine"});
  EXPECT_EQ(parsed.command, Command::pull);
  EXPECT_EQ(parsed.reference.name(), "docker.io/library/alpine:latest");
  EXPECT_EQ(parsed.address, "/run/containerd/containerd.sock");
  EXPECT_EQ(parsed.containerd_namespace, "default");
  EXPECT_EQ(parsed.snapshotter, "overlayfs");
  EXPECT_EQ(parsed.timeout, 0s);
  EXPECT_EQ(parsed.connect_timeout, 10s);
  EXPECT_EQ(parsed.max_concurrent_downloads, 3U);
  EXPECT_EQ(parsed.output, OutputFormat::text);
  EXPECT_EQ(parsed.progress, ProgressMode::automatic);
  EXPECT_TRUE(parsed.platforms.empty());
  EXPECT_TRUE(parsed.image_labels.empty());
  EXPECT_FALSE(parsed.user);
  EXPECT_FALSE(parsed.debug || parsed.all_platforms || parsed.all_metadata || parsed.remote_snapshot ||
               parsed.plain_http || parsed.skip_verify || parsed.quiet || parsed.print_chain_id);
}

TEST(Options, EachCommandIsKnown) {
  EXPECT_EQ(options({"pull", "a"}).command, Command::pull);
  EXPECT_EQ(options({"fetch", "a"}).command, Command::fetch);
  EXPECT_EQ(options({"plan", "a"}).command, Command::plan);
  EXPECT_EQ(options({"version"}).command, Command::version);
}

TEST(Options, GlobalFlagsStandBeforeOrAfterTheCommand) {
  const Arguments flags{"-a",    "/tmp/c.sock",       "-n",    "k8s.io", "--timeout",
                        "1m30s", "--connect-timeout", "250ms", "--debug"};
  Arguments before = flags;
  before.insert(before.end(), {"pull", "alpine"});
  Arguments after{"pull"};
  after.insert(after.end(), flags.begin(), flags.end());
  after.push_back("alpine");
  for (const auto& arguments : {before, after}) {
    const auto parsed = options(arguments);
    EXPECT_EQ(parsed.address, "/tmp/c.sock");
    EXPECT_EQ(parsed.containerd_namespace, "k8s.io");
    EXPECT_EQ(parsed.timeout, 90s);
    EXPECT_EQ(parsed.connect_timeout, 250ms);
    EXPECT_TRUE(parsed.debug);
    EXPECT_EQ(parsed.reference.name(), "docker.io/library/alpine:latest");
  }
}

TEST(Options, FlagsStandBeforeOrAfterTheReference) {
  EXPECT_TRUE(options({"pull", "-k", "alpine"}).skip_verify);
  EXPECT_TRUE(options({"pull", "alpine", "-k"}).skip_verify);
  // A flag that may be repeated must not swallow the reference.
  EXPECT_EQ(options({"pull", "--platform", "linux/arm64", "alpine"}).platforms.size(), 1U);
}

TEST(Options, VariablesOfTheEnvironmentAreThoseOfCtr) {
  const Variables variables{{"CONTAINERD_ADDRESS", "/env.sock"},
                            {"CONTAINERD_NAMESPACE", "env"},
                            {"CONTAINERD_SNAPSHOTTER", "stargz"}};
  for (const char* command : {"pull", "fetch", "plan"}) {
    const auto parsed = options({command, "alpine"}, variables);
    EXPECT_EQ(parsed.address, "/env.sock");
    EXPECT_EQ(parsed.containerd_namespace, "env");
    EXPECT_EQ(parsed.snapshotter, "stargz");
  }
}

TEST(Options, AFlagGoesBeforeTheEnvironment) {
  const Variables variables{{"CONTAINERD_ADDRESS", "/env.sock"},
                            {"CONTAINERD_NAMESPACE", "env"},
                            {"CONTAINERD_SNAPSHOTTER", "stargz"}};
  const auto parsed =
      options({"--address=/flag.sock", "pull", "-n", "flag", "--snapshotter", "native", "alpine"}, variables);
  EXPECT_EQ(parsed.address, "/flag.sock");
  EXPECT_EQ(parsed.containerd_namespace, "flag");
  EXPECT_EQ(parsed.snapshotter, "native");
}

TEST(Options, AnEmptyVariableCountsAsNotSet) {
  EXPECT_EQ(options({"pull", "alpine"}, {{"CONTAINERD_NAMESPACE", ""}}).containerd_namespace, "default");
}

TEST(Options, PlatformsAreRepeatedOrSeparatedByCommas) {
  const auto parsed =
      options({"pull", "--platform", "linux/amd64,linux/arm/v7", "--platform", "linux/arm64", "alpine"});
  ASSERT_EQ(parsed.platforms.size(), 3U);
  EXPECT_EQ(parsed.platforms[0].str(), "linux/amd64");
  EXPECT_EQ(parsed.platforms[1].str(), "linux/arm/v7");
  EXPECT_EQ(parsed.platforms[2].architecture, "arm64");
}

TEST(Options, LabelsAreSplitAtTheFirstEqualsSign) {
  const auto parsed = options({"pull", "--label", "a=1", "--label", "b=x=y,z", "--label", "bare", "alpine"});
  const Labels expected{{"a", "1"}, {"b", "x=y,z"}, {"bare", "true"}};
  EXPECT_EQ(parsed.image_labels, expected);
}

TEST(Options, TheLastOfARepeatedFlagCounts) {
  const auto parsed =
      options({"-n", "one", "pull", "--snapshotter", "a", "--snapshotter", "b", "-n", "two", "x"});
  EXPECT_EQ(parsed.containerd_namespace, "two");
  EXPECT_EQ(parsed.snapshotter, "b");
}

TEST(Options, EveryFlagOfAnImageCommandIsTaken) {
  const auto parsed = options({"pull",
                               "--all-platforms",
                               "--all-metadata",
                               "--max-concurrent-downloads",
                               "0",
                               "--remote-snapshot",
                               "--fetch-policy",
                               "eager",
                               "-u",
                               "me:secret:1",
                               "--plain-http",
                               "--tlscacert",
                               "ca",
                               "--tlscert",
                               "crt",
                               "--tlskey",
                               "key",
                               "--output",
                               "json",
                               "--print-chainid",
                               "--progress",
                               "plain",
                               "alpine"});
  EXPECT_TRUE(parsed.all_platforms);
  EXPECT_TRUE(parsed.all_metadata);
  EXPECT_EQ(parsed.max_concurrent_downloads, 0U);
  EXPECT_TRUE(parsed.remote_snapshot);
  EXPECT_EQ(parsed.fetch_policy, FetchPolicy::eager);
  EXPECT_EQ(parsed.user, "me:secret:1");
  EXPECT_TRUE(parsed.plain_http);
  EXPECT_EQ(parsed.tls_ca, "ca");
  EXPECT_EQ(parsed.tls_cert, "crt");
  EXPECT_EQ(parsed.tls_key, "key");
  EXPECT_EQ(parsed.output, OutputFormat::json);
  EXPECT_TRUE(parsed.print_chain_id);
  EXPECT_EQ(parsed.progress, ProgressMode::plain);
}

TEST(Options, WhoUnpacksIsChosen) {
  EXPECT_EQ(options({"pull", "a"}).unpack, UnpackMode::automatic);
  EXPECT_EQ(options({"pull", "a", "--unpack", "auto"}).unpack, UnpackMode::automatic);
  EXPECT_EQ(options({"pull", "a", "--unpack", "direct"}).unpack, UnpackMode::direct);
  EXPECT_EQ(options({"pull", "a", "--unpack=diff-service"}).unpack, UnpackMode::diff_service);
}

TEST(Options, DiscardingUnpackedLayersReachesTheEngine) {
  EXPECT_FALSE(pull_options(options({"pull", "a"}), true).discard_unpacked_layers);
  EXPECT_TRUE(
      pull_options(options({"pull", "a", "--discard-unpacked-layers"}), true).discard_unpacked_layers);
}

TEST(Options, RegistryServeTakesLayouts) {
  const auto parsed = options({"registry", "serve", "--address", "127.0.0.1:5000", "one", "two"});
  EXPECT_EQ(parsed.command, Command::registry);
  EXPECT_EQ(parsed.registry.address, "127.0.0.1:5000");
  EXPECT_EQ(parsed.registry.layouts, (std::vector<std::string>{"one", "two"}));
}

TEST(Store, TheOneThatIsNamedIsTaken) {
  const auto by_flag = options({"--store", "/somewhere", "pull", "a"});
  EXPECT_EQ(store_directory(by_flag, {}), "/somewhere");
  const auto by_variable = options({"pull", "a"}, {{"LAZYPULL_STORE", "/elsewhere"}});
  EXPECT_EQ(store_directory(by_variable, {}), "/elsewhere");
}

TEST(Options, StoragesOfLayersAreRepeatedOrSeparatedByCommasOrInTheEnvironment) {
  const std::map<std::string, std::string> environment{{"LAZYPULL_REMOTE", "/one,/two"}};
  const auto by_flag = options({"pull", "--remote", "/a,/b", "--remote", "/c", "a"}, environment);
  EXPECT_EQ(by_flag.remotes, (std::vector<std::string>{"/a", "/b", "/c"}));
  EXPECT_TRUE(by_flag.remotes_given);
  const auto by_variable = options({"plan", "a"}, environment);
  EXPECT_EQ(by_variable.remotes, (std::vector<std::string>{"/one", "/two"}));
  EXPECT_FALSE(by_variable.remotes_given);
  EXPECT_EQ(rejected({"pull", "--remote", "/a,", "a"}).code, ExitCode::usage);
}

TEST(Store, IsNotTakenWhereContainerdIsNamed) {
  const auto by_flag = options({"--address", "/nowhere.sock", "pull", "a"});
  EXPECT_FALSE(store_directory(by_flag, {}));
  const auto by_variable = options({"pull", "a"}, {{"CONTAINERD_ADDRESS", "/nowhere.sock"}});
  EXPECT_FALSE(store_directory(by_variable, {}));
}

TEST(Store, IsTheDefaultOneWhereNoContainerdIs) {
  auto parsed = options({"pull", "a"});
  const Environment home = [](const std::string& name) {
    return name == "HOME" ? std::optional<std::string>("/home/u") : std::nullopt;
  };
  parsed.address = "/nonexistent/containerd.sock";
  EXPECT_EQ(store_directory(parsed, home), default_store_directory(::geteuid() == 0, home));
  parsed.address = "/";  // something is there
  EXPECT_FALSE(store_directory(parsed, home));
}

TEST(Store, TheDefaultFollowsTheBaseDirectories) {
  const auto directory = [](bool root, const Variables& variables) {
    return default_store_directory(root, [&](const std::string& name) -> std::optional<std::string> {
      const auto found = variables.find(name);
      if (found == variables.end()) return std::nullopt;
      return found->second;
    });
  };
  EXPECT_EQ(directory(true, {{"HOME", "/root"}}), "/var/lib/lazypull");
  EXPECT_EQ(directory(false, {{"HOME", "/home/u"}}), "/home/u/.local/share/lazypull");
  EXPECT_EQ(directory(false, {{"HOME", "/home/u"}, {"XDG_DATA_HOME", "/data"}}), "/data/lazypull");
  EXPECT_EQ(directory(false, {{"HOME", "/home/u"}, {"XDG_DATA_HOME", "relative"}}),
            "/home/u/.local/share/lazypull");
  EXPECT_THROW(directory(false, {}), Error);
}

TEST(Options, QuietTurnsProgressOff) {
  const auto parsed = options({"pull", "-q", "--progress", "tty", "alpine"});
  EXPECT_TRUE(parsed.quiet);
  EXPECT_EQ(parsed.progress, ProgressMode::none);
}

struct WrongLine {
  const char* name;
  Arguments arguments;
  std::string mentions;
};

class WrongCommandLine : public testing::TestWithParam<WrongLine> {};

TEST_P(WrongCommandLine, ExitsWithUsageAndSaysWhatIsWrong) {
  const auto exit = rejected(GetParam().arguments);
  EXPECT_EQ(exit.code, ExitCode::usage);
  EXPECT_NE(exit.text.find(GetParam().mentions), std::string::npos) << exit.text;
}

INSTANTIATE_TEST_SUITE_P(
    Lines, WrongCommandLine,
    testing::Values(
        WrongLine{"NoCommand", {}, "command"}, WrongLine{"UnknownCommand", {"push", "a"}, "push"},
        WrongLine{"TwoCommands", {"version", "plan", "a"}, "plan"}, WrongLine{"NoReference", {"pull"}, "REF"},
        WrongLine{"TwoReferences", {"pull", "a", "b"}, "b"},
        WrongLine{"UnknownFlag", {"pull", "--nope", "a"}, "nope"},
        WrongLine{"FlagWithoutValue", {"pull", "a", "--snapshotter"}, "--snapshotter"},
        WrongLine{"ImageFlagOfVersion", {"version", "--plain-http"}, "plain-http"},
        WrongLine{"BadReference", {"pull", "app:bad/tag:x"}, "app:bad/tag:x"},
        WrongLine{"EmptyReference", {"pull", ""}, ""},
        WrongLine{"BadPlatform", {"pull", "--platform", "linux/amd64/v1/x/y", "a"}, "linux/amd64/v1/x/y"},
        WrongLine{"EmptyPlatform", {"pull", "--platform", "linux/amd64,", "a"}, "--platform"},
        WrongLine{
            "AllAndOnePlatform", {"pull", "--platform", "linux", "--all-platforms", "a"}, "--all-platforms"},
        WrongLine{"BadTimeout", {"--timeout", "5", "pull", "a"}, "--timeout"},
        WrongLine{"NegativeTimeout", {"pull", "--timeout=-1s", "a"}, "--timeout"},
        WrongLine{"BadConnectTimeout", {"pull", "--connect-timeout", "soon", "a"}, "--connect-timeout"},
        WrongLine{"BadNumber", {"pull", "--max-concurrent-downloads", "3x", "a"}, "3x"},
        WrongLine{"NegativeNumber", {"pull", "--max-concurrent-downloads=-1", "a"}, "-1"},
        WrongLine{"HugeNumber", {"pull", "--max-concurrent-downloads", "99999999999999999999", "a"}, "9999"},
        WrongLine{"BadPolicy", {"pull", "--fetch-policy", "lazy", "a"}, "auto, sparse, eager"},
        WrongLine{"BadOutput", {"pull", "--output", "yaml", "a"}, "text, json"},
        WrongLine{"BadProgress", {"pull", "--progress", "fancy", "a"}, "plain"},
        WrongLine{"BadDialect", {"pull", "--remote-labels", "soci", "a"}, "stargz"},
        WrongLine{"AutoAndDialect", {"pull", "--remote-labels", "auto,cri", "a"}, "auto"},
        WrongLine{"LabelWithoutKey", {"pull", "--label", "=v", "a"}, "--label"},
        WrongLine{"LongLabel", {"pull", "--label", "k=" + std::string(4096, 'v'), "a"}, "4096"},
        WrongLine{"UserWithoutName", {"pull", "-u", ":secret", "a"}, "--user"},
        WrongLine{"CertWithoutKey", {"pull", "--tlscert", "crt", "a"}, "--tlskey"},
        WrongLine{"EmptyNamespace", {"-n", "", "pull", "a"}, "--namespace"},
        WrongLine{"EmptySnapshotter", {"pull", "--snapshotter", "", "a"}, "--snapshotter"}),
    [](const auto& info) { return info.param.name; });

TEST(Options, AWrongUserDoesNotShowThePassword) {
  EXPECT_EQ(rejected({"pull", "-u", ":secret", "a"}).text.find("secret"), std::string::npos);
}

TEST(Options, HelpIsNoFailureAndDocumentsFlagsAndExitCodes) {
  const auto exit = rejected({"--help"});
  EXPECT_EQ(exit.code, ExitCode::ok);
  for (const char* text : {"pull", "fetch", "plan", "version", "--address", "CONTAINERD_ADDRESS",
                           "--namespace", "--timeout", "Exit codes:", "124"}) {
    EXPECT_NE(exit.text.find(text), std::string::npos) << text;
  }
}

TEST(Options, HelpOfACommandListsItsFlags) {
  const auto exit = rejected({"pull", "--help"});
  EXPECT_EQ(exit.code, ExitCode::ok);
  for (const char* text : {"--platform", "--snapshotter", "CONTAINERD_SNAPSHOTTER", "--remote-labels",
                           "--user", "--tlscacert", "--print-chainid", "--output"}) {
    EXPECT_NE(exit.text.find(text), std::string::npos) << text;
  }
}

TEST(Options, VersionIsNoFailure) {
  const auto exit = rejected({"--version"});
  EXPECT_EQ(exit.code, ExitCode::ok);
  EXPECT_EQ(exit.text.rfind("lazypull ", 0), 0U);
}

TEST(Options, AWrongLineThatAsksForJsonIsAnsweredInJson) {
  EXPECT_EQ(rejected({"pull", "--output", "json", "--nope", "a"}).output, OutputFormat::json);
  EXPECT_EQ(rejected({"pull", "--output=json"}).output, OutputFormat::json);
  EXPECT_EQ(rejected({"pull"}).output, OutputFormat::text);
}

using Dialects = std::set<LabelDialect>;

TEST(LabelDialects, AutoSendsThoseOfRemoteSnapshottersOnlyToThem) {
  const auto parsed = options({"pull", "a"});
  EXPECT_EQ(label_dialects(parsed, true), Dialects{LabelDialect::containerd});
  EXPECT_EQ(label_dialects(parsed, false),
            (Dialects{LabelDialect::containerd, LabelDialect::cri, LabelDialect::stargz}));
  EXPECT_EQ(label_dialects(options({"pull", "--remote-labels", "auto", "a"}), true),
            Dialects{LabelDialect::containerd});
}

TEST(LabelDialects, TheProtocolOf2019AddsItsOwn) {
  const auto parsed = options({"pull", "--remote-snapshot", "a"});
  EXPECT_EQ(label_dialects(parsed, true), (Dialects{LabelDialect::containerd, LabelDialect::v2019}));
  EXPECT_EQ(label_dialects(parsed, false), (Dialects{LabelDialect::containerd, LabelDialect::cri,
                                                     LabelDialect::stargz, LabelDialect::v2019}));
}

TEST(LabelDialects, ThoseThatAreNamedAreTakenAsTheyAre) {
  const auto parsed = options({"pull", "--remote-labels", "cri,stargz", "--remote-labels", "2019", "a"});
  const Dialects expected{LabelDialect::cri, LabelDialect::stargz, LabelDialect::v2019};
  EXPECT_EQ(label_dialects(parsed, true), expected);
  EXPECT_EQ(label_dialects(parsed, false), expected);
}

TEST(EngineOptions, FollowTheCommandLine) {
  const auto pull =
      pull_options(options({"pull", "--platform", "linux/arm64", "--label", "a=b", "--fetch-policy", "sparse",
                            "--max-concurrent-downloads", "7", "--all-metadata", "x"}),
                   true);
  EXPECT_TRUE(pull.unpack);
  EXPECT_TRUE(pull.local_snapshotter);
  EXPECT_TRUE(pull.all_metadata);
  EXPECT_EQ(pull.protocol, RemoteProtocol::today);
  EXPECT_EQ(pull.fetch_policy, FetchPolicy::sparse);
  EXPECT_EQ(pull.max_concurrent_downloads, 7U);
  EXPECT_EQ(pull.image_labels, (Labels{{"a", "b"}}));
  ASSERT_EQ(pull.platforms.size(), 1U);

  const auto fetch = pull_options(options({"fetch", "--remote-snapshot", "--all-platforms", "x"}), false);
  EXPECT_FALSE(fetch.unpack);
  EXPECT_FALSE(fetch.local_snapshotter);
  EXPECT_TRUE(fetch.all_platforms);
  EXPECT_EQ(fetch.protocol, RemoteProtocol::v2019);
}

TEST(EngineOptions, OnlyAFetchByTodaysProtocolNeedsNoSnapshotter) {
  EXPECT_TRUE(needs_snapshotter(options({"pull", "a"})));
  EXPECT_TRUE(needs_snapshotter(options({"plan", "a"})));
  EXPECT_TRUE(needs_snapshotter(options({"fetch", "--remote-snapshot", "a"})));
  EXPECT_FALSE(needs_snapshotter(options({"fetch", "a"})));
  EXPECT_FALSE(needs_snapshotter(options({"version"})));
}

struct GoodDuration {
  std::string text;
  std::chrono::nanoseconds value;
};

TEST(Duration, IsReadAsGoWritesIt) {
  const std::vector<GoodDuration> good{
      {"0", 0ns},          {"0s", 0ns},
      {"30s", 30s},        {"+5s", 5s},
      {"1m30s", 90s},      {"1h2m3s4ms5us6ns", 1h + 2min + 3s + 4ms + 5us + 6ns},
      {"1.5h", 90min},     {".5s", 500ms},
      {"1.s", 1s},         {"300ms", 300ms},
      {"7\xC2\xB5s", 7us}, {"7\xCE\xBCs", 7us},
      {"1s1s", 2s},        {"9223372036854775807ns", std::chrono::nanoseconds::max()}};
  for (const auto& [text, value] : good) EXPECT_EQ(parse_duration(text), value) << text;
}

TEST(Duration, RejectsWhatGoRejectsAndNegativeOnes) {
  for (const char* text : {"", "+", "s", ".", ".s", "5", "1.2", "3 s", "1x", "1s ", " 1s", "1S", "1m30",
                           "--1s", "-1s", "1e3s", "9223372036854775808ns", "9999999999999h", "2562047h48m"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
}

}  // namespace
}  // namespace lazypull
