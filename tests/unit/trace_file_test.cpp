#include "tools/trace_file.hpp"

#include "engine/error.hpp"
#include "tests/support/temp_dir.hpp"
#include "tools/trace_tracks.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <sstream>

namespace lazypull {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

const SpanRecord::Time origin{};

SpanRecord span(SpanId id, SpanId parent, std::chrono::milliseconds start, std::chrono::milliseconds end,
                std::string_view category = "layer") {
  SpanRecord record;
  record.id = id;
  record.parent = parent;
  record.name = "span";
  record.category = category;
  record.start = origin + start;
  record.end = origin + end;
  return record;
}

std::vector<std::pair<SpanId, std::size_t>> tracks(const std::vector<SpanRecord>& spans) {
  std::vector<std::pair<SpanId, std::size_t>> found;
  for (const auto& item : put_on_tracks(spans).items) found.emplace_back(item.span->id, item.track);
  return found;
}

using Pairs = std::vector<std::pair<SpanId, std::size_t>>;

TEST(TraceTracks, WhatIsDoneOneAfterAnotherSharesATrack) {
  EXPECT_EQ(tracks({span(2, 1, 0ms, 4ms), span(3, 1, 4ms, 9ms), span(1, 0, 0ms, 10ms)}),
            (Pairs{{1, 0}, {2, 0}, {3, 0}}));
}

TEST(TraceTracks, WhatIsDoneAtTheSameTimeHasTracksOfItsOwn) {
  EXPECT_EQ(tracks({span(1, 0, 0ms, 10ms), span(2, 1, 1ms, 5ms), span(3, 1, 2ms, 6ms), span(4, 3, 3ms, 4ms),
                    span(5, 1, 7ms, 8ms)}),
            (Pairs{{1, 0}, {2, 0}, {3, 1}, {4, 1}, {5, 0}}));
}

TEST(TraceTracks, ATrackIsUsedAgainOnceItIsFree) {
  const std::vector<SpanRecord> spans{span(1, 0, 0ms, 20ms), span(2, 1, 1ms, 9ms), span(3, 1, 2ms, 8ms),
                                      span(4, 1, 9ms, 19ms), span(5, 1, 10ms, 12ms)};
  EXPECT_EQ(tracks(spans), (Pairs{{1, 0}, {2, 0}, {3, 1}, {4, 0}, {5, 1}}));
  EXPECT_THAT(put_on_tracks(spans).tracks, ElementsAre("layer", "layer 2"));
}

TEST(TraceTracks, NothingLiesWithinWhatItDoesNotBelongTo) {
  EXPECT_EQ(tracks({span(1, 0, 0ms, 10ms), span(2, 0, 2ms, 5ms)}), (Pairs{{1, 0}, {2, 1}}));
}

TEST(TraceTracks, ASpanThatOutlivesItsParentLeavesItsTrack) {
  EXPECT_EQ(tracks({span(1, 0, 0ms, 10ms), span(2, 1, 2ms, 12ms)}), (Pairs{{1, 0}, {2, 1}}));
}

TEST(TraceTracks, OnEveryTrackSpansNestWhateverTheyAre) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<SpanRecord> spans;
    for (SpanId id = 1; id <= 40; ++id) {
      const auto start = std::chrono::milliseconds(random() % 30);
      const auto category = random() % 2 == 0 ? "layer" : "registry";
      spans.push_back(
          span(id, random() % id, start, start + std::chrono::milliseconds(random() % 15), category));
    }
    const auto items = put_on_tracks(spans).items;
    for (std::size_t i = 0; i < items.size(); ++i) {
      for (std::size_t j = i + 1; j < items.size(); ++j) {
        if (items[i].track != items[j].track) continue;
        const auto& a = *items[i].span;
        const auto& b = *items[j].span;
        ASSERT_LE(a.start, b.start);
        EXPECT_TRUE(b.start >= a.end || b.end <= a.end) << a.id << " and " << b.id;
      }
    }
  }
}

/// A trace with one span in another.
std::string small_trace(Tracer& tracer) {
  {
    const Span pull(tracer.root(), "pull", "pull", "registry.example.com/app:1");
    Span connect(pull.point(), "connect", "registry", "evil\x1b[31m\"host\xff");
    connect.argument("bytes", 7);
    connect.argument("why", "a \"reason\"");
    connect.failed();
  }
  return trace_events_json(tracer, {"lazypull pull app", "lazypull 0.1.0", std::string(32, 'a')});
}

TEST(TraceFileFormat, HasCompleteEventsAndNamesOfProcessAndTracks) {
  Tracer tracer(TraceMode::recording);
  const auto document = boost::json::parse(small_trace(tracer));
  const auto& events = document.at("traceEvents").as_array();
  ASSERT_EQ(events.size(), 5U);
  EXPECT_EQ(events[0].at("name"), "process_name");
  EXPECT_EQ(events[0].at("args").at("name"), "lazypull pull app");
  EXPECT_EQ(events[1].at("name"), "thread_name");
  EXPECT_EQ(events[1].at("args").at("name"), "pull");
  EXPECT_EQ(events[1].at("tid"), 1);
  const auto& pull = events[3].as_object();
  EXPECT_EQ(pull.at("ph"), "X");
  EXPECT_EQ(pull.at("name"), "pull");
  const auto& connect = events[4].as_object();
  EXPECT_EQ(connect.at("cat"), "registry");
  EXPECT_EQ(connect.at("args").at("parent"), pull.at("args").at("id"));
  EXPECT_EQ(connect.at("args").at("bytes"), 7);
  EXPECT_EQ(connect.at("args").at("why"), "a \"reason\"");
  EXPECT_EQ(connect.at("args").at("failed"), true);
  EXPECT_EQ(connect.at("args").at("object"), "evil [31m\"host?");
  EXPECT_EQ(document.at("otherData").at("droppedSpans"), "0");
}

