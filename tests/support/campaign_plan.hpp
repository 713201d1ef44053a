#pragma once

#include "tools/faults/profile.hpp"

#include <csignal>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace lazypull::test {

/// Random choices that are the same ones for the same seeds.
class Dice {
 public:
  Dice(std::uint64_t seed, std::uint64_t chain) {
    std::seed_seq sequence{seed, seed >> 32U, chain, chain >> 32U};
    engine_.seed(sequence);
  }

  std::uint64_t bits() { return engine_(); }
  /// From 0 to below `count`.
  std::size_t below(std::size_t count) { return static_cast<std::size_t>(engine_() % count); }
  bool chance(double probability) { return static_cast<double>(engine_() >> 11U) * 0x1p-53 < probability; }
  template <class T>
  const T& one_of(const std::vector<T>& values) {
    return values[below(values.size())];
  }

 private:
  std::mt19937_64 engine_;
};

/// One pull of the campaign: what it asks for, over which line, and how it is interrupted.
struct CampaignPull {
  std::size_t image = 0;
  bool fetch = false;         ///< content only
  bool discard = false;       ///< layers are not kept
  bool as_mirror = false;     ///< the bad line leads to a mirror; the registry itself is reached well
  bool twice = false;         ///< by two processes at once
  bool clean_before = false;  ///< what is there is removed first
  bool drop_partial = false;  ///< with what was begun
  std::vector<std::string> flags;
  bool has_time_limit = false;
  int signal = 0;  ///< 0 is none
  int signal_after_ms = 0;
  FaultProfile profile;
  std::uint64_t seed = 1;  ///< of the proxy
};

inline FaultRule random_fault(Dice& dice) {
  static const std::vector<std::string> kinds{"cut",    "cut",    "reset",  "corrupt", "stall",
                                              "drop",   "status", "status", "delay",   "garbage",
                                              "length", "range",  "whole",  "chunks"};
  auto rule = parse_fault_rule(dice.one_of(kinds));
  rule.probability = dice.one_of<double>({0.05, 0.2, 0.2, 0.5, 1});
  rule.path = dice.one_of<std::string>({"", "/blobs/", "/manifests/"});
  rule.times = dice.one_of<std::uint64_t>({0, 1, 1, 2, 3});
  if (rule.kind == FaultKind::stall && dice.chance(0.6)) {
    rule.duration = std::chrono::milliseconds(20 + dice.below(600));
  }
  if (rule.kind == FaultKind::delay) rule.duration = std::chrono::milliseconds(1 + dice.below(80));
  if (rule.kind == FaultKind::status) {
    rule.status =
        dice.one_of<int>({401, 403, 404, 404, 418, 429, 429, 500, 502, 503, 503, 504, 200, 206, 416});
    if (dice.chance(0.3)) rule.retry_after = std::chrono::seconds(dice.below(2));
  }
  return rule;
}

inline FaultProfile random_profile(Dice& dice) {
  FaultProfile profile;
  if (dice.chance(0.1)) return profile;
  if (dice.chance(0.3)) profile.jitter = std::chrono::milliseconds(1 + dice.below(20));
  if (dice.chance(0.2)) profile.latency = std::chrono::milliseconds(1 + dice.below(5));
  if (dice.chance(0.1)) profile.bandwidth = 2'000'000 + dice.below(20'000'000);
  if (dice.chance(0.3)) profile.cut_mean = dice.one_of<std::uint64_t>({8'000, 20'000, 50'000, 150'000});
  const auto rules = profile.cut_mean > 0 ? dice.below(2) : 1 + dice.below(3);
  for (std::size_t i = 0; i < rules; ++i) profile.rules.push_back(random_fault(dice));
  return profile;
}

/// `expected_ms` is about how long such a pull takes where nothing goes wrong.
inline CampaignPull random_pull(Dice& dice, std::size_t images, int expected_ms) {
  CampaignPull pull;
  pull.image = dice.below(images);
  pull.fetch = dice.chance(0.1);
  pull.discard = !pull.fetch && dice.chance(0.1);
  pull.as_mirror = dice.chance(0.2);
  pull.twice = dice.chance(0.1);
  pull.clean_before = dice.chance(0.6);
  pull.drop_partial = dice.chance(0.3);
  pull.profile = random_profile(dice);
  pull.seed = dice.bits() >> 1U;
  // Without a budget what a mirror has served wrong is not fetched again.
  const auto budget = dice.one_of<std::string>({"0", "3", "20", "100"});
  pull.flags = {"--progress-timeout",
                dice.one_of<std::string>({"300ms", "500ms", "1s"}),
                "--mirror-timeout",
                "300ms",
                "--retry-budget",
                pull.as_mirror ? std::string("100") : budget,
                "--max-concurrent-downloads",
                dice.one_of<std::string>({"0", "1", "3"})};
  if (dice.chance(0.3)) pull.flags.insert(pull.flags.end(), {"--concurrent-layer-fetch-buffer", "64k"});
  if (pull.discard) pull.flags.push_back("--discard-unpacked-layers");
  pull.has_time_limit = dice.chance(0.08);
  const auto limit = pull.has_time_limit ? std::to_string(10 + dice.below(1000)) + "ms" : std::string("60s");
  pull.flags.insert(pull.flags.end(), {"--timeout", limit});
  if (dice.chance(0.3)) {
    pull.signal = dice.one_of<int>({SIGKILL, SIGKILL, SIGTERM, SIGINT});
    pull.signal_after_ms = static_cast<int>(dice.below(static_cast<std::size_t>(expected_ms)));
  }
  return pull;
}

/// For messages: what to know to see what went wrong.
inline std::string describe(const CampaignPull& pull) {
  std::string text = pull.fetch ? "fetch" : "pull";
  text += " of image " + std::to_string(pull.image);
  for (const auto& flag : pull.flags) text += " " + flag;
  if (pull.as_mirror) text += " (from a mirror)";
  if (pull.twice) text += " (twice)";
  if (pull.signal != 0) {
    text +=
        " (signal " + std::to_string(pull.signal) + " after " + std::to_string(pull.signal_after_ms) + " ms)";
  }
  return text + "\n  proxy: --seed " + std::to_string(pull.seed) + ", profile " + to_json(pull.profile);
}

}  // namespace lazypull::test
