#include "tools/agent/grpc_server_call.hpp"

#include "tools/agent/agent_log.hpp"
#include "transport/grpc_status.hpp"

namespace lazypull {

grpc::Status status_of(const Error& error) {
  const auto message = bounded_message(without_credentials(error.message()));
  // UNIMPLEMENTED would say that the agent does not have the call.
  if (error.code() == Errc::unsupported) return {grpc::StatusCode::FAILED_PRECONDITION, message};
  return {code_of(error.code()), message};
}

}  // namespace lazypull
