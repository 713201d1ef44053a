#include "tools/progress_view.hpp"

#include "tools/result_text.hpp"
#include "tools/text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lazypull {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using Lines = std::vector<std::string>;

constexpr std::uint64_t mib = 1024 * 1024;

Digest digest(const std::string& start) {
  return Digest::parse("sha256:" + start + std::string(64 - start.size(), '0'));
}

LayerReport layer(const std::string& name, std::uint64_t size, LayerState state,
                  LayerDecision decision = LayerDecision::undecided) {
  LayerReport layer;
  layer.digest = digest(name);
  layer.size = size;
  layer.state = state;
  layer.decision = decision;
  return layer;
}

/// One layer in each state.
PullReport busy_report() {
  PullReport report;
  report.reference = "registry.example.com/app:1";
  report.target.digest = digest("face");
  report.phase = "layers";
  ImageReport image;
  image.platform.os = "linux";
  image.platform.architecture = "amd64";
  image.layers = {layer("a1", 45 * mib, LayerState::done, LayerDecision::exists),
                  layer("a2", 300 * mib, LayerState::done, LayerDecision::remote),
                  layer("a3", 100 * mib, LayerState::downloading, LayerDecision::download),
                  layer("a4", 2 * mib, LayerState::unpacking, LayerDecision::download),
                  layer("a5", 512, LayerState::queued, LayerDecision::download),
                  layer("a6", 7 * mib, LayerState::waiting),
                  layer("a7", 7 * mib, LayerState::asking),
                  layer("a8", mib, LayerState::done, LayerDecision::download)};
  image.layers[2].bytes_done = 25 * mib;
  image.layers[2].bytes_fetched = 25 * mib;
  for (const std::size_t whole : {3U, 7U}) {
    image.layers[whole].bytes_done = image.layers[whole].size;
    image.layers[whole].bytes_fetched = image.layers[whole].size;
  }
  report.images.push_back(image);
  return report;
}

/// Rates of a report whose third layer gets 10 MiB a second.
Rates steady_rates(PullReport& report) {
  auto& moving = report.images[0].layers[2];
  const auto now = moving.bytes_fetched;
  Rates rates;
  const Rates::Clock::time_point start{1h};
  moving.bytes_fetched = 0;
  rates.sample(report, start);
  moving.bytes_fetched = 10 * mib;
  rates.sample(report, start + 1s);
  moving.bytes_fetched = now;
  return rates;
}

TEST(ProgressView, At120Columns) {
  auto report = busy_report();
  const auto rates = steady_rates(report);
  EXPECT_THAT(
      render_progress(report, rates, Screen{120, 24}, 2500ms),
      ElementsAre("registry.example.com/app:1: layers",
                  "a10000000000 exists                                                              45.0 MiB",
                  "a20000000000 remote                                                             300.0 MiB",
                  "a30000000000 downloading [==========>                             ]    25.0 MiB/100.0 MiB "
                  "  10.0 MiB/s",
                  "a40000000000 unpacking                                                            2.0 MiB",
                  "a50000000000 queued                                                                 512 B",
                  "a60000000000 waiting                                                              7.0 MiB",
                  "a70000000000 asking                                                               7.0 MiB",
                  "a80000000000 done                                                                 1.0 MiB",
                  "2.5 s  3/8 layers  28.0 MiB fetched  345.0 MiB avoided  10.0 MiB/s"));
}

TEST(ProgressView, At80ColumnsTheBarShrinks) {
  auto report = busy_report();
  const auto rates = steady_rates(report);
  EXPECT_THAT(render_progress(report, rates, Screen{80, 24}, 2500ms),
              ElementsAre("registry.example.com/app:1: layers",
                          "a10000000000 exists                                       45.0 MiB",
                          "a20000000000 remote                                      300.0 MiB",
                          "a30000000000 downloading [====>            ]    25.0 MiB/100.0 MiB   10.0 MiB/s",
                          "a40000000000 unpacking                                     2.0 MiB",
                          "a50000000000 queued                                          512 B",
                          "a60000000000 waiting                                       7.0 MiB",
                          "a70000000000 asking                                        7.0 MiB",
                          "a80000000000 done                                          1.0 MiB",
                          "2.5 s  3/8 layers  28.0 MiB fetched  345.0 MiB avoided  10.0 MiB/s"));
}

