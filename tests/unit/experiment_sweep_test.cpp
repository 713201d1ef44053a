// A simulated pull: the real engine in virtual time, the same everywhere.

#include "engine/error.hpp"
#include "tools/experiment/sweep.hpp"
#include "tools/experiment/virtual_clock.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

namespace lazypull::experiment {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

/// Four layers of a megabyte, nothing remote, no limits, 10 ms to the registry, and nothing else takes time.
Scenario plain() {
  Scenario scenario;
  scenario.layers.assign(4, 1'000'000);
  scenario.remote.assign(4, false);
  scenario.latency = 10ms;
  return scenario;
}

Awaitable<> note(VirtualClock& clock, std::chrono::nanoseconds length, std::string name,
                 std::vector<std::string>& order) {
  co_await clock.sleep(length);
  order.push_back(std::move(name));
}

TEST(VirtualClock, JumpsOverSleeps) {
  VirtualClock clock;
  std::vector<std::string> order;
  EXPECT_EQ(clock.run(note(clock, 1000h, "first", order)), 1000h);
  EXPECT_EQ(clock.run(note(clock, 5ms, "second", order)), 5ms);
  EXPECT_EQ(clock.now(), 1000h + 5ms);
  EXPECT_THAT(order, ElementsAre("first", "second"));
}

TEST(VirtualClock, SaysWhenNothingCanHappenAnyMore) {
  VirtualClock clock;
  const auto forever = [](VirtualClock& of) -> Awaitable<> {
    Event never(co_await asio::this_coro::executor);
    co_await never.wait();
    co_await of.sleep(1ms);
  };
  EXPECT_THROW(clock.run(forever(clock)), Error);
}

TEST(SimulatedPull, TakesTheLatenciesThatFollowEachOther) {
  auto knobs = Knobs();
  knobs.fetch_limit = 0;
  const auto pull = simulate_pull(plain(), knobs, 1);
  // Resolve, manifest, config, and all layers at once.
  EXPECT_EQ(pull.duration, 40ms);
  EXPECT_EQ(pull.bytes, 4'000'000U);
  EXPECT_EQ(pull.requests, 7U);
}

TEST(SimulatedPull, OneAtATimeWaitsForEachLayer) {
  auto knobs = Knobs();
  knobs.fetch_limit = 1;
  EXPECT_EQ(simulate_pull(plain(), knobs, 1).duration, 30ms + 4 * 10ms);
}

TEST(SimulatedPull, TheLinkIsShared) {
  auto scenario = plain();
  scenario.bandwidth = 1'000'000;
  auto knobs = Knobs();
  knobs.fetch_limit = 0;
  const auto seconds = std::chrono::duration<double>(simulate_pull(scenario, knobs, 1).duration).count();
  EXPECT_NEAR(seconds, 4 + 0.04, 0.02) << "4 MB at 1 MB/s, however many downloads";
}

TEST(SimulatedPull, ConnectionsHaveALimitOfTheirOwn) {
  auto scenario = plain();
  scenario.connection_bandwidth = 1'000'000;
  auto knobs = Knobs();
  knobs.fetch_limit = 0;
  EXPECT_NEAR(std::chrono::duration<double>(simulate_pull(scenario, knobs, 1).duration).count(), 1.04, 0.02);
  knobs.fetch_limit = 1;
  EXPECT_NEAR(std::chrono::duration<double>(simulate_pull(scenario, knobs, 1).duration).count(), 4.07, 0.03);
}

TEST(SimulatedPull, PartsUseSeveralConnections) {
  auto scenario = plain();
  scenario.layers.assign(1, 64U << 20U);
  scenario.remote.assign(1, false);
  scenario.connection_bandwidth = 10U << 20U;
  auto knobs = Knobs();
  const auto whole = simulate_pull(scenario, knobs, 1).duration;
  knobs.chunk_size = 8U << 20U;
  const auto parts = simulate_pull(scenario, knobs, 1).duration;
  EXPECT_LT(parts, whole / 3);
  EXPECT_GT(parts, whole / 4 - 100ms);
}

TEST(SimulatedPull, ExtractingIsDoneByTheCores) {
  auto scenario = plain();
  scenario.unpack_rate = 1'000'000;
  scenario.cores = 2;
  auto knobs = Knobs();
  knobs.fetch_limit = 0;
  EXPECT_NEAR(std::chrono::duration<double>(simulate_pull(scenario, knobs, 1).duration).count(), 2.04, 0.1);
  scenario.cores = 1;
  EXPECT_NEAR(std::chrono::duration<double>(simulate_pull(scenario, knobs, 1).duration).count(), 4.04, 0.1);
}

TEST(SimulatedPull, WhatTheSnapshotterProvidesIsNotDownloaded) {
  auto scenario = plain();
  scenario.remote.assign(4, true);
  auto knobs = Knobs();
  knobs.policy = FetchPolicy::sparse;
  const auto pull = simulate_pull(scenario, knobs, 1);
  EXPECT_EQ(pull.bytes, 0U);
  EXPECT_EQ(pull.requests, 3U);
  scenario.remote[2] = false;
  EXPECT_EQ(simulate_pull(scenario, knobs, 1).bytes, 1'000'000U);
}

TEST(SimulatedPull, ASnapshotterThatDoesNotUnderstandProvidesNothing) {
  auto scenario = plain();
  scenario.remote.assign(4, true);
  auto knobs = Knobs();
  knobs.policy = FetchPolicy::sparse;
  for (const auto speaks : {LabelDialect::cri, LabelDialect::stargz, LabelDialect::v2019}) {
    scenario.speaks = speaks;
    knobs.dialect = LabelDialect::containerd;
    EXPECT_EQ(simulate_pull(scenario, knobs, 1).bytes, 4'000'000U);
    knobs.dialect = speaks;
    EXPECT_EQ(simulate_pull(scenario, knobs, 1).bytes, 0U);
  }
}

/// Something of everything.
Scenario mixed() {
  auto scenario = plain();
  scenario.layers = made_up_layers(10, 5'000'000, 3);
  scenario.remote = {true, false, true, true, false, false, true, false, false, true};
  scenario.snapshotter_latency = 3ms;
  scenario.mount_latency = 20ms;
  scenario.jitter = 0.5;
  scenario.bandwidth = 50'000'000;
  scenario.connection_bandwidth = 20'000'000;
  scenario.unpack_rate = 30'000'000;
  return scenario;
}

TEST(SimulatedPull, TheSameSeedGivesTheSameCalls) {
  const auto first = simulate_pull(mixed(), Knobs(), 5);
  const auto second = simulate_pull(mixed(), Knobs(), 5);
  EXPECT_EQ(first.duration, second.duration);
  EXPECT_EQ(first.calls, second.calls);
  EXPECT_NE(simulate_pull(mixed(), Knobs(), 6).duration, first.duration);
}

TEST(SimulatedPull, NeedsLayers) {
  EXPECT_THROW(simulate_pull(Scenario(), Knobs(), 1), Error);
}

TEST(Sweep, FindsTheKnee) {
  auto scenario = plain();
  scenario.layers.assign(16, 10'000'000);
  scenario.remote.assign(16, false);
  scenario.bandwidth = 40'000'000;
  scenario.connection_bandwidth = 10'000'000;
  const auto result = sweep(scenario, Knobs(), Knob::fetch_limit, {"1", "2", "4", "8", "16"}, 1, 3);
  // Four connections fill the link.
  EXPECT_EQ(result.points[result.knee].value, "4");
  EXPECT_GT(result.points[0].seconds, 1.9 * result.points[1].seconds);
  EXPECT_EQ(result.points[0].bytes, 160'000'000);
}

TEST(Sweep, VariesEveryKnob) {
  for (const auto* name : {"fetch-limit", "unpack-limit", "chunk-size", "policy", "dialect"}) {
    SweepCommand command;
    command.knob = name;
    command.hit_ratio = 0.5;
    command.runs = 2;
    const auto text = run_sweep_command(command);
    EXPECT_THAT(text, HasSubstr("<- knee")) << name;
    EXPECT_THAT(text, HasSubstr(std::string("The knee is at ") + name)) << name;
    EXPECT_EQ(run_sweep_command(command), text) << name;
  }
}

TEST(Sweep, WhatItDoesNotKnowIsRefused) {
  const auto refused = [](const std::function<void(SweepCommand&)>& change) {
    SweepCommand command;
    command.knob = "fetch-limit";
    change(command);
    try {
      run_sweep_command(command);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::invalid_argument);
      return error.message();
    }
    ADD_FAILURE() << "it was accepted";
    return std::string();
  };
  EXPECT_THAT(refused([](auto& c) { c.knob = "speed"; }), HasSubstr("'speed' is none of fetch-limit"));
  EXPECT_THAT(refused([](auto& c) { c.knob.clear(); }), HasSubstr("is required"));
  EXPECT_THAT(refused([](auto& c) { c.values = {"many"}; }), HasSubstr("'many' is not a number"));
  EXPECT_THAT(refused([](auto& c) { c.latency = "long"; }), HasSubstr("--latency"));
  EXPECT_THAT(refused([](auto& c) { c.hit_ratio = 2; }), HasSubstr("--hit-ratio"));
  EXPECT_THAT(refused([](auto& c) { c.jitter = -1; }), HasSubstr("--jitter"));
  EXPECT_THAT(refused([](auto& c) { c.layers = 0; }), HasSubstr("--layers"));
  EXPECT_THAT(refused([](auto& c) { c.runs = 0; }), HasSubstr("--runs"));
  EXPECT_THAT(refused([](auto& c) { c.policy = "lazy"; }), HasSubstr("'lazy' is none of"));
}

