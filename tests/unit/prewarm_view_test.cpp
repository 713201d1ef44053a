// What `lazypull prewarm` shows while it runs, prints at the end, and ends with.

#include "tools/prewarm_view.hpp"

#include "tools/options.hpp"
#include "tools/prewarm_result.hpp"

#include <boost/json.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lazypull {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

std::vector<PrewarmItem> items(int count) {
  std::vector<PrewarmItem> result;
  for (int i = 0; i < count; ++i) {
    result.push_back({Reference::parse("registry.example.com/team/app" + std::to_string(i) + ":1"), {}, 0});
  }
  return result;
}

LayerReport layer(const std::string& name, std::uint64_t size, LayerDecision decision) {
  LayerReport layer;
  layer.digest = Digest::sha256_of(name);
  layer.chain_id = Digest::sha256_of("chain " + name);
  layer.media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
  layer.size = size;
  layer.decision = decision;
  return layer;
}

void begin(PrewarmReport& report, std::size_t index) {
  auto& image = report.images[index];
  image.state = PrewarmState::running;
  image.report = std::make_unique<PullReport>();
  image.report->phase = "layers";
  ImageReport one;
  one.layers = {layer("a", 1000, LayerDecision::download), layer("b", 3000, LayerDecision::download)};
  one.layers[0].state = LayerState::done;
  one.layers[1].bytes_done = 1000;
  image.report->images.push_back(one);
  report.running.insert(index);
}

void fail(PrewarmReport& report, std::size_t index) {
  report.images[index].state = PrewarmState::failed;
  report.images[index].failure = Error(Errc::not_found, "pull app: 404 \x1b[31m");
  ++report.failed;
}

TEST(PrewarmView, HasALineOfTotalsAndOneForEachImageInProgress) {
  PrewarmReport report(items(200));
  begin(report, 3);
  begin(report, 7);
  report.ready = 12;
  fail(report, 0);
  const auto lines = render_prewarm(report, {}, {100, 24}, 65s);
  ASSERT_THAT(lines, SizeIs(3));
  EXPECT_EQ(lines[0], "12/200 images  1 failed  1 m 05 s  0 B fetched  0 B/s  2 in progress");
  EXPECT_EQ(lines[1], "registry.example.com/team/app3:1  layers 1/2  2.0 KiB/3.9 KiB");
}

TEST(PrewarmView, FitsAnyScreen) {
  PrewarmReport report(items(300));
  for (std::size_t i = 0; i < 300; ++i) begin(report, i);
  for (int columns = 1; columns < 90; ++columns) {
    for (int rows = 1; rows < 40; ++rows) {
      const auto lines = render_prewarm(report, {}, {columns, rows}, 1s);
      ASSERT_LT(lines.size(), static_cast<std::size_t>(std::max(rows, 4)));
      for (const auto& line : lines) ASSERT_LT(line.size(), static_cast<std::size_t>(std::max(columns, 2)));
    }
  }
  const auto lines = render_prewarm(report, {}, {80, 10}, 1s);
  EXPECT_EQ(lines.back(), "... 293 more in progress");
}

TEST(PrewarmView, PlainModeHasOneLineForEachImageOnceItHasEnded) {
  PrewarmReport report(items(3));
  PlainPrewarm plain;
  begin(report, 0);
  EXPECT_THAT(plain.update(report), IsEmpty());
  auto& image = report.images[0];
  image.state = PrewarmState::ready;
  image.layers = 5;
  image.downloaded_layers = 2;
  image.fetched_bytes = 2048;
  image.duration = 1500ms;
  fail(report, 1);
  EXPECT_THAT(
      plain.update(report),
      ElementsAre("[1/3] registry.example.com/team/app0:1: ready, 2 of 5 layers downloaded, 2.0 KiB in "
                  "1.5 s",
                  "[2/3] registry.example.com/team/app1:1: failed: pull app: 404  [31m"));
  EXPECT_THAT(plain.update(report), IsEmpty());
}

TEST(PrewarmPlan, CountsSharedLayersOnce) {
  PullReport first;
  first.images.emplace_back().layers = {layer("base", 100, LayerDecision::download),
                                        layer("a", 10, LayerDecision::download)};
  PullReport second;
  second.images.emplace_back().layers = {layer("base", 100, LayerDecision::download),
                                         layer("b", 5, LayerDecision::present),
                                         layer("c", 7, LayerDecision::exists)};
  PrewarmPlan plan;
  plan.add(first);
  plan.add(second);
  EXPECT_EQ(plan.blobs_to_download(), 2U);
  EXPECT_EQ(plan.bytes_to_download(), 110U);
  EXPECT_EQ(plan.bytes_unshared(), 222U);
  EXPECT_EQ(plan.layers_to_unpack(), 3U);
  EXPECT_EQ(plan.bytes_to_unpack(), 3 * 115U);
}

TEST(PrewarmExitCode, SaysHowManyFailedWithoutMeaningAnythingElse) {
  PrewarmResult none(items(3));
  none.report.ready = 3;
  EXPECT_EQ(prewarm_exit_code(none), 0);
  PrewarmResult two(items(3));
  two.report.ready = 1;
  fail(two.report, 0);
  fail(two.report, 1);
  EXPECT_EQ(prewarm_exit_code(two), 12);
  PrewarmResult many(items(300));
  for (std::size_t i = 0; i < 300; ++i) fail(many.report, i);
  EXPECT_EQ(prewarm_exit_code(many), 110);
  two.past_deadline = true;
  EXPECT_EQ(prewarm_exit_code(two), 124);
  two.report.stopped = Error(Errc::out_of_space, "disk is full");
  EXPECT_EQ(prewarm_exit_code(two), 8);
}

