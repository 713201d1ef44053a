#include "tools/faults/decision.hpp"

#include <algorithm>
#include <cmath>

namespace lazypull {
namespace {

using std::chrono::milliseconds;

/// Random numbers that are the same for the same seed and request, whatever their order. 64-bit FNV-1a, and
/// the finishing steps of SplitMix64, since that mixes badly.
class Draw {
 public:
  Draw(std::uint64_t seed, const FaultRequest& request) {
    add(seed);
    add(request.method);
    add(request.target);
    add(request.number);
  }

  std::uint64_t bits(std::string_view purpose, std::uint64_t index = 0) const {
    Draw one(*this);
    one.add(purpose);
    one.add(index);
    auto value = one.state_;
    value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9U;
    value = (value ^ (value >> 27U)) * 0x94d049bb133111ebU;
    return value ^ (value >> 31U);
  }
  /// From 0 to below 1.
  double unit(std::string_view purpose, std::uint64_t index = 0) const {
    return static_cast<double>(bits(purpose, index) >> 11U) * 0x1p-53;
  }

 private:
  void add_byte(unsigned char byte) { state_ = (state_ ^ byte) * 0x100000001b3U; }
  void add(std::string_view text) {
    for (const char c : text) add_byte(static_cast<unsigned char>(c));
    add_byte(0xff);  // so that "a", "bc" is not "ab", "c"
  }
  void add(std::uint64_t number) {
    for (unsigned shift = 0; shift < 64; shift += 8) add_byte(static_cast<unsigned char>(number >> shift));
  }

  std::uint64_t state_ = 0xcbf29ce484222325U;
};

milliseconds part_of(milliseconds whole, double unit) {
  return milliseconds(static_cast<milliseconds::rep>(static_cast<double>(whole.count() + 1) * unit));
}

bool concerns(const FaultRule& rule, const FaultRequest& request) {
  if (!rule.method.empty() && rule.method != request.method) return false;
  if (request.target.find(rule.path) == std::string::npos) return false;
  if (request.number < rule.from) return false;
  return rule.times == 0 || request.number - rule.from < rule.times;
}

}  // namespace

std::uint64_t FaultDecision::at(std::uint64_t body_bytes) const noexcept {
  if (fault && fault->at) return *fault->at;
  const auto byte = static_cast<std::uint64_t>(where * static_cast<double>(body_bytes));
  return body_bytes == 0 ? 0 : std::min(byte, body_bytes - 1);
}

FaultDecision decide_fault(const FaultProfile& profile, std::uint64_t seed, const FaultRequest& request) {
  const Draw draw(seed, request);
  FaultDecision decision;
  decision.delay = profile.latency;
  if (profile.jitter.count() > 0) decision.delay += part_of(profile.jitter, draw.unit("jitter"));
  decision.where = draw.unit("where");
  decision.variant = draw.bits("variant");
  for (std::size_t i = 0; i < profile.rules.size() && !decision.fault; ++i) {
    const auto& rule = profile.rules[i];
    if (concerns(rule, request) && draw.unit("rule", i) < rule.probability) decision.fault = rule;
  }
  if (decision.is(FaultKind::delay)) decision.delay += part_of(decision.fault->duration, draw.unit("delay"));
  if (profile.cut_mean > 0) {
    // Without memory: where a connection breaks does not depend on how much it has brought, so that this is
    // decided for each response by itself.
    const double distance = -std::log1p(-draw.unit("cut")) * static_cast<double>(profile.cut_mean);
    decision.cut_after = static_cast<std::uint64_t>(std::min(distance, 1e18));
    decision.cut_resets = draw.unit("reset") < 0.5;
  }
  return decision;
}

}  // namespace lazypull
