// The page of `lazypull experiment report` in a real browser: it draws, reacts to mouse and keyboard, can be
// read in both colour schemes, loads nothing, and says what an independent calculation from the raw results
// says.

#include "tests/support/process.hpp"
#include "tests/support/temp_dir.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <random>

namespace lazypull::test {
namespace {

namespace json = boost::json;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;

/// Made-up results: skewed times of some configurations, failures, and metrics that not every run has.
class MadeUpResults {
 public:
  std::string lines() {
    std::string text;
    for (int repetition = 0; repetition < 9; ++repetition) {
      for (const auto* image : {"web", "db"}) {
        for (const auto* network : {"near", "far"}) {
          text += line(image, "ctr", "overlayfs", "-", network, repetition);
          text += line(image, "ctr", "native", "-", network, repetition);
          text += line(image, "lazypull", "overlayfs", "direct", network, repetition);
          // Of this one there are fewer, so that not every repetition has a pair.
          if (repetition % 3 != 1) text += line(image, "lazypull", "stargz", "auto", network, repetition);
        }
      }
    }
    return text;
  }

 private:
  double skewed(double scale) {
    std::exponential_distribution<double> noise(3);
    return std::round(scale * (1 + noise(random_)) * 1e6) / 1e6;
  }

  json::object row(const std::string& image, const std::string& puller, const std::string& snapshotter,
                   const std::string& unpack, const std::string& network, int repetition) {
    const bool mounts = snapshotter == "stargz";
    const double slow = (network == "far" ? 4 : 1) * (puller == "ctr" ? 900 : mounts ? 60 : 300);
    const double resolve = skewed(slow / 40);
    const double layers = skewed(slow);
    const double start = skewed(80);
    json::object phases;
    if (puller == "ctr") {
      phases["pull"] = resolve + layers;
    } else {
      phases = {{"client", 5.5}, {"resolve", resolve}, {"layers", layers}};
    }
    phases["create and start"] = start;
    json::object amounts{{"bytes_before_ready", mounts ? 400'000 : 48'000'000},
                         {"bytes_after_ready", mounts ? 9'000'000 : 0},
                         {"cpu_puller", skewed(0.4)}};
    if (repetition % 2 == 0) amounts["memory_puller"] = 30'000'000 + repetition;
    json::array spans;
    if (puller == "lazypull") {
      spans = {
          json::array{"pull", "pull", image, 0, resolve + layers, 0},
          json::array{"resolve", "registry", "HEAD", 0.5, resolve, 1},
          json::array{"layer", "layer", "sha256:<img src=x onerror=alert(1)>", resolve + 0.5, layers, 1}};
    }
    return {
        {"v", 1},
        {"experiment", "made-up <b>"},
        {"image", image},
        {"puller", puller},
        {"snapshotter", snapshotter},
        {"unpack", unpack},
        {"network", network},
        {"cache", "cold"},
        {"repetition", repetition},
        {"order", order_++},
        {"started", "2026-01-02T03:04:05Z"},
        {"error", ""},
        {"times_ms", {{"pull", resolve + layers}, {"ready", resolve + layers + start}}},
        {"phases_ms", phases},
        {"amounts", amounts},
        {"spans", spans},
        {"environment", {{"machine", {{"processors", 2}}}, {"conditions", {{"work_file_system", "tmpfs"}}}}}};
  }

  std::string line(const std::string& image, const std::string& puller, const std::string& snapshotter,
                   const std::string& unpack, const std::string& network, int repetition) {
    auto made = row(image, puller, snapshotter, unpack, network, repetition);
    std::string text;
    if (repetition == 4 && puller == "lazypull") {
      auto failed = made;
      failed["error"] = "the pull <i>failed</i>";
      failed["times_ms"] = json::object();
      text = json::serialize(failed) + "\n";
      if (network == "far") return text;  // the others were made again
    }
    return text + json::serialize(made) + "\n";
  }

  std::mt19937 random_{7};
  int order_ = 0;
};

class ExperimentReport : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder = new TempDir("report");
    write_file(*folder / "results.jsonl", MadeUpResults().lines());
    printed = run_ok({LAZYPULL_BINARY, "experiment", "report", (*folder / "results.jsonl").string(), "--csv",
                      (*folder / "summary.csv").string()});
    ProcessOptions options;
    options.timeout = std::chrono::minutes(3);
    const std::string text = run_ok({"python3", LAZYPULL_EXPERIMENT_SCRIPTS "/experiment_browser.py",
                                     (*folder / "results.html").string(), folder->path().string()},
                                    options);
    write_file(*folder / "seen.json", text);
    seen = json::parse(text).as_object();
  }
  static void TearDownTestSuite() {
    delete folder;
    folder = nullptr;
  }

  static std::string text(const char* key) { return std::string(seen.at(key).as_string()); }

