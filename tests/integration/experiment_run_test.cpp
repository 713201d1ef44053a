// `lazypull experiment run` on a tiny matrix with the real peers: what it writes down is what happened.

#include "tests/integration/support/image.hpp"
#include "tests/integration/support/peer_program.hpp"
#include "tests/support/process.hpp"
#include "tests/support/temp_dir.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <map>
#include <numeric>
#include <sstream>

namespace lazypull::test {
namespace {

namespace json = boost::json;
using testing::AllOf;
using testing::Contains;
using testing::Gt;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Lt;
using testing::Not;

constexpr std::size_t upper_bytes = 3'000'000;

/// A shell below, and above it something that is not needed for starting.
Image shell_image() {
  ImageBuilder builder;
  builder.layer(busybox_files());
  builder.layer({tar::directory("data"), tar::file("data/unused", tar::noise(upper_bytes))});
  return builder.command({"/bin/sh", "-c", "echo starting; echo now ready; sleep 100"}).build();
}

std::vector<json::object> rows_of(const std::filesystem::path& file) {
  std::vector<json::object> rows;
  std::istringstream lines(read_file(file));
  for (std::string line; std::getline(lines, line);) rows.push_back(json::parse(line).as_object());
  return rows;
}

double figure(const json::object& row, const char* group, const char* name) {
  const auto* value = row.at(group).as_object().if_contains(name);
  if (value == nullptr) {
    ADD_FAILURE() << "there is no " << group << "." << name;
    return -1;
  }
  return value->to_number<double>();
}
double time_of(const json::object& row, const char* name) {
  return figure(row, "times_ms", name);
}
double amount(const json::object& row, const char* name) {
  return figure(row, "amounts", name);
}

class ExperimentRun : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder = new TempDir("experiment");
    write_layout(shell_image(), *folder / "images/shell");
    write_file(*folder / "tiny.yaml", std::string(R"(
name: tiny
repetitions: 1
images:
  - name: shell
    layout: images/shell
    base_layers: 1
    start:
      ready: {log: "now ready"}
      timeout: 20s
      settle: 100ms
networks:
  - {name: near}
  - {name: far, latency: 30ms}
matrix:
  pullers: [lazypull, ctr, ctr-remote]
  snapshotters: [overlayfs, stargz, lazypull]
  unpack: [direct, auto]
  caches: [cold, base-warm, all-warm]
  exclude:
    - {network: far, cache: base-warm}
    - {network: far, cache: all-warm}
    - {network: far, puller: ctr}
    - {network: far, snapshotter: stargz}
    - {network: far, snapshotter: lazypull}
    - {snapshotter: stargz, cache: base-warm}
    - {snapshotter: stargz, cache: all-warm}
    - {snapshotter: lazypull, unpack: direct}
    - {snapshotter: lazypull, cache: base-warm}
    - {snapshotter: lazypull, cache: all-warm}
    - {snapshotter: overlayfs, unpack: auto}
work: work
programs: {stargz: )") + peer_program("stargz") +
                                          "}\n");
    made = experiment("tiny.yaml");
    if (made.exit_code != 0) ADD_FAILURE() << made.err << made.out;
    for (auto& row : rows_of(*folder / "tiny.jsonl")) rows[name_of(row)] = row;
  }
  static void TearDownTestSuite() {
    delete folder;
    folder = nullptr;
  }

  static ProcessResult experiment(const std::string& spec, const Argv& more = {}) {
    Argv argv = {LAZYPULL_BINARY, "experiment", "run", "--keep-caches", (*folder / spec).string()};
    argv.insert(argv.end(), more.begin(), more.end());
    ProcessOptions options;
    options.timeout = std::chrono::minutes(3);
    return run(std::move(argv), options);
  }

  static std::string name_of(const json::object& row) {
    std::string name;
    for (const auto* axis : {"puller", "snapshotter", "network", "cache"}) {
      name += (name.empty() ? "" : " ") + std::string(row.at(axis).as_string());
    }
    return name;
  }

  static const json::object& row(const std::string& name) {
    static const json::object none;
    if (const auto found = rows.find(name); found != rows.end()) return found->second;
    ADD_FAILURE() << "there is no run " << name;
    return none;
  }

