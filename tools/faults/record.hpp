#pragma once

#include "tools/faults/profile.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lazypull {

/// One request that a FaultProxy has dealt with.
struct FaultRecord {
  /// How the response ended.
  enum class End {
    complete,
    cut,              ///< closed or reset on purpose, or its connection was dropped
    client_gone,      ///< the client did not wait for the rest
    upstream_failed,  ///< the registry was not reached, or broke off
  };

  std::uint64_t connection = 0;  ///< of the client, counted from 1
  std::string method;
  std::string target;
  std::uint64_t number = 0;  ///< which of those with this method and target
  std::string range;         ///< the request's Range; empty if it had none
  int status = 0;            ///< that the client was told; 0 is none
  std::optional<FaultRule> fault;
  std::optional<std::uint64_t> at;  ///< byte of the body at which the fault was
  std::chrono::milliseconds delay{0};
  std::uint64_t body_bytes = 0;  ///< handed to the kernel
  std::uint64_t undelivered =
      0;  ///< of them, what the client's kernel had not got when the connection was reset
  End end = End::complete;
  std::string failure;  ///< of the upstream
  std::chrono::milliseconds duration{0};
};

std::string_view to_string(FaultRecord::End end) noexcept;

/// One JSON object, without a line feed.
std::string fault_log_line(const FaultRecord& record);
/// What a log begins with, so that what follows can be repeated.
std::string fault_log_head(std::string_view upstream, std::uint64_t seed, const FaultProfile& profile);

}  // namespace lazypull
