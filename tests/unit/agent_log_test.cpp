#include "tools/agent/agent_log.hpp"

#include "engine/error.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace lazypull {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::Not;
using testing::SizeIs;

class AgentLogTest : public ::testing::Test {
 protected:
  AgentLog::Sink sink() {
    return [this](std::string_view line) { lines.emplace_back(line); };
  }
  /// What one line of JSON says.
  boost::json::object json_of(const std::vector<LogField>& fields) {
    AgentLog log(LogFormat::json, LogLevel::info, sink());
    log.info("pull ended", fields);
    return boost::json::parse(lines.at(0)).as_object();
  }
  std::string text_of(const std::vector<LogField>& fields) {
    AgentLog log(LogFormat::text, LogLevel::info, sink());
    log.info("pull ended", fields);
    return lines.at(0);
  }

  std::vector<std::string> lines;
};

TEST_F(AgentLogTest, ATextLineHasTimeLevelEventAndFields) {
  AgentLog log(LogFormat::text, LogLevel::info, sink());
  log.warning("pull ended",
              {{"reference", "registry.example.com/app:1"}, {"layers", std::uint64_t{3}}, {"seconds", 1.5}});
  ASSERT_THAT(lines, SizeIs(1));
  EXPECT_THAT(lines[0], MatchesRegex("[0-9-]+T[0-9:]+\\.[0-9]{6}Z warning pull ended "
                                     "reference=registry.example.com/app:1 layers=3 seconds=1.500\n"));
}

TEST_F(AgentLogTest, AJsonLineIsOneObject) {
  const auto object = json_of({{"reference", "app:1"}, {"layers", std::uint64_t{3}}, {"seconds", 1.5}});
  EXPECT_THAT(std::string(object.at("time").as_string()), MatchesRegex("[0-9-]+T[0-9:]+\\.[0-9]{6}Z"));
  EXPECT_EQ(object.at("level"), "info");
  EXPECT_EQ(object.at("event"), "pull ended");
  EXPECT_EQ(object.at("reference"), "app:1");
  EXPECT_EQ(object.at("layers").to_number<int>(), 3);
  EXPECT_EQ(object.at("seconds"), 1.5);
}

TEST_F(AgentLogTest, LinesBelowTheLevelAreNotWritten) {
  AgentLog log(LogFormat::text, LogLevel::warning, sink());
  log.debug("a");
  log.info("b");
  EXPECT_THAT(lines, IsEmpty());
  log.error("c");
  EXPECT_THAT(lines, SizeIs(1));
  EXPECT_FALSE(log.enabled(LogLevel::info));
  EXPECT_TRUE(log.enabled(LogLevel::error));
}

TEST_F(AgentLogTest, NothingIsWrittenWhereTheLogIsOff) {
  AgentLog log(LogFormat::text, LogLevel::off, sink());
  log.error("c");
  EXPECT_THAT(lines, IsEmpty());
}

TEST_F(AgentLogTest, HostileTextMakesNoSecondLineAndNoEscapeSequence) {
  const std::string hostile = "a\n2026-01-01 error forged\r\x1b[2J\xff\"}";
  const auto text = text_of({{"error", hostile}});
  EXPECT_EQ(std::ranges::count(text, '\n'), 1);
  EXPECT_THAT(text, EndsWith("\n"));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, HasSubstr(R"(error="a 2026-01-01 error forged)"));
  lines.clear();
  const auto object = json_of({{"error", hostile}});
  EXPECT_EQ(std::ranges::count(lines[0], '\n'), 1);
  EXPECT_THAT(std::string(object.at("error").as_string()), HasSubstr("forged"));
}

TEST_F(AgentLogTest, BracesInTextAreNoFormatString) {
  EXPECT_THAT(text_of({{"error", "{} {0} %v %l"}}), HasSubstr(R"(error="{} {0} %v %l")"));
}

TEST_F(AgentLogTest, LongTextIsCut) {
  const auto text = text_of({{"error", std::string(100'000, 'x')}});
  EXPECT_LT(text.size(), 2300U);
  EXPECT_THAT(text, HasSubstr("xxx...\n"));
}

TEST_F(AgentLogTest, AnEmptyValueIsSeen) {
  EXPECT_THAT(text_of({{"digest", ""}}), HasSubstr(R"( digest="")"));
}

TEST_F(AgentLogTest, CredentialsAreLeftOut) {
  const auto text = text_of({{"error",
                              "GET https://user:secret@registry.example.com/v2/: Authorization: Bearer "
                              "abcdefghij, Basic dXNlcjpzZWNyZXQ="}});
  EXPECT_THAT(text, Not(HasSubstr("secret")));
  EXPECT_THAT(text, Not(HasSubstr("abcdefghij")));
  EXPECT_THAT(text, Not(HasSubstr("dXNl")));
  EXPECT_THAT(text, HasSubstr("https://***@registry.example.com/v2/"));
}

TEST_F(AgentLogTest, WhatOnlyLooksLikeCredentialsStays) {
  EXPECT_EQ(without_credentials("Bearer realm=\"https://auth.example.com/a@b\""),
            "Bearer realm=\"https://auth.example.com/a@b\"");
  EXPECT_EQ(without_credentials("basic a"), "basic a");
  EXPECT_EQ(without_credentials("app@sha256:0123"), "app@sha256:0123");
  EXPECT_EQ(without_credentials("https://[::1]:5000/x?y=a@b"), "https://[::1]:5000/x?y=a@b");
}

TEST_F(AgentLogTest, LevelsAndFormatsAreReadFromTheirNames) {
  EXPECT_EQ(parse_log_level("debug"), LogLevel::debug);
  EXPECT_EQ(parse_log_level("off"), LogLevel::off);
  EXPECT_EQ(parse_log_format("json"), LogFormat::json);
  EXPECT_THROW(parse_log_level("loud"), Error);
  EXPECT_THROW(parse_log_format("xml"), Error);
}

}  // namespace
}  // namespace lazypull
