#pragma once

#include "tools/faults/decision.hpp"
#include "transport/http_message.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace lazypull {

/// The head of a response as the client is to see it.
struct FaultyHead {
  std::string bytes;
  int status = 0;
  bool chunked = false;  ///< how the body goes
  bool close = false;    ///< the connection is of no use after the body
};

/// What a registry has answered, with what the decision says is wrong with it. `body_bytes` is the length of
/// its body, if that is known; a body of unknown length goes in chunks. Pure.
FaultyHead make_faulty_head(const HttpHead& answer, std::optional<std::uint64_t> body_bytes,
                            const FaultDecision& decision);

/// A response of status `fault->status`, head and body in one.
std::string make_status_response(const FaultRule& rule, bool with_body);

/// Whether a field belongs to one connection only (RFC 9110 section 7.6.1), and so is not passed on.
bool is_connection_field(std::string_view name) noexcept;

}  // namespace lazypull