TEST(TraceFileFormat, WhatIsWrittenIsReadAgain) {
  Tracer tracer(TraceMode::recording);
  const auto file = parse_trace(small_trace(tracer), "trace");
  EXPECT_EQ(file.process, "lazypull pull app");
  ASSERT_THAT(file.events, SizeIs(2));
  EXPECT_EQ(file.events[0].name, "pull");
  EXPECT_EQ(file.events[0].parent, TraceEvent::none);
  EXPECT_EQ(file.events[0].start, 0ns);
  EXPECT_EQ(file.events[1].name, "connect");
  EXPECT_EQ(file.events[1].parent, 0U);
  EXPECT_EQ(file.events[1].depth, 1U);
  EXPECT_TRUE(file.events[1].failed);
  const auto& record = tracer.ended()[1];
  EXPECT_EQ(file.events[0].duration, record.end - record.start) << "to the nanosecond";
}

TEST(TraceFileFormat, AnEmptyTraceIsStillJson) {
  const Tracer tracer(TraceMode::recording);
  EXPECT_NO_THROW(boost::json::parse(trace_events_json(tracer, {"p", "v", "t"})));
}

TEST(TraceReading, FilesOfOtherProgramsGetTheirTreeFromTheirTracks) {
  const auto file = parse_trace(R"([{"ph":"X","name":"inner","ts":12,"dur":3,"pid":1,"tid":4},
                                    {"ph":"B","name":"no","ts":1,"pid":1,"tid":4},
                                    {"ph":"X","name":"outer","ts":10,"dur":10.5,"pid":1,"tid":4},
                                    {"ph":"X","name":"other","ts":12,"dur":3,"pid":1,"tid":5}])",
                                "trace");
  ASSERT_THAT(file.events, SizeIs(3));
  EXPECT_EQ(file.events[0].name, "outer");
  EXPECT_EQ(file.events[0].duration, 10500ns);
  EXPECT_EQ(file.events[1].name, "inner");
  EXPECT_EQ(file.events[1].parent, 0U);
  EXPECT_EQ(file.events[2].parent, TraceEvent::none);
}

TEST(TraceReading, WhatIsNoTraceIsRefusedAndNamed) {
  const std::string deep_json(100'000, '[');
  std::string deep = "[";
  for (int i = 1; i < 200; ++i) {
    deep += R"({"ph":"X","name":"x","ts":1,"dur":)" + std::to_string(1000 - i) + R"(,"args":{"id":)" +
            std::to_string(i) + R"(,"parent":)" + std::to_string(i - 1) + "}},";
  }
  deep.back() = ']';
  for (const auto& [text, why] : std::vector<std::pair<std::string, std::string>>{
           {"", "is not JSON"},
           {"{", "is not JSON"},
           {deep_json, "is not JSON"},
           {"3", "has no traceEvents"},
           {"{}", "has no traceEvents"},
           {R"({"traceEvents":{}})", "has no traceEvents"},
           {"[]", "has no complete event"},
           {"[7]", "an event is no object"},
           {R"([{"ph":"X","name":"x"}])", "\"ts\" is no time"},
           {R"([{"ph":"X","ts":1e300,"dur":1}])", "\"ts\" is no time"},
           {R"([{"ph":"X","ts":1,"dur":"1"}])", "\"dur\" is no time"},
           {R"([{"ph":"X","ts":1,"dur":-1}])", "a negative duration"},
           {deep, "nested too deep"}}) {
    try {
      parse_trace(text, "some.json");
      ADD_FAILURE() << why;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::bad_response);
      EXPECT_THAT(error.message(), HasSubstr(why));
      EXPECT_THAT(error.message(), testing::StartsWith("some.json: "));
    }
  }
}

TEST(TraceReading, NamesAreMadeSafe) {
  const auto file = parse_trace(
      R"([{"ph":"X","name":"a\u001b[31m","ts":1,"dur":1,"args":{"object":"b\u0007"}},{"ph":"X","ts":1,"dur":1}])",
      "trace");
  EXPECT_EQ(file.events[0].name, "a [31m");
  EXPECT_EQ(file.events[0].object, "b ");
}

std::string contents(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

TEST(TraceWriting, TheFileIsReplacedAsAWhole) {
  const test::TempDir folder("trace");
  const auto file = folder.path() / "trace.json";
  std::ofstream(file) << "something longer than the trace";
  const auto link = folder.path() / "link";
  std::filesystem::create_symlink(file, link);
  require_writable(link);
  write_trace(link, "trace");
  EXPECT_EQ(contents(file), "trace");
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 2);
}

TEST(TraceWriting, WhereItCannotBeWrittenIsSaidBefore) {
  const test::TempDir folder("trace");
  EXPECT_THROW(require_writable(folder.path() / "missing" / "trace.json"), Error);
  EXPECT_THROW(require_writable(folder.path()), Error);
  EXPECT_NO_THROW(require_writable("/dev/null"));
  EXPECT_NO_THROW(write_trace("/dev/null", "trace"));
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
}

}  // namespace
}  // namespace lazypull
