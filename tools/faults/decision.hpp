#pragma once

#include "tools/faults/profile.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lazypull {

/// A request as faults are decided by it.
struct FaultRequest {
  std::string method;
  std::string target;
  std::uint64_t number = 1;  ///< which of those with this method and target
};

/// What becomes of the response to one request.
struct FaultDecision {
  std::chrono::milliseconds delay{0};  ///< before its first byte
  std::optional<FaultRule> fault;
  double where = 0;           ///< from 0 to below 1: at which part of the body, unless the rule says
  std::uint64_t variant = 0;  ///< which of several ways to get it wrong
  std::optional<std::uint64_t> cut_after;  ///< bytes of the whole response, by the profile's cut_mean
  bool cut_resets = false;

  /// The byte of a body of this length that the fault is at.
  std::uint64_t at(std::uint64_t body_bytes) const noexcept;
  bool is(FaultKind kind) const noexcept { return fault && fault->kind == kind; }
};

/// Depends on its arguments alone, so that a run can be repeated: not on time, nor on what else goes on.
/// Pure.
FaultDecision decide_fault(const FaultProfile& profile, std::uint64_t seed, const FaultRequest& request);

}  // namespace lazypull