Recording recorded() {
  return {mixed(), Knobs(), 5, simulate_pull(mixed(), Knobs(), 5)};
}

TEST(Recording, IsReadAsItWasWritten) {
  const auto recording = recorded();
  const auto text = recording_text(recording);
  const auto read = parse_recording(text, "file");
  EXPECT_EQ(recording_text(read), text);
  EXPECT_EQ(read.pull.calls, recording.pull.calls);
  EXPECT_EQ(read.pull.duration, recording.pull.duration);
}

TEST(Recording, GoesTheSameWayAgain) {
  EXPECT_EQ(replay_difference(parse_recording(recording_text(recorded()), "file")), "");
}

TEST(Recording, SaysWhereItGoesAnotherWay) {
  auto recording = recorded();
  recording.knobs.policy = FetchPolicy::eager;
  EXPECT_THAT(replay_difference(recording), HasSubstr("instead of"));
}

TEST(Recording, ItsLatenciesGoBeforeThoseOfTheSeed) {
  const auto recording = recorded();
  const auto again = simulate_pull(recording.scenario, recording.knobs, 99, latencies_of(recording));
  EXPECT_EQ(again.calls, recording.pull.calls);
}

TEST(Recording, WhatIsNoneIsRefused) {
  const auto good = recording_text(recorded());
  const auto replaced = [&](const std::string& from, const std::string& to) {
    auto text = good;
    text.replace(text.find(from), from.size(), to);
    return text;
  };
  EXPECT_THROW(parse_recording("", "file"), Error);
  EXPECT_THROW(parse_recording("nonsense\n", "file"), Error);
  EXPECT_THROW(parse_recording(replaced("\"v\":1", "\"v\":0"), "file"), Error);
  EXPECT_THROW(parse_recording(replaced("\"layers\":[", "\"layers\":[1,"), "file"), Error);
  EXPECT_THROW(parse_recording(replaced("\"policy\":0", "\"policy\":9"), "file"), Error);
  EXPECT_THROW(parse_recording(replaced("\"latency_ns\":", "\"latency_ns\":-"), "file"), Error);
}

}  // namespace
}  // namespace lazypull::experiment
