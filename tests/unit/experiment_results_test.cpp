// The file of results: one line a run, only added to, to go on from.

#include "engine/error.hpp"
#include "tests/support/temp_dir.hpp"
#include "tools/experiment/results.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lazypull::experiment {
namespace {

using test::read_file;
using test::TempDir;
using test::write_file;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

Row row(std::size_t repetition = 0) {
  Row made;
  made.at = {"web", "lazypull", "overlayfs", "direct", "near", "cold", repetition};
  made.experiment = "first";
  made.order = 4;
  made.started = "2026-01-02T03:04:05Z";
  made.times = {{"pull", 123.456789}, {"ready", 400}};
  made.phases = {{"resolve", 1.5}, {"layers", 120}};
  made.amounts = {{"bytes_before_ready", 1e9}};
  made.spans = {{"transfer", "layer", "sha256:ab", 3.25, 100, 2}};
  made.environment["kernel"] = "6.1";
  return made;
}

class ExperimentResults : public ::testing::Test {
 protected:
  TempDir folder{"results"};
  std::filesystem::path file = folder / "results.jsonl";

  Errc refusal(const std::string& line) {
    write_file(file, line + "\n");
    try {
      read_results(file);
    } catch (const Error& error) {
      message = error.message();
      return error.code();
    }
    ADD_FAILURE() << "it was accepted";
    return Errc::internal;
  }
  std::string message;
};

TEST_F(ExperimentResults, ARowIsReadAsItWasWritten) {
  const auto read = parse_row(row_json(row(2)), "line");
  EXPECT_EQ(read.at, row(2).at);
  EXPECT_EQ(read.experiment, "first");
  EXPECT_EQ(read.order, 4U);
  EXPECT_EQ(read.started, "2026-01-02T03:04:05Z");
  EXPECT_TRUE(read.ok());
  EXPECT_THAT(read.times, ElementsAre(Pair("pull", 123.456789), Pair("ready", 400)));
  EXPECT_THAT(read.phases, ElementsAre(Pair("resolve", 1.5), Pair("layers", 120)));
  EXPECT_EQ(read.metric("bytes_before_ready"), 1e9);
  EXPECT_EQ(read.metric("pull"), 123.456789);
  EXPECT_EQ(read.metric("resolve"), std::nullopt);
  ASSERT_EQ(read.spans.size(), 1U);
  EXPECT_EQ(read.spans[0].name, "transfer");
  EXPECT_EQ(read.spans[0].depth, 2U);
  EXPECT_DOUBLE_EQ(read.spans[0].start_ms, 3.25);
  EXPECT_EQ(read.environment.at("kernel"), "6.1");
}

TEST_F(ExperimentResults, ARowIsOneLine) {
  auto odd = row();
  odd.error = "two\nlines";
  EXPECT_EQ(row_json(odd).find('\n'), std::string::npos);
  EXPECT_EQ(parse_row(row_json(odd), "line").error, "two\nlines");
}

TEST_F(ExperimentResults, RowsAreAddedAfterThoseThatAreThere) {
  {
    ResultsFile results(file, "first");
    results.append(row(0));
  }
  const auto before = read_file(file);
  ResultsFile results(file, "first");
  results.append(row(1));
  EXPECT_THAT(read_file(file), testing::StartsWith(before));
  EXPECT_EQ(read_results(file).size(), 2U);
}

TEST_F(ExperimentResults, KnowsWhichRunsAreDone) {
  auto failed = row(1);
  failed.error = "containerd ended";
  {
    ResultsFile results(file, "first");
    results.append(row(0));
    results.append(failed);
    EXPECT_TRUE(results.has(row(0).at));
  }
  const ResultsFile results(file, "first");
  EXPECT_TRUE(results.has(row(0).at));
  EXPECT_FALSE(results.has(row(1).at)) << "a failed run is made again";
  EXPECT_FALSE(results.has(row(2).at));
  EXPECT_EQ(results.rows(), 2U);
}

TEST_F(ExperimentResults, ALineThatWasCutOffIsOfNoRun) {
  write_file(file, row_json(row(0)) + "\n" + row_json(row(1)).substr(0, 100));
  EXPECT_EQ(read_results(file).size(), 1U);
  {
    ResultsFile results(file, "first");
    EXPECT_FALSE(results.has(row(1).at));
    results.append(row(1));
  }
  EXPECT_EQ(read_results(file).size(), 2U);
}

TEST_F(ExperimentResults, ResultsOfAnotherExperimentAreLeftAlone) {
  write_file(file, row_json(row()) + "\n");
  const auto before = read_file(file);
  try {
    const ResultsFile results(file, "second");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::failed_precondition);
    EXPECT_THAT(error.message(), HasSubstr("experiment 'first', not of 'second'"));
  }
  EXPECT_EQ(read_file(file), before);
}

TEST_F(ExperimentResults, OneExperimentAtATimeWrites) {
  const ResultsFile results(file, "first");
  EXPECT_THROW(ResultsFile(file, "first"), Error);
}

TEST_F(ExperimentResults, WhatIsNoRowIsRefusedWithItsLine) {
  EXPECT_EQ(refusal("{}"), Errc::bad_response);
  EXPECT_THAT(message, HasSubstr("results.jsonl:1"));
  EXPECT_EQ(refusal(row_json(row()) + "\nnonsense"), Errc::bad_response);
  EXPECT_THAT(message, HasSubstr("results.jsonl:2"));
  auto line = row_json(row());
  const auto replaced = [&](const std::string& from, const std::string& to) {
    auto changed = line;
    changed.replace(changed.find(from), from.size(), to);
    return changed;
  };
  EXPECT_EQ(refusal(replaced("\"pull\":", "\"pull\":-")), Errc::bad_response);
  EXPECT_EQ(refusal(replaced("\"v\":1", "\"v\":2")), Errc::bad_response);
  EXPECT_EQ(refusal(replaced("\"spans\":[[", "\"spans\":[1,[")), Errc::bad_response);
  EXPECT_EQ(refusal(replaced("\"times_ms\":{", "\"times_ms\":[{") + "]"), Errc::bad_response);
}

TEST_F(ExperimentResults, AFileThatIsNotThereIsNamed) {
  try {
    read_results(file);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::not_found);
    EXPECT_THAT(error.message(), HasSubstr("results.jsonl"));
  }
}

}  // namespace
}  // namespace lazypull::experiment
