#pragma once

#include <chrono>
#include <string_view>

namespace lazypull {

/// How a request to a host ended, as far as the host's health is concerned.
enum class HostVerdict {
  alive,    ///< it answered, whatever the answer
  faulty,   ///< it answered, but not as a server in good order does (5xx, a body that broke off)
  dead,     ///< it did not answer: refused, unreachable, timed out, no TLS
  unknown,  ///< nothing was learned, because the request was cancelled
};

struct BreakerPolicy {
  int faults_in_a_row = 3;                                          ///< a dead host needs only one
  std::chrono::milliseconds first_pause{std::chrono::seconds{30}};  ///< doubles with every failed probe
  std::chrono::milliseconds longest_pause{std::chrono::minutes{10}};
};

/// Keeps requests away from a host that fails, for a pause after which one request at a time probes it. Pure:
/// the caller says what time it is.
class CircuitBreaker {
 public:
  using Time = std::chrono::steady_clock::time_point;
  enum class State { closed, open, half_open };

  explicit CircuitBreaker(BreakerPolicy policy) : policy_(policy) {}

  /// Whether a request may be sent; each that is must be followed by `note`. While half open only one at a
  /// time may be.
  bool admit(Time now);
  /// A verdict other than the probe's also counts, such as that of a request sent before the host failed.
  void note(HostVerdict verdict, Time now);

  State state(Time now) const noexcept;

 private:
  void open(Time now);

  BreakerPolicy policy_;
  int faults_ = 0;
  bool tripped_ = false;
  bool probing_ = false;
  std::chrono::milliseconds pause_{0};
  Time until_{};
};

std::string_view to_string(CircuitBreaker::State state) noexcept;

}  // namespace lazypull