TEST(PrewarmExitCode, ADryRunWithoutRoomIsOutOfSpace) {
  PrewarmResult result(items(1));
  result.report.ready = 1;
  result.dry_run = true;
  result.disks.push_back({{"/store", 100, 1000}, 101, 100});
  EXPECT_EQ(prewarm_exit_code(result), 8);
  EXPECT_THAT(prewarm_text(result), HasSubstr("TOO LITTLE"));
}

TEST(PrewarmResult, AreATableAndJson) {
  PrewarmResult result(items(2));
  result.report.images[0].state = PrewarmState::ready;
  result.report.images[0].layers = 6;
  result.report.ready = 1;
  result.report.fetched_bytes = 2048;
  fail(result.report, 1);
  const auto text = prewarm_text(result);
  EXPECT_THAT(text, HasSubstr("registry.example.com/team/app0:1  ready         6"));
  EXPECT_THAT(text, HasSubstr("failed: pull app: 404  [31m\n"));
  EXPECT_THAT(text, HasSubstr("1 of 2 images ready in 0.0 ms, 1 failed; 2.0 KiB fetched"));
  const auto json = boost::json::parse(prewarm_json(result));
  EXPECT_EQ(json.at("totals").at("failed").to_number<int>(), 1);
  EXPECT_EQ(json.at("images").at(1).at("error").at("code"), "not_found");
  EXPECT_TRUE(json.at("images").at(0).at("error").is_null());
  EXPECT_TRUE(json.at("stopped").is_null());
  EXPECT_FALSE(json.as_object().contains("plan"));
}

Options options(const std::vector<std::string>& arguments) {
  const auto parsed = parse_command_line(arguments, [](const std::string&) { return std::nullopt; });
  if (const auto* exit = std::get_if<ParseExit>(&parsed)) {
    ADD_FAILURE() << exit->text;
    return {};
  }
  return std::get<Options>(parsed);
}

std::string refusal(const std::vector<std::string>& arguments) {
  const auto parsed = parse_command_line(arguments, [](const std::string&) { return std::nullopt; });
  const auto* exit = std::get_if<ParseExit>(&parsed);
  if (exit == nullptr) return "accepted";
  EXPECT_EQ(exit->code, ExitCode::usage);
  return exit->text;
}

TEST(PrewarmOptions, HaveDefaultsOfTheirOwn) {
  const auto parsed = options({"prewarm", "list.txt"});
  EXPECT_EQ(parsed.command, Command::prewarm);
  EXPECT_THAT(parsed.prewarm.files, ElementsAre("list.txt"));
  EXPECT_EQ(parsed.prewarm.max_concurrent_images, 8U);
  EXPECT_EQ(parsed.max_concurrent_downloads, 8U);
  EXPECT_EQ(parsed.prewarm.max_concurrent_unpacks, 8U);
  EXPECT_EQ(parsed.prewarm.max_concurrent_downloads_per_registry, 0U);
  EXPECT_FALSE(parsed.prewarm.fail_fast || parsed.prewarm.dry_run || parsed.prewarm.min_free.any());
  EXPECT_EQ(options({"pull", "alpine"}).max_concurrent_downloads, 3U);
}

TEST(PrewarmOptions, TakeTheFlagsOfPullToo) {
  const auto parsed = options({"prewarm",     "-",
                               "more.txt",    "--image",
                               "alpine",      "--image",
                               "busybox",     "--platform",
                               "linux/arm64", "--store",
                               "/s",          "--plain-http",
                               "--fail-fast", "--max-concurrent-images",
                               "2",           "--max-concurrent-downloads",
                               "5",           "--max-concurrent-downloads-per-registry",
                               "1",           "--max-concurrent-unpacks",
                               "0",           "--deadline",
                               "30m",         "--min-free",
                               "5%",          "--dry-run",
                               "--output",    "json"});
  EXPECT_THAT(parsed.prewarm.files, ElementsAre("-", "more.txt"));
  EXPECT_THAT(parsed.prewarm.images, ElementsAre("alpine", "busybox"));
  EXPECT_EQ(parsed.max_concurrent_downloads, 5U);
  EXPECT_EQ(parsed.prewarm.deadline, 30min);
  EXPECT_EQ(parsed.prewarm.min_free.percent, 5);
  EXPECT_TRUE(parsed.plain_http && parsed.prewarm.fail_fast && parsed.prewarm.dry_run);
}

TEST(PrewarmOptions, RefuseWhatMakesNoSense) {
  EXPECT_THAT(refusal({"prewarm"}), HasSubstr("a list of images is required"));
  EXPECT_THAT(refusal({"prewarm", "l", "--keep-going", "--fail-fast"}), HasSubstr("exclude each other"));
  EXPECT_THAT(refusal({"prewarm", "l", "--min-free", "lots"}), HasSubstr("--min-free"));
  EXPECT_THAT(refusal({"prewarm", "--image", "UPPER:x:y"}), HasSubstr("UPPER"));
}

}  // namespace
}  // namespace lazypull