TEST(ProgressView, At40ColumnsThereIsAPercentage) {
  auto report = busy_report();
  const auto rates = steady_rates(report);
  EXPECT_THAT(
      render_progress(report, rates, Screen{40, 24}, 2500ms),
      ElementsAre("registry.example.com/app:1: layers", "a10000000000 exists           45.0 MiB",
                  "a20000000000 remote           300.0 MiB", "a30000000000 downloading  25% 100.0 MiB",
                  "a40000000000 unpacking        2.0 MiB", "a50000000000 queued           512 B",
                  "a60000000000 waiting          7.0 MiB", "a70000000000 asking           7.0 MiB",
                  "a80000000000 done             1.0 MiB", "2.5 s  3/8 layers  28.0 MiB fetched"));
}

TEST(ProgressView, BeforeTheLayersAreKnownItShowsThePhase) {
  PullReport report;
  report.reference = "alpine";
  report.phase = "resolve";
  EXPECT_THAT(render_progress(report, Rates(), Screen{80, 24}, 15ms),
              ElementsAre("alpine: resolve", "15 ms  0/0 layers  0 B fetched  0 B avoided  0 B/s"));
}

TEST(ProgressView, WhereRowsAreShortThoseThatEndedShareALine) {
  const auto report = busy_report();
  const auto lines = render_progress(report, Rates(), Screen{40, 9}, 1s);
  EXPECT_THAT(lines,
              ElementsAre("registry.example.com/app:1: layers", "a30000000000 downloading  25% 100.0 MiB",
                          "a40000000000 unpacking        2.0 MiB", "a50000000000 queued           512 B",
                          "a60000000000 waiting          7.0 MiB", "a70000000000 asking           7.0 MiB",
                          "... 3 done", "1.0 s  3/8 layers  28.0 MiB fetched"));
}

TEST(ProgressView, WhereRowsAreShorterThoseThatWaitShareALineToo) {
  const auto report = busy_report();
  EXPECT_THAT(render_progress(report, Rates(), Screen{40, 8}, 1s),
              ElementsAre("registry.example.com/app:1: layers", "a30000000000 downloading  25% 100.0 MiB",
                          "a40000000000 unpacking        2.0 MiB", "a70000000000 asking           7.0 MiB",
                          "... 3 done", "... 2 waiting", "1.0 s  3/8 layers  28.0 MiB fetched"));
}

class AnyScreen : public testing::TestWithParam<std::tuple<int, int>> {};

TEST_P(AnyScreen, IsNeverOverrun) {
  auto report = busy_report();
  report.images.push_back(report.images[0]);
  report.images.push_back(report.images[0]);
  const auto [columns, rows] = GetParam();
  const auto lines = render_progress(report, Rates(), Screen{columns, rows}, 100h);
  // Less than three rows hold nothing but heading and sums.
  EXPECT_LT(lines.size(), static_cast<std::size_t>(std::max(rows, 3)));
  for (const auto& line : lines)
    EXPECT_LT(line.size(), static_cast<std::size_t>(std::max(columns, 2))) << line;
}

INSTANTIATE_TEST_SUITE_P(Sizes, AnyScreen,
                         testing::Combine(testing::Values(-1, 0, 1, 2, 10, 39, 57, 58, 59, 60, 69, 70, 71, 72,
                                                          200),
                                          testing::Values(-1, 0, 1, 2, 3, 4, 5, 6, 7, 10, 20, 27, 28, 100)));

