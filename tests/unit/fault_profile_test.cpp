// What faults are asked for, and that the same seed makes the same ones.

#include "engine/error.hpp"
#include "tools/faults/decision.hpp"
#include "tools/faults/profile.hpp"
#include "tools/faults/record.hpp"
#include "tools/faults/response_head.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

namespace lazypull {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

FaultRequest request(std::string target, std::uint64_t number = 1, std::string method = "GET") {
  return {std::move(method), std::move(target), number};
}

FaultProfile with_rule(const std::string& text) {
  FaultProfile profile;
  profile.rules.push_back(parse_fault_rule(text));
  return profile;
}

Errc refusal(const std::string& rule) {
  try {
    parse_fault_rule(rule);
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), HasSubstr("fault '"));
    return error.code();
  }
  return Errc::internal;
}

TEST(FaultRules, AreReadAsTheyAreWritten) {
  for (const auto* text :
       {"cut", "reset,at=1000", "corrupt,probability=0.25,path=/blobs/", "stall,at=5,for=2000ms",
        "status,times=1,code=404", "status,code=429,retry-after=3", "delay,for=20ms",
        "drop,method=HEAD,from=2", "garbage", "length", "range", "whole", "chunks"}) {
    EXPECT_EQ(to_string(parse_fault_rule(text)), text);
  }
  const auto rule = parse_fault_rule("stall,at=64k,for=1.5s");
  EXPECT_EQ(rule.at, 65536U);
  EXPECT_EQ(rule.duration, milliseconds(1500));
}

TEST(FaultRules, WhatIsWrongIsNamed) {
  for (const auto* text : {"", "burn", "cut,at", "cut,at=x", "cut,probability=2", "cut,probability=nan",
                           "status,code=99", "cut,colour=red", "stall,for=-1s", "cut,"}) {
    EXPECT_EQ(refusal(text), Errc::invalid_argument) << text;
  }
}

TEST(FaultProfiles, AreReadAsTheyAreWritten) {
  FaultProfile profile;
  profile.connect_latency = milliseconds(3);
  profile.latency = milliseconds(20);
  profile.jitter = milliseconds(5);
  profile.bandwidth = 1000;
  profile.connection_bandwidth = 500;
  profile.cut_mean = 146'000;
  profile.rules = {parse_fault_rule("drop,probability=0.1"), parse_fault_rule("garbage")};
  EXPECT_EQ(parse_fault_profile(to_json(profile), "profile"), profile);
  EXPECT_EQ(parse_fault_profile("{}", "profile"), FaultProfile());
  EXPECT_THROW(parse_fault_profile(R"({"latencies":"1s"})", "profile"), Error);
  EXPECT_THROW(parse_fault_profile(R"({"latency":"soon"})", "profile"), Error);
}

TEST(FaultDecisions, DependOnSeedAndRequestAlone) {
  auto profile = with_rule("cut,probability=0.5");
  profile.jitter = milliseconds(1000);
  profile.cut_mean = 1000;
  std::set<milliseconds> delays;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const auto once = decide_fault(profile, seed, request("/v2/a", 3));
    const auto again = decide_fault(profile, seed, request("/v2/a", 3));
    EXPECT_EQ(once.delay, again.delay);
    EXPECT_EQ(once.fault, again.fault);
    EXPECT_EQ(once.cut_after, again.cut_after);
    EXPECT_EQ(once.at(1 << 20), again.at(1 << 20));
    delays.insert(once.delay);
  }
  EXPECT_GT(delays.size(), 15U) << "other seeds, other faults";
  EXPECT_NE(decide_fault(profile, 1, request("/v2/a")).delay,
            decide_fault(profile, 1, request("/v2/a", 2)).delay);
  EXPECT_NE(decide_fault(profile, 1, request("/v2/a")).delay,
            decide_fault(profile, 1, request("/v2/b")).delay);
}

TEST(FaultDecisions, ARuleConcernsWhatItSays) {
  const auto once = with_rule("status,code=404,times=1,path=/blobs/");
  EXPECT_TRUE(decide_fault(once, 1, request("/v2/app/blobs/x")).is(FaultKind::status));
  EXPECT_FALSE(decide_fault(once, 1, request("/v2/app/blobs/x", 2)).fault);
  EXPECT_FALSE(decide_fault(once, 1, request("/v2/app/manifests/x")).fault);
  const auto later = with_rule("drop,from=3,times=2,method=HEAD");
  for (std::uint64_t number = 1; number <= 6; ++number) {
    const bool hit = decide_fault(later, 1, request("/", number, "HEAD")).fault.has_value();
    EXPECT_EQ(hit, number == 3 || number == 4) << number;
    EXPECT_FALSE(decide_fault(later, 1, request("/", number)).fault);
  }
}

TEST(FaultDecisions, TheFirstRuleThatAppliesCounts) {
  FaultProfile profile;
  profile.rules = {parse_fault_rule("drop,path=/blobs/"), parse_fault_rule("garbage")};
  EXPECT_TRUE(decide_fault(profile, 1, request("/blobs/x")).is(FaultKind::drop));
  EXPECT_TRUE(decide_fault(profile, 1, request("/x")).is(FaultKind::garbage));
}

TEST(FaultDecisions, ProbabilitiesAreKept) {
  const auto profile = with_rule("drop,probability=0.2");
  int hits = 0;
  for (std::uint64_t number = 1; number <= 10'000; ++number) {
    if (decide_fault(profile, 7, request("/x", number)).fault) ++hits;
  }
  EXPECT_NEAR(hits, 2000, 200);
}