  static TempDir* folder;
  static std::string printed;
  static json::object seen;
};

TempDir* ExperimentReport::folder = nullptr;
std::string ExperimentReport::printed;
json::object ExperimentReport::seen;

TEST_F(ExperimentReport, ItsFiguresAreThoseOfAnIndependentCalculation) {
  const auto count = run_ok({"python3", LAZYPULL_EXPERIMENT_SCRIPTS "/experiment_figures.py",
                             (*folder / "results.jsonl").string(), (*folder / "summary.csv").string(),
                             (*folder / "seen.json").string()});
  EXPECT_GT(std::stoi(count), 1000) << "figures";
}

TEST_F(ExperimentReport, NoScriptFailsAndNothingIsLoaded) {
  EXPECT_THAT(seen.at("complaints").as_array(), IsEmpty()) << json::serialize(seen.at("complaints"));
  for (const auto& request : seen.at("requests").as_array()) {
    EXPECT_THAT(std::string(request.as_string()), StartsWith("file://"));
  }
}

TEST_F(ExperimentReport, IsDrawnInBothColourSchemes) {
  const auto brightness = [](const json::object& scheme) {
    double sum = 0;
    for (const auto& part : scheme.at("background").as_array()) sum += part.to_number<double>();
    return sum / 3;
  };
  for (const auto* name : {"light", "dark"}) {
    const auto& scheme = seen.at(name).as_object();
    EXPECT_GT(scheme.at("colours").to_number<int>(), 50) << name << ": the picture is blank";
    EXPECT_LT(scheme.at("background_share").to_number<double>(), 0.99) << name;
    EXPECT_GT(scheme.at("height").to_number<int>(), 1200) << name;
  }
  EXPECT_GT(brightness(seen.at("light").as_object()), 230);
  EXPECT_LT(brightness(seen.at("dark").as_object()), 40);
}

TEST_F(ExperimentReport, ItsTextIsLegibleInBothColourSchemes) {
  for (const auto* name : {"light", "dark"}) {
    const auto& bad = seen.at(name).as_object().at("low_contrast").as_array();
    EXPECT_THAT(bad, IsEmpty()) << name << ": " << json::serialize(bad);
  }
}

TEST_F(ExperimentReport, CanBeUsedWithoutAMouseAndWithoutSight) {
  EXPECT_THAT(seen.at("inaccessible").as_array(), IsEmpty()) << json::serialize(seen.at("inaccessible"));
  const auto& waterfall = seen.at("waterfall").as_array();
  const auto clicked = std::string(waterfall.at(1).as_object().at("text").as_string());
  EXPECT_NE(text("after_tab"), clicked) << "the next bar gets the focus";
  EXPECT_THAT(text("after_tab"), HasSubstr(" + "));
}

TEST_F(ExperimentReport, AClickOnABarSaysWhatItIs) {
  const auto& waterfall = seen.at("waterfall").as_array();
  ASSERT_THAT(waterfall, SizeIs(2));
  for (const auto& run : waterfall) {
    EXPECT_GE(run.as_object().at("bars").to_number<int>(), 2);
    EXPECT_THAT(std::string(run.as_object().at("text").as_string()), HasSubstr(" + "));
  }
}

TEST_F(ExperimentReport, ThePhasesAreThereAsATableToo) {
  EXPECT_EQ(json::serialize(seen.at("details")), "[false,true]");
}

TEST_F(ExperimentReport, EveryRunThatSucceededCanBeLookedAt) {
  // 9 repetitions of 2 images in 2 networks: three ways in all of them and one in six, but without the runs
  // that failed in the far network and were not made again.
  EXPECT_EQ(seen.at("runs").to_number<int>(), 4 * (3 * 9 + 6) - 2);
}

TEST_F(ExperimentReport, FailedRunsAreNamedAndResultsAreNotMarkup) {
  EXPECT_THAT(text("text"), HasSubstr("web/lazypull/overlayfs/direct/far/cold#4: the pull <i>failed</i>"));
  EXPECT_THAT(text("text"), testing::Not(HasSubstr("direct/near/cold#4"))) << "that run was made again";
  EXPECT_THAT(text("text"), HasSubstr("Start-up experiment: made-up <b>"));
}

TEST_F(ExperimentReport, SaysWhatWasNotControlled) {
  EXPECT_THAT(text("text"), HasSubstr("page cache was not dropped"));
  EXPECT_THAT(text("text"), HasSubstr("All storage was in memory"));
}

TEST_F(ExperimentReport, TheCsvCanBeDownloadedFromThePage) {
  EXPECT_THAT(text("download"), HasSubstr(read_file(*folder / "summary.csv")));
}

TEST_F(ExperimentReport, ATableIsPrintedForTheTerminal) {
  EXPECT_THAT(printed, HasSubstr("From pull to ready, relative to ctr · native"));
  EXPECT_THAT(printed, HasSubstr("wrote " + (*folder / "results.html").string()));
}

TEST_F(ExperimentReport, ThePageIsTheSameEachTime) {
  const auto again = (*folder / "again.html").string();
  run_ok({LAZYPULL_BINARY, "experiment", "report", (*folder / "results.jsonl").string(), "--output", again});
  EXPECT_EQ(read_file(again), read_file(*folder / "results.html"));
}

TEST_F(ExperimentReport, ResultsThatAreNoneAreRefused) {
  write_file(*folder / "bad.jsonl", "{\"v\":1}\n");
  const auto bad = run({LAZYPULL_BINARY, "experiment", "report", (*folder / "bad.jsonl").string()});
  EXPECT_EQ(bad.exit_code, 6);
  EXPECT_THAT(bad.err, HasSubstr("bad.jsonl:1"));
  const auto missing = run({LAZYPULL_BINARY, "experiment", "report", (*folder / "missing.jsonl").string()});
  EXPECT_EQ(missing.exit_code, 3);
  write_file(*folder / "empty.jsonl", "");
  EXPECT_EQ(run({LAZYPULL_BINARY, "experiment", "report", (*folder / "empty.jsonl").string()}).exit_code, 2);
}

}  // namespace
}  // namespace lazypull::test
