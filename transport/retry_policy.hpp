#pragma once

#include "engine/error.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace lazypull {

/// How often an idempotent request is sent again, and when.
struct RetryPolicy {
  int max_attempts = 5;                       ///< the first one included
  std::chrono::milliseconds base_delay{200};  ///< before the second attempt; doubles with each
  std::chrono::milliseconds max_delay{std::chrono::seconds{10}};  ///< caps the backoff and Retry-After alike
};

/// What came of an attempt: a response, or a failure before any byte of one.
struct AttemptOutcome {
  int status = 0;
  std::optional<Errc> failure;
  std::optional<std::string> retry_after;  ///< the header, as it came
};

/// How long to wait before the next attempt; nothing if the outcome stands. Retried are lost or refused
/// connections, 408, 429, 500, 502, 503 and 504; a timeout, which has cost long enough, once only.
/// Retry-After (RFC 9110 section 10.2.3) is obeyed up to the cap; otherwise the delay is exponential, of
/// which `jitter` in [0, 1) chooses a point in the upper half.
std::optional<std::chrono::milliseconds> retry_delay(const RetryPolicy& policy, int attempts_made,
                                                     const AttemptOutcome& outcome, double jitter,
                                                     std::chrono::system_clock::time_point now);

/// Seconds, or an IMF-fixdate such as "Sun, 06 Nov 1994 08:49:37 GMT"; one in the past is no wait.
std::optional<std::chrono::milliseconds> parse_retry_after(std::string_view value,
                                                           std::chrono::system_clock::time_point now);

}  // namespace lazypull