TEST(Rates, AreNothingUntilTwoSamplesAreThere) {
  auto report = busy_report();
  Rates rates;
  EXPECT_EQ(rates.of(report.images[0].layers[2]), 0);
  rates.sample(report, Rates::Clock::time_point{1h});
  EXPECT_EQ(rates.of(report.images[0].layers[2]), 0);
  EXPECT_EQ(rates.total(), 0);
}

TEST(Rates, FollowAChangeWithinSeconds) {
  auto report = busy_report();
  auto& layer = report.images[0].layers[2];
  layer.bytes_fetched = 0;
  Rates rates;
  Rates::Clock::time_point now{1h};
  rates.sample(report, now);
  const auto run = [&](std::uint64_t bytes_a_tick, int ticks) {
    for (int i = 0; i < ticks; ++i) {
      now += 100ms;
      layer.bytes_fetched += bytes_a_tick;
      rates.sample(report, now);
    }
  };
  run(100, 50);
  EXPECT_NEAR(rates.of(layer), 1000, 1);
  run(300, 50);
  EXPECT_NEAR(rates.of(layer), 3000, 50);
  run(0, 50);
  EXPECT_NEAR(rates.of(layer), 0, 50);
}

TEST(Rates, OfALayerThatIsDoneAreNothing) {
  auto report = busy_report();
  const auto rates = steady_rates(report);
  Rates after = rates;
  report.images[0].layers[2].state = LayerState::done;
  after.sample(report, Rates::Clock::time_point{1h} + 2s);
  EXPECT_GT(rates.total(), 0);
  EXPECT_EQ(after.total(), 0);
}

TEST(PlainProgress, SaysEachThingOnce) {
  auto report = busy_report();
  report.images[0].layers[7].fetch = 1500ms;
  PlainProgress plain;
  EXPECT_THAT(plain.update(report),
              ElementsAre("registry.example.com/app:1: resolved to " + digest("face").str(),
                          "layer a10000000000: exists", "layer a20000000000: remote",
                          "layer a80000000000: done, 1.0 MiB in 1.5 s"));
  EXPECT_THAT(plain.update(report), ElementsAre());
  report.images[0].layers[2].bytes_done += mib;
  EXPECT_THAT(plain.update(report), ElementsAre());
  report.images[0].layers[5].state = LayerState::done;
  report.images[0].layers[5].decision = LayerDecision::remote;
  EXPECT_THAT(plain.update(report), ElementsAre("layer a60000000000: remote"));
}

TEST(PlainProgress, SaysNothingBeforeTheReferenceIsResolved) {
  PullReport report;
  report.reference = "alpine";
  EXPECT_THAT(PlainProgress().update(report), ElementsAre());
}

TEST(Summary, TellsDecisionsAndBytes) {
  auto report = busy_report();
  auto& layers = report.images[0].layers;
  layers.erase(layers.begin() + 4, layers.begin() + 7);
  report.total = 1200ms;
  EXPECT_EQ(summary(report, "pulled"),
            "pulled registry.example.com/app:1 " + digest("face").str() +
                " (linux/amd64) in 1.2 s: 5 layers: 1 remote, 1 existing, 3 downloaded; 28.0 MiB fetched, "
                "345.0 MiB avoided\n");
}

TEST(Summary, OfAnImageWithoutLayers) {
  PullReport report;
  report.reference = "alpine";
  report.target.digest = digest("face");
  report.images.emplace_back();
  report.images[0].platform.os = "linux";
  report.images[0].platform.architecture = "amd64";
  EXPECT_EQ(summary(report, "fetched"), "fetched alpine " + digest("face").str() +
                                            " (linux/amd64) in 0.0 ms: 0 layers; 0 B fetched, 0 B avoided\n");
}

