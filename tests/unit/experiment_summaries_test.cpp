// What is said of results: medians, ratios, CSV, and a page that results cannot break.

#include "tools/experiment/report.hpp"
#include "tools/experiment/summaries.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lazypull::experiment {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

Row row(const std::string& puller, std::size_t repetition, double ready) {
  Row made;
  made.at = {"web", puller, "overlayfs", puller == "ctr" ? "-" : "direct", "near", "cold", repetition};
  made.experiment = "first";
  made.started = "2026-01-02T03:04:05Z";
  made.times = {{"ready", ready}};
  made.phases = {{"pull", ready}};
  return made;
}

TEST(ExperimentSummaries, RunsAreGatheredByConfiguration) {
  const std::vector<Row> rows = {row("ctr", 1, 200), row("lazypull", 0, 50), row("ctr", 0, 100)};
  const auto comparison = Comparison::of(rows);
  ASSERT_EQ(comparison.configurations.size(), 2U);
  EXPECT_EQ(comparison.configurations[0].way(), "ctr · overlayfs");
  EXPECT_THAT(comparison.configurations[0].values("ready"), ElementsAre(100, 200));
  EXPECT_EQ(comparison.configurations[1].way(), "lazypull · overlayfs · direct");
  EXPECT_EQ(comparison.baseline, "ctr · overlayfs");
}

TEST(ExperimentSummaries, RatiosAreThoseOfTheSameRepetition) {
  const std::vector<Row> rows = {row("ctr", 0, 100), row("ctr", 1, 400), row("lazypull", 0, 50),
                                 row("lazypull", 1, 100), row("lazypull", 2, 100)};
  const auto comparison = Comparison::of(rows);
  const auto& lazypull = comparison.configurations[1];
  EXPECT_EQ(comparison.base_of(lazypull), &comparison.configurations[0]);
  EXPECT_THAT(paired_ratios(lazypull, comparison.configurations[0], "ready"), ElementsAre(0.5, 0.25));
}

TEST(ExperimentSummaries, AFailedRunCountsForNothingButIsNamed) {
  auto failed = row("lazypull", 1, 1);
  failed.error = "exited with 5";
  const std::vector<Row> rows = {row("lazypull", 0, 50), failed};
  const auto comparison = Comparison::of(rows);
  EXPECT_THAT(comparison.configurations[0].values("ready"), ElementsAre(50));
  EXPECT_THAT(comparison.failures, ElementsAre("web/lazypull/overlayfs/direct/near/cold#1: exited with 5"));
}

TEST(ExperimentSummaries, AFailedRunThatWasMadeAgainIsForgotten) {
  auto failed = row("lazypull", 0, 1);
  failed.error = "exited with 5";
  const std::vector<Row> rows = {failed, row("lazypull", 0, 50)};
  EXPECT_TRUE(Comparison::of(rows).failures.empty());
}

TEST(ExperimentSummaries, TheCsvHasALineForEachMetric) {
  const std::vector<Row> rows = {row("ctr", 0, 100), row("lazypull", 0, 50)};
  EXPECT_EQ(
      summary_csv(Comparison::of(rows)),
      "image,puller,snapshotter,unpack,network,cache,metric,unit,count,median,low,high,confidence,least,most,"
      "ratio,ratio_low,ratio_high\n"
      "web,ctr,overlayfs,-,near,cold,ready,ms,1,100,100,100,0,100,100,1,1,1\n"
      "web,lazypull,overlayfs,direct,near,cold,ready,ms,1,50,50,50,0,50,50,0.5,0.5,0.5\n");
}

TEST(ExperimentSummaries, CsvFieldsCannotBecomeFormulasOrFurtherFields) {
  auto odd = row("ctr", 0, 100);
  odd.at.image = "a,\"b\"";
  odd.at.network = "=1+1";
  EXPECT_THAT(summary_csv(Comparison::of({odd})),
              HasSubstr("\n\"a,\"\"b\"\"\",ctr,overlayfs,-,\"'=1+1\",cold"));
}

TEST(ExperimentPage, IsTheSameForTheSameResults) {
  const std::vector<Row> rows = {row("ctr", 0, 100), row("lazypull", 0, 50)};
  EXPECT_EQ(report_page(rows), report_page(rows));
}

TEST(ExperimentPage, LoadsNothingFromAnywhere) {
  const auto page = report_page({row("ctr", 0, 100)});
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  for (const auto* text : {"src=\"", "@import", "url(", "<link"})
    EXPECT_THAT(page, Not(HasSubstr(text))) << text;
}

TEST(ExperimentPage, HasNoPlaceholderLeft) {
  const auto page = report_page({row("ctr", 0, 100)});
  for (const auto* name : {"@TITLE@", "@STYLE@", "@SCRIPT@", "@DATA@"}) {
    EXPECT_THAT(page, Not(HasSubstr(name))) << name;
  }
  EXPECT_THAT(page, HasSubstr("Start-up experiment: first"));
}

TEST(ExperimentPage, ResultsAreNeverMarkup) {
  auto odd = row("ctr", 0, 100);
  odd.experiment = "<b>\"&@DATA@";
  odd.at.image = "</script><script>alert(1)</script>";
  const auto page = report_page({odd});
  EXPECT_THAT(page, Not(HasSubstr("<script>alert")));
  EXPECT_THAT(page, HasSubstr("\\u003c/script>"));
  EXPECT_THAT(page, HasSubstr("&lt;b&gt;&quot;&amp;@DATA@"));
}

}  // namespace
}  // namespace lazypull::experiment