TEST(FaultDecisions, CutsLieAtTheMeanThatWasAskedForAndHalfOfThemReset) {
  FaultProfile profile;
  profile.cut_mean = 100'000;
  double sum = 0;
  int resets = 0;
  constexpr int all = 10'000;
  for (std::uint64_t number = 1; number <= all; ++number) {
    const auto decision = decide_fault(profile, 1, request("/x", number));
    sum += static_cast<double>(*decision.cut_after);
    if (decision.cut_resets) ++resets;
  }
  EXPECT_NEAR(sum / all, 100'000, 4000);
  EXPECT_NEAR(resets, all / 2, 300);
}

TEST(FaultDecisions, AByteLiesInTheBodyUnlessTheRuleSaysWhich) {
  for (std::uint64_t number = 1; number <= 100; ++number) {
    EXPECT_LT(decide_fault(with_rule("corrupt"), 1, request("/x", number)).at(10), 10U);
  }
  EXPECT_EQ(decide_fault(with_rule("corrupt"), 1, request("/x")).at(0), 0U);
  EXPECT_EQ(decide_fault(with_rule("corrupt,at=77"), 1, request("/x")).at(10), 77U);
}

HttpHead partial_content() {
  HttpHead head;
  head.status = 206;
  head.fields.add("Content-Type", "application/octet-stream");
  head.fields.add("Content-Length", "5");
  head.fields.add("Content-Range", "bytes 5-9/10");
  head.fields.add("Connection", "keep-alive");
  head.fields.add("Transfer-Encoding", "chunked");
  return head;
}

FaultDecision fault(const std::string& text, std::uint64_t variant = 0) {
  FaultDecision decision;
  decision.fault = parse_fault_rule(text);
  decision.variant = variant;
  return decision;
}

TEST(FaultyHeads, WithoutAFaultAllButTheConnectionsFieldsIsPassedOn) {
  const auto head = make_faulty_head(partial_content(), 5, {});
  EXPECT_EQ(head.bytes,
            "HTTP/1.1 206 Partial Content\r\nContent-Type: application/octet-stream\r\n"
            "Content-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\n");
  EXPECT_FALSE(head.close);
  EXPECT_FALSE(head.chunked);
}

TEST(FaultyHeads, ABodyOfUnknownLengthGoesInChunks) {
  const auto head = make_faulty_head(partial_content(), std::nullopt, {});
  EXPECT_TRUE(head.chunked);
  EXPECT_THAT(head.bytes, HasSubstr("Transfer-Encoding: chunked\r\n"));
  EXPECT_THAT(head.bytes, Not(HasSubstr("Content-Length")));
  EXPECT_TRUE(make_faulty_head(partial_content(), 5, fault("chunks")).chunked);
}

TEST(FaultyHeads, WrongLengthsAndRangesAreWrong) {
  for (std::uint64_t variant = 0; variant < 8; ++variant) {
    const auto length = make_faulty_head(partial_content(), 5, fault("length", variant));
    EXPECT_THAT(length.bytes, Not(HasSubstr("Content-Length: 5\r\n"))) << variant;
    EXPECT_TRUE(length.close);
    const auto range = make_faulty_head(partial_content(), 5, fault("range", variant));
    EXPECT_THAT(range.bytes, Not(HasSubstr("Content-Range: bytes 5-9/10\r\n"))) << variant;
  }
}

TEST(FaultyHeads, GarbageIsNeverTheHeadThatItStandsFor) {
  const auto good = make_faulty_head(partial_content(), 5, {}).bytes;
  std::set<std::string> seen;
  for (std::uint64_t variant = 0; variant < 8; ++variant) {
    seen.insert(make_faulty_head(partial_content(), 5, fault("garbage", variant)).bytes);
  }
  EXPECT_EQ(seen.size(), 8U);
  EXPECT_FALSE(seen.contains(good));
}

TEST(FaultyHeads, AStatusCarriesRetryAfter) {
  const auto rule = parse_fault_rule("status,code=429,retry-after=3");
  const auto response = make_status_response(rule, true);
  EXPECT_THAT(response, StartsWith("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\n"));
  EXPECT_THAT(response, HasSubstr("\r\n\r\n{"));
  EXPECT_THAT(make_status_response(rule, false), testing::EndsWith("\r\n\r\n"));
}

TEST(FaultLogs, HoldALineForEachRequestThatNobodyCanForge) {
  FaultRecord record;
  record.connection = 2;
  record.method = "GET";
  record.target = "/v2/x\n{\"end\":\"complete\"}";
  record.number = 3;
  record.fault = parse_fault_rule("cut,at=10");
  record.at = 10;
  record.body_bytes = 10;
  record.status = 200;
  record.end = FaultRecord::End::cut;
  const auto line = fault_log_line(record);
  EXPECT_EQ(line.find('\n'), std::string::npos);
  EXPECT_THAT(line, HasSubstr(R"("fault":"cut,at=10","at":10)"));
  EXPECT_THAT(line, HasSubstr(R"("end":"cut")"));
  EXPECT_THAT(fault_log_head("http://127.0.0.1:1", 9, with_rule("drop")),
              HasSubstr(R"("seed":9,"profile":{"faults":["drop"]})"));
}

}  // namespace
}  // namespace lazypull