TEST(PlanTable, ListsTheLayersAndTheirDecisions) {
  PullReport report;
  report.reference = "alpine";
  report.target.digest = digest("face");
  ImageReport image;
  image.platform.os = "linux";
  image.platform.architecture = "amd64";
  image.manifest = digest("b0");
  image.layers = {layer("a1", mib, LayerState::done, LayerDecision::remote),
                  layer("a2", 2 * mib, LayerState::waiting, LayerDecision::download),
                  layer("a3", 3 * mib, LayerState::waiting, LayerDecision::download),
                  layer("a2", 2 * mib, LayerState::waiting, LayerDecision::download),
                  layer("a4", 4 * mib, LayerState::waiting, LayerDecision::present)};
  image.layers[2].remote_hint = true;
  report.images.push_back(image);
  const std::string gap(71 - 5 + 2 + 10 - 4, ' ');
  EXPECT_EQ(plan_table(report),
            "alpine " + digest("face").str() + "\n" + "linux/amd64 " + digest("b0").str() + "\n" + "LAYER" +
                gap + "SIZE  DECISION\n" + digest("a1").str() + "     1.0 MiB  remote\n" +
                digest("a2").str() + "     2.0 MiB  download\n" + digest("a3").str() +
                "     3.0 MiB  download (may be mounted)\n" + digest("a2").str() +
                "     2.0 MiB  download\n" + digest("a4").str() + "     4.0 MiB  present\n" +
                "total: 5 layers: 1 remote, 1 in the content store, 3 to download; 5.0 MiB to download, "
                "5.0 MiB avoided\n");
}

TEST(ChainIdLines, AreThoseOfImagesThatHaveOne) {
  PullReport report;
  report.images.resize(2);
  report.images[0].chain_id = digest("c1");
  EXPECT_EQ(chain_id_lines(report, true), "image chain ID: " + digest("c1").str() + "\n");
  EXPECT_EQ(chain_id_lines(report, false), digest("c1").str() + "\n");
}

TEST(Bytes, AreShownInTheLargestUnitThatKeepsFourDigits) {
  const std::vector<std::pair<std::uint64_t, std::string>> rows{{0, "0 B"},
                                                                {1023, "1023 B"},
                                                                {1024, "1.0 KiB"},
                                                                {1536, "1.5 KiB"},
                                                                {1024 * 1024 - 1, "1.0 MiB"},
                                                                {12'900'000, "12.3 MiB"},
                                                                {5ULL << 30U, "5.0 GiB"},
                                                                {~0ULL, "16.0 EiB"}};
  for (const auto& [bytes, text] : rows) EXPECT_EQ(format_bytes(bytes), text);
}

TEST(Durations, AreShownWithTheDigitsThatMatter) {
  const std::vector<std::pair<std::chrono::nanoseconds, std::string>> rows{
      {0ns, "0.0 ms"},      {400us, "0.4 ms"},   {15ms, "15 ms"},        {999ms, "999 ms"},
      {999'600us, "1.0 s"}, {1234ms, "1.2 s"},   {59'960ms, "1 m 00 s"}, {125s, "2 m 05 s"},
      {3600s, "1 h 00 m"},  {100h, "100 h 00 m"}};
  for (const auto& [duration, text] : rows) EXPECT_EQ(format_duration(duration), text);
}

TEST(Printable, TakesTheEscapesAndKeepsTheRest) {
  EXPECT_EQ(printable("gr\xC3\xBC\xC3\x9F \xF0\x9F\x90\xA2"), "gr\xC3\xBC\xC3\x9F \xF0\x9F\x90\xA2");
  EXPECT_EQ(printable("a\x1b[31mb\r\nc\x7f"), "a [31mb  c ");
  EXPECT_EQ(printable("\xC2\x9b"
                      "31m"),
            " 31m");
  EXPECT_EQ(printable("\xff\xC3"), "??");
  EXPECT_EQ(printable("\xC0\xAF \xE0\x80\xAF \xED\xA0\x80 \xF5\x80\x80\x80"), "?? ??? ??? ????");
}

}  // namespace
}  // namespace lazypull
