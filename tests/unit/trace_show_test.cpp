#include "tools/trace_show.hpp"

#include "engine/error.hpp"
#include "tests/support/temp_dir.hpp"
#include "tools/trace_command.hpp"
#include "tools/trace_path.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <fstream>
#include <sstream>
#include <unistd.h>

namespace lazypull {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr std::size_t top = TraceEvent::none;

TraceEvent event(std::string name, std::size_t parent, std::chrono::milliseconds start,
                 std::chrono::milliseconds end, std::string object = {}) {
  TraceEvent event;
  event.name = std::move(name);
  event.object = std::move(object);
  event.parent = parent;
  event.depth = parent == top ? 0 : 1;
  event.start = start;
  event.duration = end - start;
  return event;
}

std::vector<std::string> path_of(const std::vector<TraceEvent>& events) {
  TraceFile file;
  file.events = events;
  const auto path = critical_path(file);
  std::vector<std::string> names;
  for (std::size_t i = 0; i < events.size(); ++i) {
    if (path[i]) names.push_back(events[i].name);
  }
  return names;
}

TEST(CriticalPath, IsWhatEndedLastAndWhatThatBeganAfter) {
  EXPECT_THAT(path_of({event("pull", top, 0ms, 100ms), event("a", 0, 0ms, 40ms), event("short", 0, 0ms, 20ms),
                       event("b", 0, 40ms, 90ms), event("also short", 0, 50ms, 80ms)}),
              ElementsAre("pull", "a", "b"));
}

TEST(CriticalPath, LeadsFromAWaitToWhatWasWaitedFor) {
  EXPECT_THAT(path_of({event("pull", top, 0ms, 100ms), event("resolve", 0, 0ms, 9ms),
                       event("fetch", 0, 10ms, 80ms, "x"), event("layer", 0, 10ms, 100ms),
                       event("Prepare", 3, 10ms, 15ms), event("wait for download", 3, 15ms, 80ms, "x"),
                       event("Commit", 3, 80ms, 100ms), event("fetch", 0, 10ms, 60ms, "y")}),
              ElementsAre("pull", "resolve", "fetch", "layer", "wait for download", "Commit"));
}

TEST(CriticalPath, EndsWhereWaitsLeadToEachOther) {
  std::vector<TraceEvent> events{event("pull", top, 0ms, 100ms)};
  for (int i = 0; i < 2000; ++i) events.push_back(event("wait for " + std::to_string(i), 0, 0ms, 100ms, "x"));
  EXPECT_THAT(path_of(events), testing::Contains("pull"));
}

TEST(CriticalPath, OfNothingIsNothing) {
  EXPECT_THAT(path_of({}), IsEmpty());
}

TraceFile small_file() {
  TraceFile file;
  file.process = "lazypull pull app:1";
  file.events = {event("pull", top, 0ms, 100ms, "registry.example.com/app:1"),
                 event("fetch", 0, 0ms, 50ms, "sha256:" + std::string(64, 'a')),
                 event("fetch", 0, 25ms, 100ms, "sha256:" + std::string(64, 'b'))};
  file.events[1].failed = true;
  return file;
}

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST(Waterfall, HasALineForEachSpanWithABarWhereItLies) {
  EXPECT_THAT(lines(render_waterfall(small_file(), {.columns = 80})),
              ElementsAre("lazypull pull app:1",
                          "* pull registry.example.com/app:1            100 ms ###########################",
                          " ! fetch aaaaaaaaaaaa                         50 ms =============",
                          "*  fetch bbbbbbbbbbbb                         75 ms       #####################",
                          "total 100 ms, 3 spans; * critical path"));
}

TEST(Waterfall, NoLineIsWiderThanTheScreen) {
  auto file = small_file();
  file.process = std::string(300, 'p');
  file.events[0].name = std::string(300, 'n');
  file.events[1].object = "äöü" + std::string(300, 'x');
  for (const std::size_t columns : {60U, 81U, 200U}) {
    for (const auto& line : lines(render_waterfall(file, {.columns = columns}))) {
      std::size_t characters = 0;
      for (const char c : line) characters += (static_cast<unsigned char>(c) & 0xC0U) != 0x80U ? 1 : 0;
      EXPECT_LE(characters, columns) << line;
    }
  }
}

TEST(Waterfall, ColoursTheCriticalPathAndFailures) {
  const auto text = render_waterfall(small_file(), {.colour = true});
  EXPECT_THAT(text, HasSubstr("\x1b[1;33m* pull"));
  EXPECT_THAT(text, HasSubstr("\x1b[31m ! fetch"));
  EXPECT_THAT(render_waterfall(small_file(), {}), Not(HasSubstr("\x1b")));
}

TEST(Waterfall, LeavesOutWhatIsNotWantedAndSaysSo) {
  EXPECT_THAT(lines(render_waterfall(small_file(), {.critical_only = true})).back(),
              "total 100 ms, 3 spans, 1 not shown; * critical path");
  const auto text = render_waterfall(small_file(), {.shortest = 60ms});
  EXPECT_THAT(text, Not(HasSubstr("aaaaaaaaaaaa")));
  EXPECT_THAT(text, HasSubstr("bbbbbbbbbbbb"));
}

TEST(Waterfall, OfSpansWithoutAnyDurationIsDrawnToo) {
  TraceFile file;
  file.events = {event("pull", top, 0ms, 0ms)};
  file.dropped = 4;
  EXPECT_THAT(lines(render_waterfall(file, {})).back(),
              "total 0.0 ms, 1 span, 4 not recorded; * critical path");
}

class TraceShow : public ::testing::Test {
 protected:
  TraceShow() {
    std::ofstream(file) << R"([{"ph":"X","name":"a\u001b]0;title\u0007","ts":0,"dur":5000,"pid":1,"tid":1}])";
  }
  ~TraceShow() override { ::close(null); }

  std::string show(const TraceCommand& command) {
    return run_trace_command(command, null, [this](const std::string& name) -> std::optional<std::string> {
      return name == "COLUMNS" ? columns : std::nullopt;
    });
  }

  test::TempDir folder{"trace"};
  std::filesystem::path file = folder.path() / "trace.json";
  std::optional<std::string> columns;
  int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
};

TEST_F(TraceShow, IsAsWideAsColumnsSaysWhereThereIsNoTerminal) {
  columns = "120";
  EXPECT_EQ(lines(show({file, false, "0s"})).front().size(), 119U);
  columns = "nonsense";
  EXPECT_EQ(lines(show({file, false, "0s"})).front().size(), 99U);
}

TEST_F(TraceShow, LetsNoControlCharacterThrough) {
  const auto text = show({file, false, "0s"});
  EXPECT_THAT(text, HasSubstr("a ]0;title "));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, Not(HasSubstr("\x07")));
}

TEST_F(TraceShow, SaysWhatIsWrong) {
  const auto code_of = [this](const TraceCommand& command) {
    try {
      show(command);
    } catch (const Error& error) {
      return error.code();
    }
    return Errc::internal;
  };
  EXPECT_EQ(code_of({file, false, "soon"}), Errc::invalid_argument);
  EXPECT_EQ(code_of({(folder.path() / "missing").string(), false, "0s"}), Errc::not_found);
  std::ofstream(file) << "nonsense";
  EXPECT_EQ(code_of({file, false, "0s"}), Errc::bad_response);
}

}  // namespace
}  // namespace lazypull