  static TempDir* folder;
  static ProcessResult made;
  static std::map<std::string, json::object> rows;
};

TempDir* ExperimentRun::folder = nullptr;
ProcessResult ExperimentRun::made;
std::map<std::string, json::object> ExperimentRun::rows;

TEST_F(ExperimentRun, MakesEveryRunOfTheMatrix) {
  std::vector<std::string> names;
  for (const auto& [name, one] : rows) {
    names.push_back(name);
    EXPECT_EQ(one.at("error").as_string(), "") << name;
  }
  EXPECT_THAT(names,
              testing::UnorderedElementsAre(
                  "ctr overlayfs near cold", "ctr overlayfs near base-warm", "ctr overlayfs near all-warm",
                  "ctr-remote stargz near cold", "lazypull stargz near cold", "lazypull lazypull near cold",
                  "lazypull overlayfs near cold", "lazypull overlayfs near base-warm",
                  "lazypull overlayfs near all-warm", "lazypull overlayfs far cold"));
}

TEST_F(ExperimentRun, TimesFollowEachOther) {
  for (const auto& [name, one] : rows) {
    SCOPED_TRACE(name);
    EXPECT_GT(time_of(one, "pull"), 0);
    EXPECT_GE(time_of(one, "started"), time_of(one, "pull"));
    EXPECT_GE(time_of(one, "first_line"), time_of(one, "pull"));
    EXPECT_GE(time_of(one, "ready"), time_of(one, "first_line"));
    EXPECT_LT(time_of(one, "ready"), 20'000);
  }
}

TEST_F(ExperimentRun, PhasesAddUpToTheWholeTime) {
  for (const auto& [name, one] : rows) {
    double sum = 0;
    for (const auto& phase : one.at("phases_ms").as_object()) sum += phase.value().to_number<double>();
    EXPECT_NEAR(sum, time_of(one, "ready"), 0.02 * time_of(one, "ready")) << name;
  }
}

TEST_F(ExperimentRun, WhatIsThereAlreadyIsNotDownloaded) {
  for (const std::string puller : {"ctr", "lazypull"}) {
    SCOPED_TRACE(puller);
    const auto bytes = [&](const char* cache) {
      return amount(row(puller + " overlayfs near " + cache), "bytes_before_ready");
    };
    EXPECT_GT(bytes("cold"), upper_bytes + 300'000) << "shell and data";
    EXPECT_THAT(bytes("base-warm"), AllOf(Gt(upper_bytes * 0.99), Lt(upper_bytes + 300'000))) << "data only";
    EXPECT_LT(bytes("all-warm"), 100'000);
  }
}

TEST_F(ExperimentRun, WhatIsMountedIsNotDownloadedBeforeItIsReady) {
  EXPECT_LT(amount(row("lazypull lazypull near cold"), "bytes_before_ready"), 100'000);
  EXPECT_LT(amount(row("lazypull stargz near cold"), "bytes_before_ready"), upper_bytes);
  EXPECT_LT(amount(row("ctr-remote stargz near cold"), "bytes_before_ready"), upper_bytes);
}

TEST_F(ExperimentRun, LatencyOfTheNetworkIsFelt) {
  EXPECT_GT(time_of(row("lazypull overlayfs far cold"), "pull"),
            time_of(row("lazypull overlayfs near cold"), "pull") + 60)
      << "resolve, manifest, config and layer come one after another";
}

TEST_F(ExperimentRun, SaysWhatWasUsed) {
  for (const auto& [name, one] : rows) {
    SCOPED_TRACE(name);
    EXPECT_THAT(amount(one, "cpu_puller"), AllOf(testing::Ge(0), Lt(20)));
    EXPECT_THAT(amount(one, "memory_daemons"), Gt(1e6));
    EXPECT_THAT(amount(one, "memory_container"), AllOf(Gt(1e4), Lt(1e9)));
    EXPECT_GE(amount(one, "cpu_container"), 0);
    EXPECT_GT(amount(one, "requests"), 0);
  }
}

TEST_F(ExperimentRun, AWaterfallIsKeptOfPullsThatTellOfThemselves) {
  for (const auto& [name, one] : rows) {
    const bool tells = one.at("puller").as_string() == "lazypull";
    EXPECT_EQ(one.if_contains("spans") != nullptr, tells) << name;
  }
  std::vector<std::string> names;
  for (const auto& span : row("lazypull overlayfs near cold").at("spans").as_array()) {
    names.emplace_back(span.as_array().at(0).as_string());
  }
  EXPECT_THAT(names, Contains("resolve"));
  EXPECT_THAT(names, Contains("Commit"));
}

TEST_F(ExperimentRun, VersionsAndMachineAreWrittenDown) {
  const auto& environment = row("ctr overlayfs near cold").at("environment").as_object();
  EXPECT_THAT(std::string(environment.at("versions").at("containerd").as_string()), HasSubstr("containerd"));
  EXPECT_GT(environment.at("machine").at("processors").to_number<int>(), 0);
  EXPECT_EQ(environment.at("conditions").at("caches_dropped").as_string(), "no");
}

TEST_F(ExperimentRun, NothingIsLeftBehind) {
  EXPECT_TRUE(std::filesystem::is_empty(*folder / "work"));
  EXPECT_THAT(read_file("/proc/self/mountinfo"), Not(HasSubstr((*folder / "work").string())));
  EXPECT_THAT(run_ok({"ps", "-eo", "args"}), Not(HasSubstr((*folder / "work").string())));
}

TEST_F(ExperimentRun, OnlyWhatIsMissingIsRunAgain) {
  const auto all = read_file(*folder / "tiny.jsonl");
  const auto last = all.rfind('\n', all.size() - 2) + 1;
  const auto results = (*folder / "partial.jsonl").string();
  write_file(results, all.substr(0, last) + all.substr(last, 50));
  const auto resumed = experiment("tiny.yaml", {"--output", results});
  EXPECT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_THAT(resumed.out, HasSubstr("1 runs made, 0 failed; 10 rows"));
  EXPECT_THAT(read_file(results), testing::StartsWith(all.substr(0, last)));
  EXPECT_EQ(rows_of(results).size(), 10U);
  EXPECT_THAT(experiment("tiny.yaml", {"--output", results}).out, HasSubstr("0 runs made"));
}

TEST_F(ExperimentRun, APageCanBeMadeOfIt) {
  const auto printed = run_ok({LAZYPULL_BINARY, "experiment", "report", (*folder / "tiny.jsonl").string()});
  EXPECT_THAT(printed, HasSubstr("From pull to ready, relative to ctr · overlayfs"));
  EXPECT_THAT(read_file(*folder / "tiny.html"), HasSubstr("Start-up experiment: tiny"));
}

/// One image and one configuration, with this way to start it.
std::string small_spec(const std::string& start) {
  return "name: small\nrepetitions: 1\nwork: work\nimages:\n  - {name: shell, layout: images/shell, start: " +
         start + "}\n";
}

TEST_F(ExperimentRun, ReadinessMayBeAPort) {
  write_file(
      *folder / "port.yaml",
      small_spec(
          "{command: [/bin/busybox, httpd, -f, -p, '127.0.0.1:47913', -h, /data], ready: {tcp: 47913}}"));
  const auto result = experiment("port.yaml");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto one = rows_of(*folder / "port.jsonl").at(0);
  EXPECT_GE(time_of(one, "ready"), time_of(one, "started"));
  EXPECT_EQ(one.at("times_ms").as_object().if_contains("first_line"), nullptr) << "it prints nothing";
}

TEST_F(ExperimentRun, ReadinessMayBeACommand) {
  write_file(*folder / "command.yaml",
             small_spec("{command: [/bin/sh, -c, 'sleep 0.3; echo > /run/up; sleep 100'], "
                        "ready: {command: [/bin/ls, /run/up]}}"));
  const auto result = experiment("command.yaml");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto one = rows_of(*folder / "command.jsonl").at(0);
  EXPECT_GE(time_of(one, "ready"), time_of(one, "started") + 250);
}

TEST_F(ExperimentRun, AContainerThatIsNotReadyIsAFailedRun) {
  write_file(*folder / "ends.yaml", small_spec("{command: [/bin/sh, -c, 'exit 3'], ready: {log: never}}"));
  const auto ends = experiment("ends.yaml");
  EXPECT_EQ(ends.exit_code, 1) << ends.err;
  EXPECT_THAT(std::string(rows_of(*folder / "ends.jsonl").at(0).at("error").as_string()),
              HasSubstr("the container ended with 3 before it was ready"));
  write_file(*folder / "hangs.yaml",
             small_spec("{command: [/bin/sh, -c, 'sleep 100'], ready: {log: never}, timeout: 500ms}"));
  const auto hangs = experiment("hangs.yaml");
  EXPECT_EQ(hangs.exit_code, 1) << hangs.err;
  EXPECT_THAT(std::string(rows_of(*folder / "hangs.jsonl").at(0).at("error").as_string()),
              HasSubstr("waiting for the container to be ready: timed out"));
  EXPECT_TRUE(std::filesystem::is_empty(*folder / "work"));
}

TEST_F(ExperimentRun, CanBeInterruptedAndLeavesNothing) {
  write_file(*folder / "long.yaml",
             small_spec("{command: [/bin/sh, -c, 'sleep 100'], ready: {log: never}, timeout: 50s}"));
  Process process({LAZYPULL_BINARY, "experiment", "run", "--keep-caches", (*folder / "long.yaml").string()});
  wait_until(
      [&] {
        return run({"pgrep", "-f", "lazypull-experiment-" + std::to_string(process.pid())}).exit_code == 0;
      },
      "the container to be started");
  process.signal(SIGINT);
  EXPECT_EQ(process.wait(std::chrono::seconds(20)), 130) << process.err();
  EXPECT_TRUE(std::filesystem::is_empty(*folder / "work"));
  EXPECT_EQ(read_file(*folder / "long.jsonl"), "");
}

TEST_F(ExperimentRun, ADryRunSaysTheOrderAndRunsNothing) {
  const auto result = experiment("tiny.yaml", {"--dry-run", "--output", (*folder / "none.jsonl").string()});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.out, HasSubstr("shell/lazypull/overlayfs/direct/far/cold#0\n"));
  EXPECT_FALSE(std::filesystem::exists(*folder / "none.jsonl"));
}

TEST_F(ExperimentRun, AWrongSpecificationIsRefused) {
  write_file(*folder / "wrong.yaml", "name: a\nimages: [{name: b, layout: c}]\nrepetition: 3\n");
  const auto result = experiment("wrong.yaml");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("wrong.yaml:3: repetition: there is no such key"));
}

}  // namespace
}  // namespace lazypull::test
